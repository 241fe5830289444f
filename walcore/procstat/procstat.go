// Package procstat reads what the kernel says of processes (proc_pid_stat(5)).
//
// Programs that are started once a segment read it. The library for it compiles two
// dozen expressions whenever a program starts, which is a tenth of what a
// restore_command takes.
package procstat

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Root is where the processes of this machine are; tests have others.
const Root = "/proc"

// Process is one process at the time it was looked at.
type Process struct {
	PID, Parent, Session int
	// Name is that of the program, cut to 15 bytes.
	Name string
	// State is a letter, 'R' and 'S' among others; see Dead.
	State byte
	// StartTicks is when it was started, in clock ticks since boot: with the PID it
	// names one process until the machine is restarted.
	StartTicks uint64
	// CPUTicks is its user and system time, and that of its children that have ended
	// and were waited for, in clock ticks.
	CPUTicks int64
}

// Dead reports whether it only waits for its parent to take notice.
func (p Process) Dead() bool { return p.State == 'Z' || p.State == 'X' }

// Read looks a process up. The error is an fs.ErrNotExist when it is gone.
func Read(root string, pid int) (Process, error) {
	path := filepath.Join(root, strconv.Itoa(pid), "stat")
	text, err := os.ReadFile(path)
	if errors.Is(err, syscall.ESRCH) { // it went between the opening and the reading
		err = fs.ErrNotExist
	}
	if err != nil {
		return Process{}, err
	}
	p, ok := parse(string(text))
	if !ok {
		return Process{}, fmt.Errorf("%s is not in the form of proc_pid_stat(5)", path)
	}
	p.PID = pid
	return p, nil
}

// PIDs lists the processes there are.
func PIDs(root string) ([]int, error) {
	entries, err := os.ReadDir(root)
	var pids []int
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil { // else it is no process
			pids = append(pids, pid)
		}
	}
	return pids, err
}

// All looks all processes up. One that goes meanwhile is left out.
func All(root string) ([]Process, error) {
	pids, err := PIDs(root)
	var all []Process
	for _, pid := range pids {
		if p, err := Read(root, pid); err == nil {
			all = append(all, p)
		}
	}
	return all, err
}

// parse takes the line apart. The program's name stands in parentheses and may hold
// anything, so fields are counted from the last one.
func parse(line string) (p Process, ok bool) {
	_, line, _ = strings.Cut(line, "(")
	end := strings.LastIndex(line, ") ")
	if end < 0 {
		return p, false
	}
	p.Name = line[:end]
	fields := strings.Fields(line[end+2:])
	if len(fields) < 20 {
		return p, false
	}
	number := func(i int) int64 {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		ok = ok && err == nil
		return n
	}
	ok, p.State = true, fields[0][0]
	p.Parent, p.Session, p.StartTicks = int(number(1)), int(number(3)), uint64(number(19))
	p.CPUTicks = number(11) + number(12) + number(13) + number(14)
	return p, ok
}
