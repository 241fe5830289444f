package pgctl

import (
	"context"
	"errors"
	"fmt"
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
// a polkit rule may allow it, and then sudo where that needs no password; bySudo
// says which of them it was.
func (s Server) systemctl(ctx context.Context, action, unit string) (bySudo bool, err error) {
	program, err := s.machine.lookPath("systemctl")
	if err != nil {
		return false, err
	}
	unit = shortUnit(unit)
	_, err = runPlain(ctx, program, "--no-ask-password", action, unit)
	if err == nil || s.machine.privileged() || !denied(err) {
		return false, err
	}
	sudo, lookErr := s.machine.lookPath("sudo")
	if lookErr != nil {
		return false, s.notPermitted(action, unit, "systemd refuses this user, and sudo is not installed")
	}
	_, err = runPlain(ctx, sudo, "-n", program, action, unit)
	if err != nil && denied(err) {
		return false, s.notPermitted(action, unit, "neither systemd nor sudo allows it to this user")
	}
	return true, err
}

// sudoAllows asks sudo whether an action would be allowed, without doing it
// (sudo(8), -l with a command).
func (s Server) sudoAllows(ctx context.Context, action, unit string) error {
	program, err := s.machine.lookPath("systemctl")
	if err != nil {
		return err
	}
	sudo, err := s.machine.lookPath("sudo")
	if err != nil {
		return err
	}
	unit = shortUnit(unit)
	if _, err := runPlain(ctx, sudo, "-n", "-l", program, action, unit); err != nil {
		return s.notPermitted(action, unit, fmt.Sprintf("sudo allows only a part of it to this user, not to %s it", action))
	}
	return nil
}

// shortUnit is the form that people put into sudoers.
func shortUnit(unit string) string { return strings.TrimSuffix(unit, ".service") }

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
