// Package pgctl controls the PostgreSQL server on the node it runs on: it
// starts, stops and promotes it through whatever owns it, reads what the data
// directory says, and writes the configuration that makes it a standby.
//
// Terms:
//
//   - PGDATA: the data directory. One server process, the postmaster, serves
//     it and notes itself in PGDATA/postmaster.pid.
//   - owner: what starts and stops the server in daily life: an operator with
//     pg_ctl, Debian's pg_ctlcluster, or a systemd unit.
//   - signal file: standby.signal or recovery.signal, which from PostgreSQL 12
//     on make the next start one into recovery; before 12 it is recovery.conf.
//   - automatic configuration: PGDATA/postgresql.auto.conf, which the server
//     reads last and ALTER SYSTEM writes.
//
// PostgreSQL's programs refuse to run as root, so a call by root runs them as
// the user who owns PGDATA, and what is written belongs to that user.
package pgctl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
)

var (
	// ErrNotRunning means that no server runs on the data directory.
	ErrNotRunning = errors.New("no server is running")
	// ErrTimeout means that a server did not get where it should in the time
	// given. It goes on trying: the state is unknown, not failed.
	ErrTimeout = errors.New("timed out")
)

// Server is one data directory on this node and where its parts lie. Only
// PGData is required.
type Server struct {
	PGData string `json:"pgdata"`
	// ConfigFile is postgresql.conf where it lies outside PGDATA. Empty means
	// to look where a distribution keeps it; see ConfigPath.
	ConfigFile string `json:"config_file,omitempty"`
	// BinDir holds pg_ctl. Empty means to look for it; see FindBinDir.
	BinDir string `json:"bin_dir,omitempty"`
	// Port is where the site says that the server listens. It is used only
	// where the server itself does not say.
	Port int `json:"port,omitempty"`

	machine machine
}

// Version reads the major version from PG_VERSION. A missing data directory is
// an error that is fs.ErrNotExist.
func (s Server) Version() (Version, error) {
	if s.PGData == "" {
		return 0, hint.Wrap(errors.New("no data directory is known"), "set pgdata for this node in cluster.toml, or PGDATA")
	}
	path := filepath.Join(s.PGData, "PG_VERSION")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrPermission) {
		return 0, hint.Wrap(fmt.Errorf("the data directory %s cannot be read: %w", s.PGData, err), "%s", hint.File(err))
	}
	if err != nil {
		return 0, hint.Wrap(fmt.Errorf("%s is not a data directory: %w", s.PGData, err), "check the path; PGDATA is the directory that holds PG_VERSION")
	}
	v, err := ParseVersion(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return v, nil
}

// Control reads PGDATA/global/pg_control.
func (s Server) Control() (walcore.ControlFile, error) {
	return walcore.ReadControlFile(s.PGData)
}
