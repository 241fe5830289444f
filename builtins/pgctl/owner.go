package pgctl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"

	"github.com/warmrun/warmrun/walcore/hint"
)

// Owner is what starts and stops a server in daily life. Going past it works
// for a moment and then surprises: a systemd unit whose server was stopped
// behind its back counts as failed, and one started so is not stopped cleanly
// when the machine goes down.
type Owner string

// The owners that are known.
const (
	OwnerManual  Owner = "manual"        // pg_ctl
	OwnerCluster Owner = "pg_ctlcluster" // Debian's and Ubuntu's clusters, where systemd does not run
	OwnerSystemd Owner = "systemd"       // also Debian's clusters, as postgresql@VERSION-NAME
)

// ownership is an owner and the server's name there.
type ownership struct {
	kind    Owner
	unit    string        // for systemd
	cluster debianCluster // set for every cluster of Debian's, whoever owns it
}

// owner finds out who starts and stops the server. A running server belongs to
// the unit whose main process it is, whatever the unit files say; a stopped
// one to the unit or cluster that is configured for its data directory.
func (s Server) owner(ctx context.Context, status Status) (ownership, error) {
	cluster, err := s.machine.debianCluster(s.PGData)
	if err != nil {
		return ownership{}, err
	}
	own := ownership{kind: OwnerManual, cluster: cluster}
	if cluster != (debianCluster{}) {
		own.kind = OwnerCluster
	}
	if !s.machine.systemdRuns() {
		return own, nil
	}
	if status.Running {
		unit, err := s.machine.unitOf(ctx, status.PID)
		if err != nil {
			return own, err
		}
		if unit != "" {
			own.kind, own.unit = OwnerSystemd, unit
		}
		return own, nil
	}
	unit, err := s.machine.unitFor(s.PGData, cluster)
	if err != nil {
		return own, err
	}
	if unit != "" {
		own.kind, own.unit = OwnerSystemd, unit
	}
	return own, nil
}

// MayControl is nil when this process can start and stop the server, so that a
// run can be refused before it stops what it could not start again. It changes
// nothing. A data directory that is not there yet is judged by the unit or
// cluster that is configured for it.
func (s Server) MayControl(ctx context.Context) error {
	status, err := s.StatusNow()
	fresh := errors.Is(err, fs.ErrNotExist) && status.Version == 0
	if err != nil && !fresh {
		return err
	}
	own, err := s.owner(ctx, status)
	switch {
	case err != nil:
		return err
	case own.kind == OwnerSystemd:
		return s.mayControlUnit(ctx, own.unit, status.Running)
	case own.kind == OwnerManual && !fresh:
		_, err = s.program(ctx, "pg_ctl")
	}
	return err
}

// mayControlUnit asks systemd for what is already so (to start a running unit,
// to stop a stopped one), which checks the permission and does nothing. Where
// that went through sudo, sudo is asked for the other action, too; a polkit
// rule rarely tells the two apart.
func (s Server) mayControlUnit(ctx context.Context, unit string, running bool) error {
	harmless, other := "stop", "start"
	if running {
		harmless, other = other, harmless
	}
	bySudo, err := s.systemctl(ctx, harmless, unit)
	if err == nil && bySudo {
		err = s.sudoAllows(ctx, other, unit)
	}
	var refused *permissionError
	if errors.As(err, &refused) {
		return hint.Wrap(fmt.Errorf("%s may not start and stop %s, which runs the server in %s: %s", userName(), unit, s.PGData, refused.why),
			"let the user do it with this line in sudoers (visudo -f /etc/sudoers.d/warmrun): %s; or by a polkit rule that allows org.freedesktop.systemd1.manage-units for %s", s.sudoersLine(unit), unit)
	}
	return err
}

// permissionError says that the service manager does not let this user do an
// action; nothing has happened.
type permissionError struct{ command, why string }

func (e *permissionError) Error() string {
	return fmt.Sprintf("not permitted to run %q: %s", e.command, e.why)
}

// notPermitted is the error for a unit that we may not control.
func (s Server) notPermitted(action, unit, why string) error {
	command := "systemctl " + action + " " + unit
	return hint.Wrap(&permissionError{command, why}, "type: sudo %s; to let this user do it, add to sudoers: %s", command, s.sudoersLine(unit))
}

// sudoersLine allows this user to start and stop a unit, by the very words that
// systemctl uses: sudo compares them.
func (s Server) sudoersLine(unit string) string {
	program, err := s.machine.lookPath("systemctl")
	if err != nil {
		program = "/usr/bin/systemctl"
	}
	unit = shortUnit(unit)
	return fmt.Sprintf("%s ALL=(root) NOPASSWD: %s start %s, %s stop %s", userName(), program, unit, program, unit)
}

// userName is who this process runs as, for messages.
func userName() string {
	uid := strconv.Itoa(os.Geteuid())
	if account, err := user.LookupId(uid); err == nil {
		return account.Username
	}
	return "#" + uid // as sudoers takes it
}
