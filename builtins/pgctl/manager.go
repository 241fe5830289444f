package pgctl

import (
	"context"
	"fmt"
	"path/filepath"
)

// Manager is what starts a server, for people who are to type it.
type Manager struct {
	// Start is the command that starts the server, as its owner or, where it is a
	// unit, by the service manager.
	Start string `json:"start"`
	// Unit is the systemd unit that serves this data directory, also where the
	// server was started past it; Restart is when systemd starts it again by
	// itself ("no", "on-failure", "always" and so on, systemd.service(5)).
	Unit    string `json:"unit,omitempty"`
	Restart string `json:"restart,omitempty"`
}

// Manager finds out what starts the server. It changes nothing.
func (s Server) Manager(ctx context.Context) (Manager, error) {
	status, err := s.StatusNow()
	if err != nil {
		return Manager{}, err
	}
	own, err := s.owner(ctx, status)
	if err != nil {
		return Manager{}, err
	}
	m := Manager{Unit: own.unit}
	if m.Unit == "" && s.machine.systemdRuns() {
		if m.Unit, err = s.machine.unitFor(s.PGData, own.cluster); err != nil {
			return m, err
		}
	}
	if m.Unit != "" {
		// A manager that does not answer leaves it unknown.
		m.Restart, _ = s.machine.unitProperty(ctx, m.Unit, "Restart")
	}
	m.Start, err = s.startCommand(own)
	return m, err
}

func (s Server) startCommand(own ownership) (string, error) {
	switch own.kind {
	case OwnerSystemd:
		return "sudo systemctl start " + shortUnit(own.unit), nil
	case OwnerCluster:
		return fmt.Sprintf("pg_ctlcluster %s %s start", own.cluster.version, own.cluster.name), nil
	}
	dir, err := s.binDir()
	if err != nil {
		return "", err
	}
	return shellQuote(filepath.Join(dir, "pg_ctl"), "-D", s.PGData, "start"), nil
}
