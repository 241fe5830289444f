package standby

import (
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/builtins/psql"
)

func fitPair() (primary, standby Fitness) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	both := func(node string) Fitness {
		f := Fitness{Node: node, Program: "1.0", Major: 15, SQL: true, Now: at, ArchiveMode: "on", ArchiveCommand: "warmrun archive %p %f", WALLevel: "replica",
			Host: Host{Libc: "glibc 2.36", LibDir: "/lib", Libraries: []string{"plpgsql", "postgis-3"}}, SegmentSize: 16 << 20, Shared: map[string]int64{}, SharedNext: map[string]int64{}, Free: map[string]int64{"/srv": 1 << 40}}
		for name, value := range sharedSettings() {
			f.Shared[name], f.SharedNext[name] = value, value
		}
		return f
	}
	primary, standby = both("db1"), both("db2")
	primary.LSN, standby.LSN = 0x5000100, 0x4FFFFFF
	return primary, standby
}

// TestUnfits: each reason alone, and none where all is well.
func TestUnfits(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(primary, standby *Fitness)
		want   string // "" for none
	}{
		{"all is well", func(_, _ *Fitness) {}, ""},
		{"a standby behind in the open segment only", func(_, s *Fitness) { s.LSN = 0x5000000 }, ""},
		{"other majors", func(_, s *Fitness) { s.Major = 16 }, "db1 has PostgreSQL 15 and db2 has 16"},
		{"other programs", func(_, s *Fitness) { s.Program = "1.1" }, "db1 has warmrun 1.0 and db2 has 1.1"},
		{"a clock ahead", func(p, _ *Fitness) { p.Now = p.Now.Add(time.Minute) }, "are 1m0s apart"},
		{"a clock behind", func(p, _ *Fitness) { p.Now = p.Now.Add(-time.Minute) }, "are 1m0s apart"},
		{"clocks that differ as clocks do", func(p, _ *Fitness) { p.Now = p.Now.Add(time.Second) }, ""},
		{"prepared transactions", func(p, _ *Fitness) { p.Prepared = 2 }, "2 prepared transactions are open on db1"},
		{"a backup", func(p, _ *Fitness) { p.Backups = 1 }, "a base backup of db1 is under way"},
		{"a backup of the standby", func(_, s *Fitness) { s.Backups = 1 }, ""},
		{"paused", func(_, s *Fitness) { s.Paused = true }, "replay is paused on db2"},
		{"behind", func(p, _ *Fitness) { p.LSN = 0x15000100 }, "db2 has still to replay 268435457 bytes"},
		{"behind, and cannot be asked", func(p, s *Fitness) { p.LSN, s.LSN, s.SQL = 0x15000100, 0, false }, ""},
		{"settings too low at the old primary's next start", func(p, s *Fitness) { s.Shared["max_connections"] = 200 }, "max_connections is 100 on db1 and 200 on db2"},
		{"settings that the next start sets right", func(p, s *Fitness) { s.Shared["max_connections"], p.SharedNext["max_connections"] = 200, 200 }, ""},
		{"archive_mode off", func(_, s *Fitness) { s.ArchiveMode = "off" }, "archive_mode is off on db2"},
		{"no WAL for a standby", func(_, s *Fitness) { s.WALLevel = "minimal" }, "wal_level is minimal on db2"},
		{"a library", func(_, s *Fitness) { s.ArchiveLibrary = "basic_archive" }, `archive_library is "basic_archive" on db2`},
		{"another command", func(_, s *Fitness) { s.ArchiveCommand = "cp %p /x/%f" }, `archive_command on db2 is "cp %p /x/%f"`},
		{"a library on the primary", func(p, _ *Fitness) { p.ArchiveLibrary = "basic_archive" }, `archive_library is "basic_archive" on db1, so archive_command is ignored`},
		{"another command on the primary", func(p, _ *Fitness) { p.ArchiveCommand = "cp %p /x/%f" }, `archive_command on db1 is "cp %p /x/%f"`},
		{"a standby that archives", func(_, s *Fitness) { s.ArchiveMode = "always" }, "archive_mode is always on db2"},
		{"a primary that will archive as a standby", func(p, _ *Fitness) { p.ArchiveMode = "always" }, ""},
		{"a configuration that the server refuses", func(p, _ *Fitness) { p.Refused = "line 3 is wrong" }, "would not start again with its configuration: line 3 is wrong"},
		{"a standby's configuration that is for later", func(_, s *Fitness) { s.Refused = "line 3 is wrong" }, ""},
		{"a preload that the old primary lacks", func(p, s *Fitness) {
			p.Preloads, s.Libraries = []string{"plpgsql", "timescaledb"}, []string{"plpgsql", "timescaledb"}
		}, "the server on db1 would not start again: timescaledb of shared_preload_libraries is not in /lib"},
		{"a preload of which nothing is known", func(p, _ *Fitness) { p.Preloads, p.LibDir, p.Libraries = []string{"timescaledb"}, "", nil }, "extensions of db1 need libraries that are not in /lib on db2: timescaledb"},
		{"an extension that the standby lacks", func(p, _ *Fitness) { p.Databases.Modules = []string{"plpgsql", "pgaudit"} }, "extensions of db1 need libraries that are not in /lib on db2: pgaudit"},
		{"an extension that both have", func(p, _ *Fitness) { p.Databases.Modules = []string{"postgis-3", "sub/module"} }, ""},
		{"a logical slot", func(p, _ *Fitness) { p.LogicalSlots = []psql.LogicalSlot{{Name: "cdc"}} }, "logical replication slots are on db1 alone: cdc"},
		{"a logical slot that the standby has not got yet", func(p, s *Fitness) {
			p.LogicalSlots, s.LogicalSlots = []psql.LogicalSlot{{Name: "cdc", Failover: true}}, []psql.LogicalSlot{{Name: "cdc"}}
		}, "logical replication slots are on db1 alone: cdc"},
		{"a logical slot that the standby keeps", func(p, s *Fitness) {
			p.LogicalSlots, s.LogicalSlots = []psql.LogicalSlot{{Name: "cdc", Failover: true}}, []psql.LogicalSlot{{Name: "cdc", Failover: true, Kept: true}}
		}, ""},
		{"a database without its locale", func(_, s *Fitness) { s.Databases.Closed = []string{"app: database locale is incompatible"} }, "the server on db2 cannot open database app: database locale is incompatible"},
		{"a database that nobody can open", func(p, s *Fitness) {
			p.Databases.Closed, s.Databases.Closed = []string{"old: it is invalid"}, []string{"old: it is invalid"}
		}, ""},
		{"no room", func(_, s *Fitness) { s.Free["/srv"] = 1000 }, "only 1000 bytes are free at /srv on db2"},
	} {
		primary, standby := fitPair()
		test.change(&primary, &standby)
		against, _ := Unfits(primary, standby, Limits{MaxLag: 64 << 20, Archives: func(command string) bool { return strings.Contains(command, "warmrun") }})
		switch {
		case test.want == "" && len(against) > 0:
			t.Errorf("%s: got %v, want nothing against it", test.name, against)
		case test.want != "" && (len(against) != 1 || !strings.Contains(against[0].Reason, test.want) || against[0].Hint == ""):
			t.Errorf("%s: got %v, want one reason with %q and a hint", test.name, against, test.want)
		}
	}
}

