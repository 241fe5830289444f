package pgctl

import (
	"context"
	"fmt"
	"strings"

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

// MayControl reports whether this process is allowed to start and stop the
// server, so that a run can be refused before it changes anything. For a
// systemd unit it asks for what is already so (to start a running unit, to
// stop a stopped one), which checks the permission and does nothing.
func (s Server) MayControl(ctx context.Context) error {
	status, err := s.Status(ctx)
	if err != nil || status.Owner != OwnerSystemd {
		return err
	}
	action := "stop"
	if status.Running {
		action = "start"
	}
	if _, err := s.systemctl(ctx, action, status.Unit); err != nil {
		return fmt.Errorf("control of the server in %s: %w", s.PGData, err)
	}
	return nil
}

// notPermitted is the error for a unit that we may not control.
func notPermitted(action, unit, why string) error {
	command := "systemctl " + action + " " + unit
	return hint.Wrap(fmt.Errorf("not permitted to run %q: %s", command, why),
		"type: sudo %s; to let this user do it, add to sudoers: USER ALL=(root) NOPASSWD: %s", command,
		strings.Join([]string{"/usr/bin/systemctl start " + unit, "/usr/bin/systemctl stop " + unit}, ", "))
}
