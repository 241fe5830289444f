package pgctl

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const pgdgUnit = `[Unit]
Description=PostgreSQL 16 database server

[Service]
Type=notify
Environment=PGDATA=/var/lib/pgsql/16/data/
ExecStartPre=/usr/pgsql-16/bin/postgresql-16-check-db-dir ${PGDATA}
ExecStart=/usr/pgsql-16/bin/postgres -D ${PGDATA}
`

func TestServedBy(t *testing.T) {
	for _, test := range []struct {
		name, unit, text, want string
	}{
		{"PGDG", "postgresql-16.service", pgdgUnit, "/var/lib/pgsql/16/data/"},
		{"overridden", "postgresql-16.service", pgdgUnit + "\n[Service]\nEnvironment=PGDATA=/data/16\n", "/data/16"},
		{"quoted", "x.service", "[Service]\nEnvironment=\"PGDATA=/my data\" PGPORT=1\nExecStart=/usr/bin/postmaster -D \"${PGDATA}\"\n", "/my data"},
		{"Fedora's template", "postgresql@two.service", "[Service]\nEnvironment=PGDATA=/var/lib/pgsql/%i\nExecStart=/usr/bin/postmaster -D ${PGDATA}\n", "/var/lib/pgsql/two"},
		{"Arch", "postgresql.service", "[Service]\nEnvironment=PGROOT=/var/lib/postgres\nExecStart=/usr/bin/postgres -D ${PGROOT}/data\n", "/var/lib/postgres/data"},
		{"pg_ctl", "x.service", "[Service]\nExecStart=/opt/pg/bin/pg_ctl start -w \\\n  --pgdata=/data -l log\n", "/data"},
		{"joined option", "x.service", "[Service]\nExecStart=-/usr/bin/postgres -D/data\n", "/data"},
		{"environment alone", "x.service", "[Service]\nEnvironment=PGDATA=/data\nExecStart=/usr/bin/pg_ctl start\n", "/data"},
		{"replaced command", "x.service", pgdgUnit + "[Service]\nExecStart=\nExecStart=/usr/bin/postgres -D /other\n", "/other"},
		{"exporter", "x.service", "[Service]\nEnvironment=PGDATA=/data\nExecStart=/usr/bin/postgres_exporter\n", ""},
		{"empty", "x.service", "", ""},
	} {
		if got := (machine{}).servedBy(test.unit, test.text); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

func TestUnitForStoppedServer(t *testing.T) {
	data := t.TempDir()
	unit := strings.ReplaceAll(pgdgUnit, "/var/lib/pgsql/16/data/", data+"/")
	sysconfig := "# settings\nPGDATA=\"" + data + "\"\n"
	for _, test := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"no units", nil, ""},
		{"packaged", map[string]string{"usr/lib/systemd/system/postgresql-16.service": unit}, "postgresql-16.service"},
		{"old place", map[string]string{"lib/systemd/system/postgresql-16.service": unit}, "postgresql-16.service"},
		{"other data", map[string]string{"usr/lib/systemd/system/postgresql-16.service": pgdgUnit}, ""},
		{"moved by a drop-in", map[string]string{
			"usr/lib/systemd/system/postgresql-16.service":                pgdgUnit,
			"etc/systemd/system/postgresql-16.service.d/10-override.conf": "[Service]\nEnvironment=PGDATA=" + data + "\n",
		}, "postgresql-16.service"},
		{"moved away by the administrator's file", map[string]string{
			"usr/lib/systemd/system/postgresql-16.service": unit,
			"etc/systemd/system/postgresql-16.service":     pgdgUnit,
		}, ""},
		{"masked", map[string]string{
			"usr/lib/systemd/system/postgresql-16.service": unit,
			"etc/systemd/system/postgresql-16.service":     "-> /dev/null",
		}, ""},
		{"environment file", map[string]string{
			"usr/lib/systemd/system/postgresql.service": "[Service]\nEnvironment=PGDATA=/var/lib/pgsql/data\nEnvironmentFile=-/etc/sysconfig/postgresql\nExecStart=/usr/bin/postmaster -D ${PGDATA}\n",
			"etc/sysconfig/postgresql":                  sysconfig,
		}, "postgresql.service"},
		{"enabled instance", map[string]string{
			"usr/lib/systemd/system/postgresql@.service":                                                "[Service]\nEnvironment=PGDATA=" + filepath.Dir(data) + "/%i\nExecStart=/usr/bin/postmaster -D ${PGDATA}\n",
			"etc/systemd/system/multi-user.target.wants/postgresql@" + filepath.Base(data) + ".service": "-> /usr/lib/systemd/system/postgresql@.service",
		}, "postgresql@" + filepath.Base(data) + ".service"},
		{"template that nobody uses", map[string]string{
			"usr/lib/systemd/system/postgresql@.service": "[Service]\nEnvironment=PGDATA=" + filepath.Dir(data) + "/%i\nExecStart=/usr/bin/postmaster -D ${PGDATA}\n",
		}, ""},
	} {
		m := machine{root: tree(t, test.files)}
		got, err := m.unitFor(data, debianCluster{})
		if err != nil || got != test.want {
			t.Errorf("%s: got %q, %v, want %q", test.name, got, err, test.want)
		}
	}
}

