package pgctl

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// systemdRuns reports whether systemd is this machine's init, by sd_booted(3)'s
// test. In a container its programs may be installed and answer nothing.
func (m machine) systemdRuns() bool {
	info, err := os.Stat(m.at("run/systemd/system"))
	if err != nil || !info.IsDir() {
		return false
	}
	_, err = m.lookPath("systemctl")
	return err == nil
}

// unitOf is the service unit whose main process the postmaster is, or empty.
// To lie in a unit's control group is not enough: a server started by hand over
// ssh or from cron may lie in that service's group.
func (m machine) unitOf(ctx context.Context, pid int) (string, error) {
	unit := m.serviceOf(pid)
	if unit == "" {
		return "", nil
	}
	value, err := m.unitProperty(ctx, unit, "MainPID")
	if err != nil {
		// A manager that does not answer us cannot be used to stop the server
		// either.
		return "", ctx.Err()
	}
	if value != strconv.Itoa(pid) {
		return "", nil
	}
	return unit, nil
}

// unitProperty asks systemd for one property of a unit; anyone may.
func (m machine) unitProperty(ctx context.Context, unit, name string) (string, error) {
	program, err := m.lookPath("systemctl")
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, program, "show", "--property="+name, unit)
	cmd.WaitDelay = outputPatience
	out, err := run(cmd)
	return strings.TrimPrefix(strings.TrimSpace(out), name+"="), err
}

// systemctl starts or stops a unit. Not being root it asks systemd itself, as
// a polkit rule may allow it, and then sudo where that needs no password.
func (s Server) systemctl(ctx context.Context, action, unit string) (string, error) {
	program, err := s.machine.lookPath("systemctl")
	if err != nil {
		return "", err
	}
	unit = strings.TrimSuffix(unit, ".service") // the form that people put into sudoers
	out, err := runPlain(ctx, program, "--no-ask-password", action, unit)
	if err == nil || s.machine.privileged() || !denied(err) {
		return out, err
	}
	sudo, lookErr := s.machine.lookPath("sudo")
	if lookErr != nil {
		return "", notPermitted(action, unit, "systemd refuses this user, and sudo is not installed")
	}
	out, err = runPlain(ctx, sudo, "-n", program, action, unit)
	if err != nil && denied(err) {
		return "", notPermitted(action, unit, "neither systemd nor sudo allows it to this user")
	}
	return out, err
}

// runPlain runs a program of the system with messages in English, which denied
// reads.
func runPlain(ctx context.Context, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.WaitDelay = outputPatience
	return run(cmd)
}

// denied reports whether a command failed for lack of permission, so that
// nothing has happened.
func denied(err error) bool {
	var failed *commandError
	if !errors.As(err, &failed) {
		return false
	}
	for line := range strings.Lines(failed.output) {
		if strings.HasPrefix(line, "sudo:") {
			return true
		}
	}
	for _, words := range []string{"authentication required", "Authentication is required", "Access denied", "Permission denied", "not authorized", "is not allowed to execute", "may not run sudo"} {
		if strings.Contains(failed.output, words) {
			return true
		}
	}
	return false
}
