package walcore

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/warmrun/warmrun/walcore/procstat"
)

// Server identifies one run of a server: a later postmaster of the same data
// directory is another one. The zero value is "no server".
type Server struct {
	// PID is the postmaster's process, from the first line of postmaster.pid.
	PID int `json:"postmaster_pid"`
	// StartTicks is when the kernel started that process, in clock ticks since
	// boot (field 22 of /proc/PID/stat).
	StartTicks uint64 `json:"postmaster_start_ticks"`
	// StartTime is when the postmaster says it started, in seconds since 1970
	// (third line of postmaster.pid). After a reboot the other two may be what
	// they were before.
	StartTime int64 `json:"postmaster_start_time"`
}

// processTable is a /proc file system; tests point it at a directory of their
// own.
type processTable string

const hostProcesses processTable = procstat.Root

func (p processTable) read(pid int) (procstat.Process, error) { return procstat.Read(string(p), pid) }

// title is a process's command line as ps shows it. PostgreSQL's processes
// write their title over it (ps_status.c), padded with zeros or blanks.
func (p processTable) title(pid int) (string, error) {
	content, err := os.ReadFile(p.path(pid, "cmdline"))
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(content), "\x00 "), nil
}

func (p processTable) path(pid int, file string) string {
	return filepath.Join(string(p), strconv.Itoa(pid), file)
}

// server is the one that runs in pgdata according to its postmaster.pid; false
// when none does, or when what runs under that process ID is no longer it.
func (p processTable) server(pgdata string) (Server, bool) {
	server, err := readPostmasterPID(pgdata)
	if err != nil {
		return Server{}, false
	}
	proc, err := p.read(server.PID)
	if err != nil || proc.Dead() {
		return Server{}, false
	}
	server.StartTicks = proc.StartTicks
	return server, true
}

// readPostmasterPID reads the lines of postmaster.pid that are there from the
// beginning (pidfile.h). The process ID is negative for a single-user server,
// which is no postmaster.
func readPostmasterPID(pgdata string) (Server, error) {
	path := filepath.Join(pgdata, "postmaster.pid")
	content, err := os.ReadFile(path)
	if err != nil {
		return Server{}, err
	}
	lines := strings.Split(string(content), "\n")
	if len(lines) < 3 {
		return Server{}, fmt.Errorf("%s has %d lines, want at least 3", path, len(lines))
	}
	pid, err := strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil || pid <= 0 {
		return Server{}, fmt.Errorf("%s names no postmaster: %q", path, lines[0])
	}
	// Before 9.1 the third line was the shared memory key: no start time then.
	started, err := strconv.ParseInt(strings.TrimSpace(lines[2]), 10, 64)
	if err != nil {
		started = 0
	}
	return Server{PID: pid, StartTime: started}, nil
}

// alive reports whether this very run of the server still goes on.
func (p processTable) alive(s Server) bool {
	proc, err := p.read(s.PID)
	return err == nil && !proc.Dead() && proc.StartTicks == s.StartTicks
}

// descends reports whether process pid is a child, grandchild and so on of
// ancestor.
func (p processTable) descends(pid, ancestor int) bool {
	for range 16 {
		proc, err := p.read(pid)
		if err != nil || proc.Parent == 0 {
			return false
		}
		if proc.Parent == ancestor {
			return true
		}
		pid = proc.Parent
	}
	return false
}
