package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/warmrun/warmrun/walcore/hint"
)

// ErrNoHome means that no home directory could be found.
var ErrNoHome = errors.New("no warmrun home directory found")

// Surroundings is what a process knows of where it runs.
type Surroundings struct {
	Home       string // --home
	PGData     string // --pgdata
	Getenv     func(string) string
	WorkDir    string // the server's data directory when PostgreSQL calls us
	Executable string // path of the running binary, in which the kernel has resolved links
	Hostname   string
}

// Here is the surroundings of this process.
func Here(home, pgdata string) Surroundings {
	s := Surroundings{Home: home, PGData: pgdata, Getenv: os.Getenv}
	// Each of these may be unknown; Locate then has one place less to look.
	s.WorkDir, _ = os.Getwd()
	s.Executable, _ = os.Executable()
	s.Hostname, _ = os.Hostname()
	return s
}

// DataDir is the data directory that the surroundings name: --pgdata, then
// $PGDATA, then the working directory where it is one. It may be empty.
func (s Surroundings) DataDir() string {
	if s.PGData != "" {
		return s.PGData
	}
	if dir := s.Getenv("PGDATA"); dir != "" {
		return dir
	}
	if _, err := os.Stat(filepath.Join(s.WorkDir, "PG_VERSION")); err == nil {
		return s.WorkDir
	}
	return ""
}

// Locate finds the home directory: --home, $WARMRUN_HOME, PGDATA/../warmrun,
// PGDATA/../2warm, and last the directory that the binary itself lies in when
// that is the bin directory of a home.
func Locate(s Surroundings) (string, error) {
	for _, explicit := range []struct{ from, dir string }{
		{"--home", s.Home},
		{"WARMRUN_HOME", s.Getenv("WARMRUN_HOME")},
	} {
		if explicit.dir == "" {
			continue
		}
		if !isHome(explicit.dir) {
			return "", hint.Wrap(fmt.Errorf("%s names %s, which is not a warmrun home: it has no global or local directory", explicit.from, explicit.dir),
				"give the directory that holds global/ and local/, or create %s", filepath.Join(explicit.dir, "global", "cluster.toml"))
		}
		return filepath.Abs(explicit.dir)
	}
	var candidates []string
	if data := s.DataDir(); data != "" {
		// The parent of the path as named: PGDATA may be a symbolic link, and
		// 2warm's tree lies beside the link.
		parent := filepath.Dir(filepath.Clean(data))
		candidates = append(candidates, filepath.Join(parent, "warmrun"), filepath.Join(parent, "2warm"))
	}
	if bin := filepath.Dir(s.Executable); filepath.Base(bin) == "bin" {
		candidates = append(candidates, filepath.Dir(bin))
	}
	for _, dir := range candidates {
		if isHome(dir) {
			return filepath.Abs(dir)
		}
	}
	return "", hint.Wrap(ErrNoHome, "give --home DIR or set WARMRUN_HOME, or set PGDATA so that PGDATA/../warmrun or PGDATA/../2warm is found, or run the program that lies in HOME/bin")
}

func isHome(dir string) bool {
	for _, part := range []string{"global", "local"} {
		if info, err := os.Stat(filepath.Join(dir, part)); err == nil && info.IsDir() {
			return true
		}
	}
	return false
}
