package standby

import (
	"strings"
	"testing"
	"time"
)

func fitPair() (primary, standby Fitness) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	both := func(node string) Fitness {
		f := Fitness{Node: node, Program: "1.0", Major: 15, SQL: true, Now: at, ArchiveMode: "on", ArchiveCommand: "warmrun archive %p %f", WALLevel: "replica",
			SegmentSize: 16 << 20, Shared: map[string]int64{}, SharedNext: map[string]int64{}, Free: map[string]int64{"/srv": 1 << 40}}
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

func TestNotes(t *testing.T) {
	primary, standby := fitPair()
	primary.LogicalSlots = 3
	against, notes := Unfits(primary, standby, Limits{Archives: func(string) bool { return true }})
	if len(against) != 0 || len(notes) != 1 || !strings.Contains(notes[0], "3 logical replication slots stay behind on db1") {
		t.Errorf("got %v against it and notes %v", against, notes)
	}
}
