package pgctl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
)

// RewindSource is the server that pg_rewind reads from, by a unix socket of this
// node.
type RewindSource struct {
	SocketDir string
	Port      int
	User      string
	Database  string
}

// Rewindable is nil where pg_rewind can make this server's data directory one that
// follows another timeline, else why not. Of a server that is running, a clean stop is
// expected. It changes nothing.
func (s Server) Rewindable(running bool) error {
	v, err := s.Version()
	if err != nil {
		return err
	}
	if !FeaturesOf(v).Rewind {
		return fmt.Errorf("PostgreSQL %s has no pg_rewind", v)
	}
	dir, err := s.binDir()
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "pg_rewind")); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s has no pg_rewind", dir)
	}
	control, err := s.Control()
	if err != nil {
		return err
	}
	clean := running || stoppedCleanly(control)
	switch outside, err := s.configOptions(); {
	case err != nil:
		return err
	case control.ChecksumVersion == 0 && !control.WALLogHints:
		return errors.New("it has neither data checksums nor wal_log_hints, which pg_rewind needs")
	case !clean && len(outside) > 0:
		return fmt.Errorf("it was not stopped cleanly (%q), and its configuration lies outside of the data directory", control.State)
	}
	return nil
}

// StoppedCleanly reports whether the stopped server has nothing to recover from.
func (s Server) StoppedCleanly() (bool, error) {
	control, err := s.Control()
	return stoppedCleanly(control), err
}

func stoppedCleanly(control walcore.ControlFile) bool {
	return control.State == walcore.StateShutDown || control.State == walcore.StateShutDownInRecovery
}

// Recover brings a server that crashed to a clean stop: a single-user backend, which
// takes no connections, replays what there is. It must not be set up as a standby.
func (s Server) Recover(ctx context.Context) error {
	status, err := s.StatusNow()
	if err == nil && status.Running {
		err = errors.New("its server runs")
	}
	if err == nil {
		err = s.clearStalePID(status) // or the backend would not start
	}
	if err != nil {
		return fmt.Errorf("recover %s: %w", s.PGData, err)
	}
	cmd, err := s.program(ctx, "postgres", "--single", "-D", s.PGData, "template1")
	if err != nil {
		return err
	}
	_, err = run(cmd)
	return err
}

// missingWAL is how pg_rewind says that it cannot read a segment of the target's
// (xlogreader in pg_rewind/parsexlog.c). That comes before it changes anything.
var missingWAL = lazyRegexp(`could not open file "[^"]*/([0-9A-F]{24})": No such file`)

// mostFetched bounds how many segments are looked for, so that nothing goes on for
// ever.
const mostFetched = 10_000

// Rewind runs pg_rewind: afterwards the data directory has the pages of the
// source's, and a backup_label from which it replays. What the source has of
// configuration files in the data directory it has then, too; those that are here
// are put back, with the mode that they had. It reads the target's WAL from the last
// checkpoint before the fork on; segments that the server has removed since, fetch
// puts back into pg_wal. The server must have been stopped cleanly. A call that fails
// may leave a data directory that only a base copy can mend.
func (s Server) Rewind(ctx context.Context, from RewindSource, fetch func(context.Context, walcore.SegmentName) error) (report string, err error) {
	if err := s.Rewindable(false); err != nil {
		return "", fmt.Errorf("rewind %s: %w", s.PGData, err)
	}
	status, err := s.StatusNow()
	if err == nil && status.Running {
		err = errors.New("its server runs")
	}
	if err != nil {
		return "", fmt.Errorf("rewind %s: %w", s.PGData, err)
	}
	kept, err := s.topLevelConf()
	if err != nil {
		return "", err
	}
	source := fmt.Sprintf("host=%s port=%d user=%s dbname=%s", from.SocketDir, from.Port, from.User, from.Database)
	out, err := s.rewindFrom(ctx, source, fetch)
	if err != nil {
		return "", fmt.Errorf("rewind %s: %w", s.PGData, err)
	}
	for path, text := range kept {
		if err := s.write(path, text); err != nil {
			return "", fmt.Errorf("put %s back: %w", path, err)
		}
	}
	return strings.TrimSpace(out), nil
}

func (s Server) rewindFrom(ctx context.Context, source string, fetch func(context.Context, walcore.SegmentName) error) (string, error) {
	for fetched := 0; ; fetched++ {
		cmd, err := s.program(ctx, "pg_rewind", "-D", s.PGData, "--source-server="+source)
		if err != nil {
			return "", err
		}
		cmd.Env = append(cmd.Environ(), "LC_ALL=C") // its words are read
		out, err := run(cmd)
		if err == nil {
			return out, nil
		}
		missing := missingWAL().FindStringSubmatch(err.Error())
		if missing == nil || fetched == mostFetched {
			return "", hint.Wrap(err, "the data directory may be half rewound; take a base copy instead: warmrun rejoin --copy")
		}
		if errFetch := fetch(ctx, walcore.SegmentName(missing[1])); errFetch != nil {
			return "", hint.Wrap(errors.Join(err, errFetch), "nothing was changed; without that WAL only a base copy helps: warmrun rejoin --copy")
		}
	}
}

// topLevelConf reads the configuration files in the data directory.
func (s Server) topLevelConf() (map[string]string, error) {
	paths, err := filepath.Glob(s.inData("*.conf"))
	if err != nil {
		return nil, err
	}
	kept := map[string]string{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		kept[path] = string(text)
	}
	return kept, nil
}
