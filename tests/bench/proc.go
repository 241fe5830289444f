package main

import (
	"os"
	"runtime"
	"strings"

	"github.com/prometheus/procfs"
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
	all, _ := procfs.AllProcs() // what was read of it counts
	for _, one := range all {
		if p, err := one.Stat(); err == nil {
			table[p.PID] = entry{state: p.State, parent: p.PPID, ticks: int64(p.UTime) + int64(p.STime) + int64(p.CUTime) + int64(p.CSTime)}
		}
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
