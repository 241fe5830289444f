package pgctl

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/warmrun/warmrun/walcore/hint"
)

// Ready is the server's own word on how far it has come, from the last line of
// postmaster.pid (PM_STATUS in utils/pidfile.h). It is empty before 10.
type Ready string

// The states in which a running server can be.
const (
	ReadyStarting Ready = "starting" // not yet; also a hot standby before it is consistent
	ReadyYes      Ready = "ready"    // accepts connections
	ReadyStandby  Ready = "standby"  // in recovery with hot_standby off: accepts none, and that is right
	ReadyStopping Ready = "stopping"
)

// Status is what one look at a data directory and the process table showed.
type Status struct {
	Running bool `json:"running"`
	PID     int  `json:"pid,omitempty"`
	// SingleUser: a single-user backend holds the data directory.
	SingleUser bool `json:"single_user,omitempty"`
	// StalePID is the process id in a postmaster.pid that no server stands
	// behind, after a crash.
	StalePID  int       `json:"stale_pid,omitempty"`
	Port      int       `json:"port,omitempty"`
	SocketDir string    `json:"socket_dir,omitempty"`
	StartedAt time.Time `json:"started_at,omitzero"`
	Ready     Ready     `json:"ready,omitempty"`
	DataDir   string    `json:"data_dir"`
	Version   Version   `json:"version"`

	// Owner is what starts and stops this server; Unit and Cluster name it
	// there ("postgresql@15-main.service", "15/main"). StatusNow leaves them
	// empty.
	Owner   Owner  `json:"owner,omitempty"`
	Unit    string `json:"unit,omitempty"`
	Cluster string `json:"cluster,omitempty"`
}

// Status looks at the data directory and finds out who owns the server.
func (s Server) Status(ctx context.Context) (Status, error) {
	status, err := s.StatusNow()
	if err != nil {
		return status, err
	}
	own, err := s.owner(ctx, status)
	if err != nil {
		return status, err
	}
	status.Owner, status.Unit, status.Cluster = own.kind, own.unit, own.cluster.String()
	return status, nil
}

// StatusNow is Status without the owner: it reads a few small files and runs
// no program.
//
// A server counts as running when the process that postmaster.pid names is
// alive and its working directory is PGDATA, which the postmaster never
// leaves. A file left by a crash, whose number now belongs to another
// process, is therefore not mistaken for a server.
func (s Server) StatusNow() (Status, error) {
	status := Status{DataDir: s.PGData}
	var err error
	if status.Version, err = s.Version(); err != nil {
		return status, err
	}
	file, found, err := readPIDFile(s.PGData)
	if err != nil {
		return status, hint.Wrap(fmt.Errorf("status of the server in %s: %w", s.PGData, err),
			"if no PostgreSQL process works in %s, remove %s", s.PGData, filepath.Join(s.PGData, "postmaster.pid"))
	}
	if !found {
		return status, nil
	}
	alive, err := s.machine.servesFrom(file.pid, s.PGData)
	if err != nil {
		return status, fmt.Errorf("status of the server in %s: %w", s.PGData, err)
	}
	if !alive {
		status.StalePID = file.pid
		return status, nil
	}
	status.Running, status.PID, status.SingleUser = true, file.pid, file.single
	status.Port, status.SocketDir, status.StartedAt = file.port, file.socketDir, file.startedAt
	status.Ready = Ready(file.ready)
	if status.Port == 0 {
		status.Port = s.Port
	}
	return status, nil
}