func TestServiceOfProcess(t *testing.T) {
	for _, test := range []struct {
		name, cgroup, want string
	}{
		{"unified", "0::/system.slice/postgresql-16.service\n", "postgresql-16.service"},
		{"Debian's template", "0::/system.slice/system-postgresql.slice/postgresql@15-main.service\n", "postgresql@15-main.service"},
		{"split", "12:memory:/system.slice/other.service\n1:name=systemd:/system.slice/postgresql.service\n", "postgresql.service"},
		{"login session", "0::/user.slice/user-1000.slice/session-3.scope\n", ""},
		{"user's own manager", "0::/user.slice/user-1000.slice/user@1000.service/app.slice/run-1.scope\n", ""},
		{"container", "0::/\n", ""},
		{"unreadable", "", ""},
	} {
		m := machine{root: tree(t, map[string]string{"proc/77/cgroup": test.cgroup})}
		if got := m.serviceOf(77); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

// systemctlShow is a systemctl that knows the main process of one unit.
func systemctlShow(unit, pid string) string {
	return "#!/bin/sh\n[ \"$1 $2 $3\" = 'show --property=MainPID " + unit + "' ] && echo MainPID=" + pid + " || echo MainPID=0\n"
}

func TestOwner(t *testing.T) {
	data := t.TempDir()
	config := "data_directory = '" + data + "'\n"
	running := Status{Running: true, PID: 77}
	const template = "[Service]\nExecStart=-/usr/bin/pg_ctlcluster %i start\n"
	for _, test := range []struct {
		name   string
		files  map[string]string
		status Status
		want   ownership
	}{
		{"nothing here", nil, Status{}, ownership{kind: OwnerManual}},
		{"Debian without systemd", map[string]string{
			"usr/bin/pg_ctlcluster":                  "#!/bin/sh\n",
			"etc/postgresql/15/main/postgresql.conf": config,
		}, Status{}, ownership{kind: OwnerCluster, cluster: debianCluster{version: "15", name: "main"}}},
		{"Debian's configuration left over, its programs gone", map[string]string{
			"etc/postgresql/15/main/postgresql.conf": config,
		}, Status{}, ownership{kind: OwnerManual}},
		{"Debian's other clusters", map[string]string{
			"usr/bin/pg_ctlcluster":                  "#!/bin/sh\n",
			"etc/postgresql/15/main/postgresql.conf": "data_directory = '/elsewhere'\n",
			"etc/postgresql/15/bad/postgresql.conf":  "data_directory = 'open\n",
			"etc/postgresql/14/two/postgresql.conf":  config,
		}, Status{}, ownership{kind: OwnerCluster, cluster: debianCluster{version: "14", name: "two"}}},
		{"Debian's link instead of a setting", map[string]string{
			"usr/bin/pg_ctlcluster":                  "#!/bin/sh\n",
			"etc/postgresql/15/main/postgresql.conf": "port = 5432\n",
			"etc/postgresql/15/main/pgdata":          "-> " + data,
		}, Status{}, ownership{kind: OwnerCluster, cluster: debianCluster{version: "15", name: "main"}}},
		{"Debian with systemd", map[string]string{
			"usr/bin/pg_ctlcluster":                  "#!/bin/sh\n",
			"usr/bin/systemctl":                      "#!/bin/sh\n",
			"run/systemd/system/":                    "",
			"lib/systemd/system/postgresql@.service": template,
			"etc/postgresql/15/main/postgresql.conf": config,
		}, Status{}, ownership{kind: OwnerSystemd, unit: "postgresql@15-main.service", cluster: debianCluster{version: "15", name: "main"}}},
		{"running under its unit", map[string]string{
			"usr/bin/systemctl":   systemctlShow("postgresql.service", "77"),
			"run/systemd/system/": "",
			"proc/77/cgroup":      "0::/system.slice/postgresql.service\n",
		}, running, ownership{kind: OwnerSystemd, unit: "postgresql.service"}},
		{"started by hand through ssh", map[string]string{
			"usr/bin/systemctl":   systemctlShow("ssh.service", "12"),
			"run/systemd/system/": "",
			"proc/77/cgroup":      "0::/system.slice/ssh.service\n",
		}, running, ownership{kind: OwnerManual}},
		{"Debian's, started by hand", map[string]string{
			"usr/bin/pg_ctlcluster":                  "#!/bin/sh\n",
			"usr/bin/systemctl":                      systemctlShow("postgresql@15-main.service", "77"),
			"run/systemd/system/":                    "",
			"proc/77/cgroup":                         "0::/user.slice/user-0.slice/session-1.scope\n",
			"lib/systemd/system/postgresql@.service": template,
			"etc/postgresql/15/main/postgresql.conf": config,
		}, running, ownership{kind: OwnerCluster, cluster: debianCluster{version: "15", name: "main"}}},
		{"systemd that does not answer", map[string]string{
			"usr/bin/systemctl":   "#!/bin/sh\necho Failed to connect to bus >&2; exit 1\n",
			"run/systemd/system/": "",
			"proc/77/cgroup":      "0::/system.slice/postgresql.service\n",
		}, running, ownership{kind: OwnerManual}},
		{"systemd installed, not running", map[string]string{
			"usr/bin/systemctl":                         "#!/bin/sh\n",
			"usr/lib/systemd/system/postgresql.service": "[Service]\nExecStart=/usr/bin/postgres -D " + data + "\n",
		}, Status{}, ownership{kind: OwnerManual}},
	} {
		root := tree(t, test.files)
		s := Server{PGData: data, machine: machine{root: root, path: filepath.Join(root, "usr/bin")}}
		got, err := s.owner(t.Context(), test.status)
		if got.cluster.name != "" {
			test.want.cluster.config = filepath.Join(root, "etc/postgresql", got.cluster.version, got.cluster.name)
		}
		if err != nil || got != test.want {
			t.Errorf("%s: got %+v, %v\nwant %+v", test.name, got, err, test.want)
		}
	}
}

func TestConfigPath(t *testing.T) {
	outside := tree(t, map[string]string{"postgresql.conf": ""})
	for _, test := range []struct {
		name, opts string
		inside     bool
		want       string // empty: an error
	}{
		{"inside", "", true, "PGDATA"},
		{"inside, though once elsewhere", `/usr/bin/postgres "-c" "config_file=` + outside + `/postgresql.conf"`, true, "PGDATA"},
		{"outside", `/usr/bin/postgres "-D" "/d" "-c" "config_file=` + outside + `/postgresql.conf"`, false, outside},
		{"outside, one word", `/usr/bin/postgres "--config-file=` + outside + `/postgresql.conf"`, false, outside},
		{"gone", `/usr/bin/postgres "-c" "config_file=/nowhere/postgresql.conf"`, false, ""},
		{"none", "", false, ""},
	} {
		data := t.TempDir()
		if test.want == "PGDATA" {
			test.want = data
		}
		s := Server{PGData: data, machine: machine{root: t.TempDir()}}
		if test.inside {
			writeFile(t, filepath.Join(data, "postgresql.conf"), "")
		}
		if test.opts != "" {
			writeFile(t, filepath.Join(data, "postmaster.opts"), test.opts+"\n")
		}
		got, err := s.ConfigPath()
		if test.want == "" {
			if err == nil {
				t.Errorf("%s: got %q, want an error", test.name, got)
			}
			continue
		}
		if want := filepath.Join(test.want, "postgresql.conf"); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", test.name, got, err, want)
		}
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
