package pgctl

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// What starts a server, as an operator types it, and whether systemd does so by
// itself; also for a server that was started past its unit.
func TestManager(t *testing.T) {
	data := t.TempDir()
	writeFile(t, filepath.Join(data, "PG_VERSION"), "15\n")
	unit := "[Service]\nExecStart=/usr/bin/postgres -D " + data + "\n"
	for _, test := range []struct {
		name  string
		files map[string]string
		want  Manager
	}{
		{"by hand", nil, Manager{Start: "/bin/pg_ctl -D " + data + " start"}},
		{"a cluster of Debian's", map[string]string{
			"usr/bin/pg_ctlcluster": "#!/bin/sh\n", "etc/postgresql/15/main/postgresql.conf": "data_directory = '" + data + "'\n",
		}, Manager{Start: "pg_ctlcluster 15 main start"}},
		{"a unit that restarts", map[string]string{
			"run/systemd/system/": "", "usr/bin/systemctl": "#!/bin/sh\necho Restart=on-failure\n", "usr/lib/systemd/system/pg.service": unit,
		}, Manager{Start: "sudo systemctl start pg", Unit: "pg.service", Restart: "on-failure"}},
		{"a manager that does not answer", map[string]string{
			"run/systemd/system/": "", "usr/bin/systemctl": "#!/bin/sh\nexit 1\n", "usr/lib/systemd/system/pg.service": unit,
		}, Manager{Start: "sudo systemctl start pg", Unit: "pg.service"}},
	} {
		files := map[string]string{"bin/pg_ctl": "#!/bin/sh\n", "bin/postgres": "#!/bin/sh\necho 'postgres (PostgreSQL) 15.1'\n"}
		for name, text := range test.files {
			files[name] = text
		}
		root := tree(t, files)
		if test.want.Unit == "" && test.files == nil {
			test.want.Start = filepath.Join(root, "bin/pg_ctl") + " -D " + data + " start"
		}
		s := Server{PGData: data, BinDir: filepath.Join(root, "bin"), machine: machine{root: root, path: filepath.Join(root, "usr/bin")}}
		if got, err := s.Manager(t.Context()); err != nil || got != test.want {
			t.Errorf("%s: got %+v, %v; want %+v", test.name, got, err, test.want)
		}
	}
}

// The directory of modules lies in different places beside the programs, which a
// host may have links to elsewhere, and a directory of other libraries is not taken
// for it.
func TestLibraries(t *testing.T) {
	data := t.TempDir()
	writeFile(t, filepath.Join(data, "PG_VERSION"), "15\n")
	for _, below := range []string{"lib", "lib/postgresql", "lib64/pgsql"} {
		root := tree(t, map[string]string{
			"bin/pg_ctl": "#!/bin/sh\n", "bin/postgres": "#!/bin/sh\necho 'postgres (PostgreSQL) 15.1'\n",
			"lib/libpq.so": "", below + "/plpgsql.so": "", below + "/hstore.so": "", below + "/README": "",
		})
		linked := t.TempDir()
		for _, program := range []string{"pg_ctl", "postgres"} {
			if err := os.Symlink(filepath.Join(root, "bin", program), filepath.Join(linked, program)); err != nil {
				t.Fatal(err)
			}
		}
		for _, bin := range []string{filepath.Join(root, "bin"), linked} {
			s := Server{PGData: data, BinDir: bin, machine: machine{root: root}}
			dir, names, err := s.Libraries()
			if err != nil || dir != filepath.Join(root, below) || !slices.Contains(names, "hstore") || slices.Contains(names, "README") {
				t.Errorf("%s, programs in %s: got %s, %q, %v", below, bin, dir, names, err)
			}
		}
	}
	s := Server{PGData: data, BinDir: filepath.Join(tree(t, map[string]string{"bin/pg_ctl": "#!/bin/sh\n", "bin/postgres": "#!/bin/sh\necho 'postgres (PostgreSQL) 15.1'\n"}), "bin")}
	if dir, _, err := s.Libraries(); err == nil {
		t.Errorf("got %s where there are none", dir)
	}
}