// TestNotes: what an operator is told, and what is only told where it is accepted.
func TestNotes(t *testing.T) {
	for _, test := range []struct {
		change func(primary, standby *Fitness)
		want   string
	}{
		{func(_, s *Fitness) {
			s.Databases.Stale = []string{"collation de was made with version 1, here it is 2"}
		}, "WARNING: the libraries on db2 sort text otherwise than its indexes were made with: collation de was made with version 1, here it is 2"},
		{func(p, _ *Fitness) { p.Libc = "glibc 2.31" }, "WARNING: db1 has glibc 2.31 and db2 has glibc 2.36"},
		{func(_, s *Fitness) { s.Backups = 1 }, "a base backup of db2 is under way: the promotion ends it"},
		{func(p, _ *Fitness) { p.ArchiveMode = "always" }, "archive_mode is always on db1"},
		{func(p, _ *Fitness) { p.Unit, p.Restart = "postgresql.service", "on-failure" }, "postgresql.service on db1 starts the server again by itself (Restart=on-failure)"},
		{func(_, s *Fitness) { s.Unknown = []string{"its libraries: no such directory"} }, "not looked at on db2: its libraries: no such directory"},
		{func(p, _ *Fitness) { p.LogicalSlots = []psql.LogicalSlot{{Name: "cdc"}} }, "WARNING: logical replication slots are on db1 alone: cdc"},
		{func(p, _ *Fitness) { p.Databases.Modules = []string{"pgaudit"} }, "WARNING: extensions of db1 need libraries that are not in /lib on db2: pgaudit"},
	} {
		primary, standby := fitPair()
		test.change(&primary, &standby)
		against, notes := Unfits(primary, standby, Limits{Archives: func(string) bool { return true }, AcceptLostSlots: true, AcceptMissingLibraries: true})
		if len(against) != 0 || len(notes) != 1 || !strings.Contains(notes[0], test.want) {
			t.Errorf("got %v against it and notes %q, want one with %q", against, notes, test.want)
		}
	}
}

// TestWarnings: what keeps nobody from a promotion that cannot wait is said.
func TestWarnings(t *testing.T) {
	_, standby := fitPair()
	limits := Limits{Archives: func(command string) bool { return strings.Contains(command, "warmrun") }}
	if got := Warnings(standby, limits); len(got) != 0 {
		t.Errorf("all is well: got %q", got)
	}
	standby.ArchiveLibrary, standby.Databases.Stale = "basic_archive", []string{"collation de was made with version 1, here it is 2"}
	standby.Databases.Closed, standby.Unknown = []string{"app: no locale"}, []string{"its libraries: no such directory"}
	got := strings.Join(Warnings(standby, limits), "\n")
	for _, want := range []string{`archive_library is "basic_archive"`, "cannot open database app", "collation de was made", "not looked at on db2"} {
		if !strings.Contains(got, want) {
			t.Errorf("got %q, want %q in it", got, want)
		}
	}
}

func TestServerWords(t *testing.T) {
	for text, want := range map[string]string{
		"setting x: exit status 1: 2026-11-26 UTC [7] LOG:  invalid value for parameter \"work_mem\": \"plenty\"\n2026-11-26 UTC [7] FATAL:  configuration file \"/c\" contains errors\n": `invalid value for parameter "work_mem": "plenty", configuration file "/c" contains errors`,
		"setting x: postgres is not\ninstalled": "setting x: postgres is not installed",
	} {
		if got := serverWords(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
