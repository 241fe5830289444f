package main

import (
	"os/exec"
	"syscall"
)

// detached is this program, to be started once more, in a session of its own: it
// outlives this process and its terminal, and keeps no directory in use.
func detached(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = "warmrun" // in the list of processes
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}
