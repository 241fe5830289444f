package pgctl

import (
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/warmrun/warmrun/walcore/hint"
)

// fakePostgres is a server program that knows nothing but its version.
func fakePostgres(version string) string {
	return "#!/bin/sh\n[ \"$1\" = -V ] && echo 'postgres (PostgreSQL) " + version + "'\n"
}

func TestFindBinDirWhereDistributionsPutIt(t *testing.T) {
	for _, dir := range []string{
		"usr/lib/postgresql/16/bin", // Debian, Ubuntu
		"usr/pgsql-16/bin",          // PGDG on RHEL and Fedora
		"usr/lib/postgresql16/bin",  // SUSE
		"usr/libexec/postgresql16",  // Alpine
		"usr/bin",                   // Fedora, RHEL, Arch
		"usr/local/pgsql/bin",       // built from source
		"opt/postgresql/bin",
		"opt/PostgreSQL/16/bin",
		"elsewhere/bin", // reached through PATH
	} {
		root := tree(t, map[string]string{
			dir + "/postgres":                      fakePostgres("16.4"),
			dir + "/pg_ctl":                        "#!/bin/sh\n",
			"usr/lib/postgresql/15/bin/postgres":   fakePostgres("15.9"),
			"usr/lib/postgresql/15/bin/pg_ctl":     "#!/bin/sh\n",
			"usr/local/pgsql-broken/bin/postgres":  "#!/bin/sh\nexit 127\n",
			"usr/lib/postgresql/9.6/bin/postgres":  fakePostgres("9.6.24"),
			"usr/lib/postgresql/9.6/bin/pg_ctl":    "#!/bin/sh\n",
			"usr/lib/postgresql/17/bin/not-a-file": "",
		})
		m := machine{root: root, path: filepath.Join(root, "elsewhere/bin")}
		got, err := m.findBinDir(16, "")
		if want := filepath.Join(root, dir); err != nil || got != want {
			t.Errorf("16: got %q, %v, want %q", got, err, want)
		}
		if got, err := m.findBinDir(9.6, ""); err != nil || got != filepath.Join(root, "usr/lib/postgresql/9.6/bin") {
			t.Errorf("9.6: got %q, %v", got, err)
		}
	}
}

func TestFindBinDirThroughPgConfig(t *testing.T) {
	root := tree(t, map[string]string{"far/away/postgres": fakePostgres("16.4"), "far/away/pg_ctl": "#!/bin/sh\n"})
	tools := tree(t, map[string]string{"pg_config": "#!/bin/sh\necho " + root + "/far/away\n"})
	m := machine{root: root, path: tools}
	if got, err := m.findBinDir(16, ""); err != nil || got != filepath.Join(root, "far/away") {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestFindBinDirComplains(t *testing.T) {
	root := tree(t, map[string]string{
		"usr/lib/postgresql/15/bin/postgres": fakePostgres("15.9"),
		"usr/lib/postgresql/15/bin/pg_ctl":   "#!/bin/sh\n",
		"usr/bin/postgres":                   fakePostgres("14.1"),
	})
	m := machine{root: root, path: filepath.Join(root, "none")}
	for _, test := range []struct {
		given, want string
	}{
		{"", "no PostgreSQL 16 server programs found on this machine (found 14 in " + root + "/usr/bin)"},
		{filepath.Join(root, "usr/lib/postgresql/15/bin"), "15/bin holds PostgreSQL 15, the data directory needs 16"},
		{filepath.Join(root, "nowhere"), "no PostgreSQL programs in " + root + "/nowhere"},
	} {
		_, err := m.findBinDir(16, test.given)
		if err == nil || !strings.Contains(err.Error(), test.want) || hint.Of(err) == "" {
			t.Errorf("given %q: error %v (hint %q), want one with %q and a hint", test.given, err, hint.Of(err), test.want)
		}
	}
}

func TestFindBinDirOfThisMachine(t *testing.T) {
	dir, err := FindBinDir(systemVersion(t), "")
	if err != nil {
		t.Fatal(err)
	}
	if v, err := versionOf(filepath.Join(dir, "postgres")); err != nil || v != systemVersion(t) {
		t.Errorf("%s holds version %s, %v", dir, v, err)
	}
}

// A server program that answers counts, also when something else in this process has
// taken its exit status.
func TestVersionOfOneThatOthersBury(t *testing.T) {
	signal.Ignore(syscall.SIGCHLD) // the kernel buries it
	defer func() {
		died := make(chan os.Signal, 1)
		signal.Notify(died, syscall.SIGCHLD) // only this ends Ignore
		signal.Stop(died)
	}()
	program := filepath.Join(tree(t, map[string]string{"postgres": fakePostgres("15.1")}), "postgres")
	if v, err := versionOf(program); err != nil || v != 15 {
		t.Errorf("got version %s, %v", v, err)
	}
}

// A directory that has links to some of the programs stands for the one that has all.
func TestFindBinDirBehindLinks(t *testing.T) {
	root := tree(t, map[string]string{"opt/pg/bin/pg_ctl": "#!/bin/sh\n", "opt/pg/bin/postgres": "#!/bin/sh\necho 'postgres (PostgreSQL) 15.1'\n", "usr/local/bin/psql": ""})
	for _, name := range []string{"pg_ctl", "postgres"} {
		if err := os.Symlink(filepath.Join(root, "opt/pg/bin", name), filepath.Join(root, "usr/local/bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	if dir, err := (machine{root: root}).findBinDir(15, ""); err != nil || dir != filepath.Join(root, "opt/pg/bin") {
		t.Errorf("got %s, %v", dir, err)
	}
}
