package main

import (
	"os"
	"runtime"
	"strconv"
	"strings"
)

// entry is one line of the process table.
type entry struct {
	state  string
	parent int
	// ticks is the CPU time of the process and of its children that have ended
	// and were waited for, user and system, in clock ticks of 10 ms.
	ticks int64
}

// readTable reads /proc/*/stat (proc(5)).
func readTable() map[int]entry {
	table := map[int]entry{}
	names, _ := os.ReadDir("/proc") // what was read of it counts
	for _, name := range names {
		pid, err := strconv.Atoi(name.Name())
		if err != nil {
			continue // no process
		}
		data, err := os.ReadFile("/proc/" + name.Name() + "/stat")
		if err != nil {
			continue // gone meanwhile
		}
		text := string(data)
		fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
		if len(fields) < 15 {
			continue
		}
		e := entry{state: fields[0]}
		e.parent, _ = strconv.Atoi(fields[1]) // the kernel writes numbers
		for _, field := range fields[11:15] { // utime, stime, cutime, cstime
			ticks, _ := strconv.ParseInt(field, 10, 64)
			e.ticks += ticks
		}
		table[pid] = e
	}
	return table
}

func machineLoad() (cpus int, load string) {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return runtime.NumCPU(), "unknown"
	}
	load, _, _ = strings.Cut(string(data), " ")
	return runtime.NumCPU(), load
}
