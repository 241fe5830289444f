package scratch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/warmrun/warmrun/builtins/backups"
	"github.com/warmrun/warmrun/builtins/pgctl"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/hint"
)

// Request says what scratch server to make.
type Request struct {
	Kind Kind
	// Dir is its directory, absolute, which is not there yet or empty.
	Dir string
	// Choice is the copy that it begins with, and Target where it stops.
	Choice backups.Choice
	Target walcore.Target
	// RestoreCommand is as RestoreCommand makes it.
	RestoreCommand string
	BinDir         string
	// Port is where it listens; 0 is any that is free.
	Port int
	// Listen is listen_addresses; empty is its socket only.
	Listen string
	// SharedBuffers replaces the copy's own setting; empty leaves it.
	SharedBuffers string
	// Conf and HBA are files to use where the copy has no configuration of its own,
	// as where it lies outside the data directory.
	Conf, HBA string
	// Begun is called with the directory once it has its note, and before it takes
	// any room; nil is not.
	Begun func(dir string) error
	Now   func() time.Time
}

// CheckDir refuses a directory that has anything in it.
func CheckDir(dir string) error {
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("%q is not an absolute path", dir)
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && len(entries) > 0 {
		err = hint.Wrap(fmt.Errorf("%s is not empty", dir), "name a directory that is not there yet; nothing was changed")
	}
	return err
}

// Make copies the base copy into the directory and configures the server, which
// is not started. What is left over there of an earlier one is removed first. On
// an error the directory may be there; Remove removes it.
func Make(ctx context.Context, r Request) (Server, error) {
	if old, err := Open(r.Dir); err == nil && !old.Stays {
		if err := old.Remove(ctx); err != nil {
			return Server{}, err
		}
	}
	if err := CheckDir(r.Dir); err != nil {
		return Server{}, err
	}
	if err := atomicfile.MkdirAll(r.Dir, 0o700); err != nil {
		return Server{}, err
	}
	s := Server{ID: filepath.Base(r.Dir), Dir: r.Dir, Kind: r.Kind, Backup: r.Choice.Copy.ID, Target: r.Target.String(), Timeline: r.Choice.Timeline,
		StopLSN: r.Choice.Copy.StopLSN, Port: r.Port, BinDir: r.BinDir, Begun: r.Now().UTC()}
	var err error
	if s.Port == 0 {
		if s.Port, err = freePort(ctx); err != nil {
			return s, err
		}
	}
	// The note comes first: a directory without one is not known to be left over.
	if err := s.save(); err != nil {
		return s, err
	}
	if s.SocketDir, err = socketDir(r.Dir, s.Port); err != nil {
		return s, err
	}
	if err := s.save(); err != nil {
		return s, err
	}
	if r.Begun != nil {
		if err := r.Begun(r.Dir); err != nil {
			return s, err
		}
	}
	if err := backups.Clone(ctx, r.Choice.Copy, r.Dir); err != nil {
		return s, err
	}
	return s, s.configure(r)
}

// freePort is a port that nobody listens on now.
func freePort(ctx context.Context) (int, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// longestSocket is the longest path that a unix socket can have (sun_path).
const longestSocket = 107

// socketDir makes the directory for the socket: below the server's own, or
// where that is too deep in the system's directory for temporary files.
func socketDir(dir string, port int) (string, error) {
	run := filepath.Join(dir, "run")
	if len(fmt.Sprintf("%s/.s.PGSQL.%d.lock", run, port)) > longestSocket {
		return os.MkdirTemp("", "warmrun-")
	}
	return run, os.Mkdir(run, 0o700)
}

// RestoreCommand is the restore_command of a recovery outside standby mode. There
// any answer of 1 to 125 ends recovery and opens the database, so only what the
// program means is let through: 0, 3 (not there), and the end by SIGTERM.
// Everything else, as the 2 of a fatal error of the Go runtime, becomes 126,
// which stops the server. command calls the program.
func RestoreCommand(command string) string {
	return command + ` %f %p; r=$?; case $r in 0|3) exit $r;; 143) kill -TERM $$;; esac; exit 126`
}

// configure writes the settings that keep the server to itself, and those of its
// recovery.
func (s Server) configure(r Request) error {
	server := s.control()
	v, err := server.Version()
	if err != nil {
		return err
	}
	settings, err := s.ownConf(r, v)
	if err != nil {
		return err
	}
	maps.Copy(settings, s.isolation(r, v))
	if err := server.SetAuto(settings); err != nil {
		return err
	}
	action := pgctl.EndPromote
	if r.Kind == Peek {
		action = pgctl.EndPause
	}
	return server.ConfigureRecovery(pgctl.PointInTime{RestoreCommand: r.RestoreCommand, Target: r.Target, Timeline: r.Choice.Timeline, Action: action})
}

// isolation is what a copy of a primary must not do beside it: archive, take
// changes from a publisher, wait for synchronous standbys, write into the other
// server's log or pid file, listen where that listens.
func (s Server) isolation(r Request, v pgctl.Version) map[string]string {
	settings := map[string]string{
		"port": fmt.Sprint(s.Port), "listen_addresses": r.Listen, "unix_socket_directories": s.SocketDir,
		"hba_file": filepath.Join(s.PGData(), "pg_hba.conf"), "ident_file": filepath.Join(s.PGData(), "pg_ident.conf"),
		"archive_mode": "off", "archive_command": "", "synchronous_standby_names": "", "max_logical_replication_workers": "0",
		"logging_collector": "off", "log_destination": "stderr", "external_pid_file": "", "huge_pages": "try", "hot_standby": "on",
	}
	if pgctl.FeaturesOf(v).ArchiveLibrary {
		settings["archive_library"] = ""
	}
	if r.Listen == "" {
		settings["ssl"] = "off" // its certificates may lie elsewhere
	}
	if r.SharedBuffers != "" {
		settings["shared_buffers"] = r.SharedBuffers
	}
	if r.Kind != Restore {
		settings["cluster_name"] = "warmrun " + string(r.Kind)
	}
	return settings
}

// ownConf gives the data directory a configuration of its own where the copy has
// none, because the primary's lies elsewhere. It returns settings that a recovery
// with queries needs then.
func (s Server) ownConf(r Request, v pgctl.Version) (map[string]string, error) {
	settings := map[string]string{}
	conf := "# Written by warmrun: the base copy had no configuration in its data directory.\n"
	if r.Conf != "" {
		conf += fmt.Sprintf("include = '%s'\n", strings.ReplaceAll(r.Conf, "'", "''"))
	}
	made, err := s.makeConf("postgresql.conf", "", conf)
	if err == nil && made {
		var control walcore.ControlFile
		control, err = s.control().Control()
		maps.Copy(settings, pgctl.Minima(control, v))
	}
	if err == nil {
		_, err = s.makeConf("pg_hba.conf", r.HBA, "local all all peer\n")
	}
	if err == nil {
		_, err = s.makeConf("pg_ident.conf", filepath.Join(filepath.Dir(r.HBA), "pg_ident.conf"), "")
	}
	return settings, err
}

// makeConf makes a file of the configuration that is not there: like another one
// if that is there, else with a text.
func (s Server) makeConf(name, like, text string) (made bool, err error) {
	path := filepath.Join(s.PGData(), name)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	data, err := os.ReadFile(like)
	if errors.Is(err, fs.ErrNotExist) {
		data, err = []byte(text), nil
	}
	if err != nil {
		return false, err
	}
	return true, atomicfile.WriteFile(path, data, 0o600)
}
