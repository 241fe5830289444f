package main

import (
	"os"
	"runtime"
	"strings"

	"github.com/warmrun/warmrun/walcore/procstat"
)

// readTable is the table of processes.
func readTable() map[int]procstat.Process {
	table := map[int]procstat.Process{}
	all, _ := procstat.All(procstat.Root) // none without /proc
	for _, p := range all {
		table[p.PID] = p
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
