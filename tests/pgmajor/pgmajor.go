// Package pgmajor says on which major versions of PostgreSQL tests run, and where
// their servers are: the newest of this system's packages, and for every other
// version a prebuilt server, which has initdb, pg_ctl and postgres only, and which
// tests/fetch-postgres.sh downloads.
package pgmajor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The majors that are supported.
const (
	Oldest = 10
	Newest = 18
)

// AllVariable in the environment, with any value, asks for every major.
const AllVariable = "MAJORS_ALL"

// Server is the programs of one version.
type Server struct {
	Major   int
	Version string // such as 15.18
	Bin     string // the directory with the programs
	System  bool   // of this system's packages, with all of its programs
}

// All is every supported major, the oldest first.
func All() []int {
	var all []int
	for major := Oldest; major <= Newest; major++ {
		all = append(all, major)
	}
	return all
}

// Wanted is the majors that a test runs on: the oldest, the system's and the
// newest, or all of them where the environment asks for that.
func Wanted(ctx context.Context) ([]int, error) {
	if os.Getenv(AllVariable) != "" {
		return All(), nil
	}
	system, err := System(ctx)
	if err != nil {
		return nil, err
	}
	wanted := []int{Oldest, system.Major, Newest}
	slices.Sort(wanted)
	return slices.Compact(wanted), nil
}

// Find is the server of a major. What is not there yet is downloaded.
func Find(ctx context.Context, major int) (Server, error) {
	system, err := System(ctx)
	if err != nil || system.Major == major {
		return system, err
	}
	script, err := fetchScript()
	if err != nil {
		return Server{}, err
	}
	fetch := exec.CommandContext(ctx, script, strconv.Itoa(major))
	fetch.Stderr = os.Stderr
	out, err := fetch.Output()
	if err != nil {
		return Server{}, fmt.Errorf("fetch PostgreSQL %d: %w", major, err)
	}
	return look(ctx, strings.TrimSpace(string(out)))
}

// System is the newest supported server of this system's packages.
func System(ctx context.Context) (Server, error) {
	for _, major := range slices.Backward(All()) {
		for _, bin := range []string{fmt.Sprintf("/usr/lib/postgresql/%d/bin", major), fmt.Sprintf("/usr/pgsql-%d/bin", major), "/usr/bin"} {
			if _, err := os.Stat(filepath.Join(bin, "pg_ctl")); err != nil {
				continue
			}
			server, err := look(ctx, bin)
			if err == nil && server.Major == major {
				server.System = true
				return server, nil
			}
		}
	}
	return Server{}, errors.New("no PostgreSQL server found: install one (make install-test)")
}

var versionOf = regexp.MustCompile(`\(PostgreSQL\) ((\d+)\.\d+)`)

func look(ctx context.Context, bin string) (Server, error) {
	out, err := exec.CommandContext(ctx, filepath.Join(bin, "postgres"), "--version").Output()
	if err != nil {
		return Server{}, fmt.Errorf("ask the server in %s for its version: %w", bin, err)
	}
	match := versionOf.FindStringSubmatch(string(out))
	if match == nil {
		return Server{}, fmt.Errorf("the server in %s says that it is %q", bin, out)
	}
	major, err := strconv.Atoi(match[2])
	return Server{Major: major, Version: match[1], Bin: bin}, err
}

// fetchScript looks for the source tree above the working directory, which is
// within it for every test.
func fetchScript() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		path := filepath.Join(dir, "tests", "fetch-postgres.sh")
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", errors.New("tests/fetch-postgres.sh is nowhere above the working directory")
}
