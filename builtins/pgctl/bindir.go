package pgctl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/warmrun/warmrun/walcore/hint"
)

// FindBinDir finds the directory with pg_ctl and postgres of a major version,
// where distributions put it: Debian and Ubuntu, the PGDG packages, Fedora and
// RHEL, a build from source, /opt, then $PATH and pg_config. With given set only
// that directory is looked at. Each candidate is asked for its version.
func FindBinDir(major Version, given string) (string, error) {
	return machine{}.findBinDir(major, given)
}

// newestKnown is far above every version there is, so that a new one is found.
const newestKnown = 30

// NewestBinDir is FindBinDir of the newest version from oldest on that is on
// this machine, or that the directory given holds.
func NewestBinDir(oldest Version, given string) (string, Version, error) {
	if given != "" {
		major, err := versionOf(filepath.Join(given, "postgres"))
		if err == nil && major < oldest {
			err = fmt.Errorf("it is version %s", major)
		}
		if err != nil {
			return "", 0, fmt.Errorf("no PostgreSQL server of version %s or later in %s: %w", oldest, given, err)
		}
		return given, major, nil
	}
	for major := Version(newestKnown); major >= oldest; major-- {
		if dir, err := FindBinDir(major, ""); err == nil {
			return dir, major, nil
		}
	}
	return "", 0, hint.Wrap(fmt.Errorf("no PostgreSQL server of version %s or later found on this machine", oldest),
		"install one (Debian, Ubuntu: apt-get install postgresql; Fedora, RHEL: dnf install postgresql-server postgresql-contrib)")
}

func (m machine) findBinDir(major Version, given string) (string, error) {
	if given != "" {
		found, err := versionOf(filepath.Join(given, "postgres"))
		if err != nil {
			return "", hint.Wrap(fmt.Errorf("no PostgreSQL programs in %s: %w", given, err), "set bin_dir to the directory that holds pg_ctl and postgres %s", major)
		}
		if found != major {
			return "", hint.Wrap(fmt.Errorf("%s holds PostgreSQL %s, the data directory needs %s", given, found, major), "set bin_dir to the programs of version %s", major)
		}
		return given, nil
	}
	var other []string
	for _, dir := range m.binDirs(major) {
		found, err := versionOf(filepath.Join(dir, "postgres"))
		if err != nil {
			continue
		}
		if found == major && isProgram(filepath.Join(dir, "pg_ctl")) {
			return linkedFrom(dir), nil
		}
		if found != major {
			other = append(other, fmt.Sprintf("%s in %s", found, dir))
		}
	}
	err := fmt.Errorf("no PostgreSQL %s server programs found on this machine", major)
	if len(other) > 0 {
		err = fmt.Errorf("%w (found %s)", err, strings.Join(other, ", "))
	}
	return "", hint.Wrap(err, "install the PostgreSQL %s server package, or set bin_dir to the directory that holds pg_ctl", major)
}

// linkedFrom is the directory that a directory's programs are links into: all of them
// are there, and not only those that somebody has linked.
func linkedFrom(dir string) string {
	program, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres"))
	if err != nil || !isProgram(filepath.Join(filepath.Dir(program), "pg_ctl")) {
		return dir
	}
	return filepath.Dir(program)
}

// binDirs lists where the programs of a version may be, the likeliest first.
func (m machine) binDirs(major Version) []string {
	v := major.String()
	squeezed := strings.ReplaceAll(v, ".", "") // PGDG's SUSE packages: postgresql96
	dirs := []string{
		m.at("usr/lib/postgresql", v, "bin"),
		m.at("usr/pgsql-"+v, "bin"),
		m.at("usr/lib/postgresql"+squeezed, "bin"),
		m.at("usr/libexec/postgresql" + squeezed), // Alpine
		m.at("usr/bin"),
		m.at("usr/local/pgsql/bin"),
		m.at("usr/local/bin"),
	}
	for _, pattern := range []string{"opt/*/bin", "opt/*/" + v + "/bin", "opt/*/*/bin", "usr/local/pgsql*/bin", "usr/local/postgresql*/bin"} {
		if matches, err := filepath.Glob(m.at(pattern)); err == nil {
			dirs = append(dirs, matches...)
		}
	}
	if pgCtl, err := m.lookPath("pg_ctl"); err == nil {
		if real, err := filepath.EvalSymlinks(pgCtl); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
		dirs = append(dirs, filepath.Dir(pgCtl))
	}
	if config, err := m.lookPath("pg_config"); err == nil {
		if dir, err := quickOutput(config, "--bindir"); err == nil {
			dirs = append(dirs, strings.TrimSpace(dir))
		}
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(dirs, func(dir string) bool {
		_, err := os.Stat(filepath.Join(dir, "postgres"))
		again := seen[dir]
		seen[dir] = true
		return again || err != nil
	})
}

// versionOf asks a server program which version it is: "postgres (PostgreSQL)
// 15.18 (Debian ...)". It answers before it looks at who runs it, so root may
// ask.
func versionOf(postgres string) (Version, error) {
	text, err := quickOutput(postgres, "-V")
	if err != nil {
		return 0, err
	}
	_, number, ok := strings.Cut(text, "(PostgreSQL) ")
	if !ok {
		return 0, fmt.Errorf("%s -V printed %q", postgres, strings.TrimSpace(text))
	}
	return ParseVersion(strings.TrimSpace(number))
}

// quickOutput runs a program that only prints something about itself. One that
// hangs, as on a dead network mount, is given up.
func quickOutput(program string, args ...string) (string, error) {
	cmd := exec.Command(program, args...)
	cmd.Dir = "/"
	const patience = 10 * time.Second // a busy machine is slow to hand even one line over
	cmd.WaitDelay = patience
	var out strings.Builder
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		return "", err
	}
	giveUp := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer giveUp.Stop()
	// Where this process buries orphans (lab/orphans), it may have buried this one,
	// too; what it printed is here all the same.
	if err := cmd.Wait(); err != nil && !errors.Is(err, syscall.ECHILD) {
		return "", fmt.Errorf("%s %s: %w", program, strings.Join(args, " "), err)
	}
	return out.String(), nil
}

// binDir is where this server's programs are. A running server's own program
// is the surest answer, unless an upgrade has replaced it on disk.
func (s Server) binDir() (string, error) {
	major, err := s.Version()
	if err != nil {
		return "", err
	}
	if s.BinDir == "" {
		if status, err := s.StatusNow(); err == nil && status.Running {
			exe, err := os.Readlink(s.machine.at("proc", strconv.Itoa(status.PID), "exe"))
			if err == nil && isProgram(filepath.Join(filepath.Dir(exe), "pg_ctl")) {
				return filepath.Dir(exe), nil
			}
		}
	}
	return s.machine.findBinDir(major, s.BinDir)
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// program prepares one of PostgreSQL's own programs for this server.
func (s Server) program(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	dir, err := s.binDir()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, hint.Wrap(fmt.Errorf("%s is not installed: %w", path, err), "install the PostgreSQL server package that %s belongs to", name)
	}
	return s.asOwner(ctx, path, args...)
}
