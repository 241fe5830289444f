package basebackup

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/warmrun/warmrun/builtins/basebackup/manifest"
)

// TestSameFilesAsPgBasebackup plants what a base backup must leave out, or must
// not, all over a data directory, and compares what is copied with what the
// server's own backup takes.
func TestSameFilesAsPgBasebackup(t *testing.T) {
	t.Parallel()
	s := systemSite(t)
	v := s.initdb("primary")
	v.start()
	outside := v.mkdir("space")
	v.exec(
		"CREATE TABLESPACE far LOCATION '"+outside+"'",
		"CREATE TABLE there AS SELECT generate_series(1, 1000) AS id",
		"ALTER TABLE there SET TABLESPACE far",
		"CREATE UNLOGGED TABLE forgotten AS SELECT generate_series(1, 1000) AS id",
		"CREATE UNLOGGED TABLE forgotten_there TABLESPACE far AS SELECT generate_series(1, 1000) AS id",
		"VACUUM forgotten", // makes its free space map
		"SELECT pg_create_physical_replication_slot('held', true)",
		"ALTER SYSTEM SET work_mem = '5MB'",
	)
	database := filepath.Dir(v.value("SELECT pg_relation_filepath('forgotten')"))
	there := filepath.Dir(v.value("SELECT pg_relation_filepath('there')"))
	for _, name := range planted(database, there) {
		path := filepath.Join(v.data, name)
		if _, err := os.Stat(filepath.Dir(path)); err != nil {
			must(t, os.Mkdir(filepath.Dir(path), 0o700))
			v.own(filepath.Dir(path))
		}
		v.write(path, "planted")
	}

	standby := v.server("standby")
	r := v.request(standby.data)
	_, err := Copy(t.Context(), r)
	must(t, err)
	program, ok := v.program("pg_basebackup")
	if !ok {
		t.Fatal("the system's PostgreSQL has no pg_basebackup: install its client programs (make install-test)")
	}
	dir := filepath.Join(v.dir, "by-pg_basebackup")
	out, err := v.command(t.Context(), program, "-D", dir, "-h", v.sockets, "-p", strconv.Itoa(v.port), "-U", "postgres",
		"-c", "fast", "-X", "none", "--no-verify-checksums", "-T", outside+"="+filepath.Join(v.dir, "space of pg_basebackup")).CombinedOutput()
	if err != nil {
		t.Fatalf("pg_basebackup: %v\n%s", err, out)
	}
	want := slices.DeleteFunc(listed(t, dir), func(name string) bool { return slices.Contains(nodesOwn, name) })
	// pg_basebackup writes the links itself, without a map.
	if got := slices.DeleteFunc(listed(t, standby.data), func(name string) bool { return name == mapFile }); !slices.Equal(got, want) {
		t.Errorf("not in the copy: %q\nnot in the server's own backup: %q", lacks(want, got), lacks(got, want))
	}
}

// planted are files that base backups are particular about.
func planted(database, there string) []string {
	names := []string{
		"backup_label.old", "tablespace_map.old", "recovery.done", "backup_manifest", "postgresql.auto.conf.tmp", "current_logfiles.tmp",
		"current_logfiles", "notes.txt", "log/postgresql.log", "global/pg_internal.init", "global/pg_internal.init.77",
		"pg_stat_tmp/global.stat", "pg_dynshmem/mmap.1", "pg_notify/0001", "pg_serial/0001", "pg_snapshots/00000003-1", "pg_subtrans/0001",
		"pg_logical/replorigin_checkpoint.tmp", "pg_wal/000000010000000000000099",
	}
	for _, dir := range []string{database, there} {
		for _, name := range []string{"pg_internal.init", "pgsql_tmp99.0", "t3_99999", "t3_99999_fsm", "t3_99999.1", "99998", "99998.1", "99998_vm", "99997_init", "99997", "99997.1",
			"99997_fsm", "99997x", "notes_init"} {
			names = append(names, filepath.Join(dir, name))
		}
	}
	return append(names, "base/pgsql_tmp/pgsql_tmp1.0")
}

// nodesOwn is what a backup of the server has and a copy leaves out: it tells
// the state of one node.
var nodesOwn = []string{"backup_label.old", "tablespace_map.old", "recovery.done"}

func listed(t *testing.T, dir string) []string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, manifest.Name))
	must(t, err)
	m, err := manifest.Parse(content)
	must(t, err)
	var names []string
	for _, f := range m.Files {
		names = append(names, f.Path)
	}
	slices.Sort(names)
	return names
}

// lacks is what the first list has and the second does not.
func lacks(first, second []string) []string {
	return slices.DeleteFunc(slices.Clone(first), func(name string) bool { return slices.Contains(second, name) })
}
