package health

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/builtins/psql"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
)

const gigabyte = 1 << 30

// examined gives a node the facts of one with which all is well.
func examined(n NodeStatus) NodeStatus {
	n.Program, n.SegmentSize = "1.0", 16<<20
	n.Facts = &Facts{
		Began: n.At, Asks: n.Node == "db1", AheadLeast: -0.1, AheadMost: 0.1,
		ArchiveCommand: "/w/bin/warmrun --home /w archive %p %f", RestoreCommand: "/w/bin/warmrun --home /w restore %f %p %r", Signal: n.follows(),
		Settings: map[string]string{"max_connections": "100", "max_worker_processes": "8", "max_wal_senders": "10", "max_prepared_transactions": "0", "max_locks_per_transaction": "64",
			"archive_mode": "on", "archive_command": "/w/bin/warmrun --home /w archive %p %f", "archive_library": "", "archive_timeout": "60", "wal_level": "replica", "fsync": "on", "full_page_writes": "on",
			"hot_standby": "on", "recovery_target_timeline": "latest", "recovery_prefetch": "try", "recovery_min_apply_delay": "0", "shared_preload_libraries": ""},
		Next:  map[string]string{},
		Stamp: walcore.Stamp{SystemID: 77, SegmentSize: 16 << 20},
		Disks: []Disk{{"wal", "/data/pg_wal", 50 * gigabyte, 100 * gigabyte}},
		Libc:  "glibc 2.36", LibDir: "/lib", Libraries: []string{"plpgsql", "pg_stat_statements"}, DataMode: "0700", Start: "pg_ctl -D /data start",
		Backup: &Backup{File: "000000010000000000000003.00000028.backup", At: noon.Add(-time.Hour)}, LastFileAt: noon.Add(-time.Minute),
	}
	if n.follows() {
		n.Facts.Settings["restore_command"] = n.Facts.RestoreCommand
		n.Facts.GapsFrom = "000000010000000000000006"
	}
	for _, to := range []cluster.NodeName{"db1", "db2"} {
		if to != n.Node {
			n.Facts.Links = append(n.Facts.Links, Link{To: to})
		}
	}
	if n.writes() {
		n.Facts.Loads = []string{"plpgsql"}
	}
	return n
}

var usual = Limits{LagWarning: 160 << 20, LagCritical: gigabyte, FreeWarning: 10, FreeCritical: 2, BackupAge: 8 * 24 * time.Hour}

func db1() NodeStatus { return examined(primary("db1", 0x7000000)) }
func db2() NodeStatus { return examined(standby("db2", 0x7000000)) }

func TestCheckAllIsWell(t *testing.T) {
	up := Check(usual, db1(), db2())
	for _, v := range up.Verdicts {
		if v.Level != OK || v.Next != "" {
			t.Errorf("%s %s: %s: %s; next: %s", v.Level, v.Node, v.Check, v.Text, v.Next)
		}
	}
	if up.Level != OK || !strings.HasSuffix(up.Summary, " checks on 2 nodes") || len(up.Verdicts) < 30 {
		t.Errorf("got %s %q with %d verdicts", up.Level, up.Summary, len(up.Verdicts))
	}
}

// TestCheckVerdicts changes one thing at a time.
func TestCheckVerdicts(t *testing.T) {
	set := func(name, value string) func(*NodeStatus) {
		return func(n *NodeStatus) { n.Facts.Settings[name] = value }
	}
	none := func(*NodeStatus) {}
	for _, test := range []struct {
		level Level
		check string
		text  string // part of it
		one   func(*NodeStatus)
		two   func(*NodeStatus)
	}{
		{Critical, "primary", "db1 and db2 accept writes", none, func(n *NodeStatus) { n.Role = RolePrimary }},
		{Critical, "primary", "no node accepts writes", func(n *NodeStatus) { n.Role, n.Running = RoleStoppedPrimary, false }, none},
		{Critical, "reach", "connection refused", none, func(n *NodeStatus) { *n = Unreachable(cluster.Node{Name: "db2"}, errors.New("connection refused")) }},
		{Critical, "reach", "warmrun is not there", none, func(n *NodeStatus) { *n = NotInstalled(cluster.Node{Name: "db2"}, errors.New("no such file")) }},
		{Warning, "program", "it has warmrun 0.9, and this node 1.0", none, func(n *NodeStatus) { n.Program = "0.9" }},
		{Warning, "clock", "at least 3.0 s ahead", none, func(n *NodeStatus) { n.Facts.AheadLeast, n.Facts.AheadMost = 3, 3.2 }},
		{Warning, "clock", "at least 3.0 s behind", none, func(n *NodeStatus) { n.Facts.AheadLeast, n.Facts.AheadMost = -5, -3 }},
		{OK, "clock", "agrees within 5.0 s", none, func(n *NodeStatus) { n.Facts.AheadLeast, n.Facts.AheadMost = -5, 1 }},
		{Critical, "permissions", "0755", none, func(n *NodeStatus) { n.Facts.DataMode = "0755" }},
		{Critical, "disk", "/data/pg_wal", func(n *NodeStatus) { n.Facts.Disks[0].Free = 10 << 20 }, none},
		{Warning, "disk", "5120 MB of 100 GB", func(n *NodeStatus) { n.Facts.Disks[0].Free = 5 * gigabyte }, none},
		{Critical, "disk", "1024 MB of 100 GB", func(n *NodeStatus) { n.Facts.Disks[0].Free = gigabyte }, none},
		{Critical, "disk", "room for 17 min 4 s of WAL", func(n *NodeStatus) { n.Facts.WALRate = 50 << 20 }, none},
		{Warning, "service", "Restart=on-failure", func(n *NodeStatus) { n.Facts.Unit, n.Facts.Restart = "postgresql.service", "on-failure" }, none},
		{Unknown, "service", "is not known", func(n *NodeStatus) { n.Facts.Unit = "postgresql.service" }, none},
		{OK, "service", "postgresql.service", func(n *NodeStatus) { n.Facts.Unit, n.Facts.Restart = "postgresql.service", "no" }, none},
		{Warning, "runs", "run x is unfinished", func(n *NodeStatus) { n.Unfinished = []UnfinishedRun{{Run: "x", Next: "resume it"}} }, none},
		{OK, "secrets", "can read their secrets (1)", func(n *NodeStatus) { n.Facts.Secrets = []Secret{{Runbook: "switchover", Flag: "webhook"}} }, none},
		{Warning, "secrets", "switchover goes on without its secret --webhook, and what takes it is not done: open /w/webhook.url", func(n *NodeStatus) {
			n.Facts.Secrets = []Secret{{Runbook: "x", Flag: "y"}, {Runbook: "switchover", Flag: "webhook", Error: "open /w/webhook.url: no such file"}}
		}, none},
		{Critical, "secrets", "nightly is refused without its secret --token: open /w/token", none, func(n *NodeStatus) {
			n.Facts.Secrets = []Secret{{Runbook: "nightly", Flag: "token", Needed: true, Error: "open /w/token: no such file", Hint: "write it"}}
		}},
		{Critical, "trigger", "/w/trigger", none, func(n *NodeStatus) { n.Facts.TriggerFile, n.Facts.Trigger = "/w/trigger", "smart" }},
		{Warning, "trigger", "/w/trigger", func(n *NodeStatus) { n.Facts.TriggerFile, n.Facts.Trigger = "/w/trigger", "smart" }, none},
		{Critical, "lost", "given up", none, func(n *NodeStatus) { n.Lost = &walcore.Lost{First: 1, Last: 2} }},
		{Critical, "link", "cannot ship to db2: refused", func(n *NodeStatus) { n.Facts.Links[0].Error = "refused" }, none},
		{Warning, "link", "cannot ship to db1: refused", none, func(n *NodeStatus) { n.Facts.Links[0].Error = "refused" }},
		{Critical, "server", "a pg_rewind of db2 has not ended; no server starts there", none, func(n *NodeStatus) {
			n.Role, n.Running, n.Accepting, n.HalfRewound = RoleHalfRewound, false, false, "a pg_rewind of db2 has not ended"
		}},
		{Critical, "server", "its server is down", none, func(n *NodeStatus) { n.Role, n.Running = RoleStoppedStandby, false }},
		{Critical, "archive_mode", "archive_mode is off", set("archive_mode", "off"), none},
		{Critical, "archive_mode", "on after its next start", func(n *NodeStatus) { n.Facts.Settings["archive_mode"], n.Facts.Next["archive_mode"] = "off", "on" }, none},
		{Warning, "archive_mode", "archive_mode is off", none, set("archive_mode", "off")},
		{Warning, "archive_mode", "always", none, set("archive_mode", "always")},
		{Critical, "archive_command", "cp %p", set("archive_command", "cp %p /mnt/%f"), none},
		{Critical, "archive_command", "archive_library", set("archive_library", "basic_archive"), none},
		{Warning, "archive_command", "/old/warmrun", set("archive_command", "/old/warmrun archive %p %f"), none},
		{OK, "archive_command", "calls warmrun", set("archive_command", "../2warm/global/replication/archiveWALFile %p %f"), none},
		{Warning, "archive_timeout", "is 0", set("archive_timeout", "0"), none},
		{Critical, "wal_level", "minimal", set("wal_level", "minimal"), none},
		{Critical, "fsync", "fsync is off", set("fsync", "off"), none},
		{Critical, "signal", "makes it a primary", none, func(n *NodeStatus) { n.Facts.Signal = false }},
		{Critical, "restore_command", "cp /mnt", none, set("restore_command", "cp /mnt/%f %p")},
		{Warning, "restore_command", "--wait", none, func(n *NodeStatus) {
			n.Facts.Settings["restore_command"], n.Facts.Settings["recovery_prefetch"] = "/w/bin/warmrun restore --wait %f %p", "off"
		}},
		{Critical, "recovery_prefetch", "replay hangs", none, set("restore_command", "/w/bin/warmrun restore --wait %f %p")},
		{Critical, "recovery_target_timeline", "cannot follow", none, set("recovery_target_timeline", "current")},
		{OK, "restore_command", "as configStandby", none, set("recovery_target_timeline", "")},
		{Critical, "replay", "paused", none, func(n *NodeStatus) { n.ReplayPaused = true }},
		{Critical, "preload", "timescaledb.so", none, set("shared_preload_libraries", "pg_stat_statements, timescaledb")},
		{Critical, "preload", "timescaledb.so", none, func(n *NodeStatus) { n.Facts.Next["shared_preload_libraries"] = "timescaledb" }},
		{Critical, "archiving", "acknowledged and dropped", func(n *NodeStatus) { n.Archiving = false }, none},
		{Critical, "archiver", "archive_command fails", func(n *NodeStatus) { n.LastFailed, n.LastFailedAt, n.Backlog = "x", noon, 1 }, none},
		{Warning, "archiver", "8 segments", func(n *NodeStatus) { n.Backlog = 8 }, none},
		{Critical, "archiver", "32 segments", func(n *NodeStatus) { n.Backlog = 32 }, none},
		{Warning, "prepared", `"tx1" for 2.0 s`, func(n *NodeStatus) { n.Facts.Prepared = []Prepared{{"tx1", 2}} }, none},
		{Warning, "backup_mode", "1 backups", func(n *NodeStatus) { n.Facts.Backups = 1 }, none},
		{Warning, "slots", "cdc", func(n *NodeStatus) {
			n.Facts.LogicalSlots = []psql.LogicalSlot{{Name: "cdc"}, {Name: "kept", Failover: true}}
		}, none},
		{Critical, "cluster", "another cluster", none, func(n *NodeStatus) { n.SystemID = 78; n.Facts.Stamp.SystemID = 78 }},
		{Critical, "version", "PostgreSQL 14.2", none, func(n *NodeStatus) { n.ServerVersion = "14.2" }},
		{Warning, "version", "PostgreSQL 15.3", none, func(n *NodeStatus) { n.ServerVersion = "15.3" }},
		{Critical, "libraries", "postgis-3", func(n *NodeStatus) { n.Facts.Loads = append(n.Facts.Loads, "postgis-3") }, none},
		{Critical, "collations", "wrong answers", none, func(n *NodeStatus) { n.Facts.Collations = []string{"database app was made with 2.31, here it is 2.36"} }},
		{Warning, "collations", "collation x", func(n *NodeStatus) { n.Facts.Collations = []string{"collation x was made with 1, here it is 2"} }, none},
		{Critical, "databases", "cannot be opened here: app: database locale is incompatible", none, func(n *NodeStatus) {
			n.Facts.Closed = []string{"app: database locale is incompatible with operating system"}
		}},
		{Critical, "fence", "timeline 1 was cut", func(n *NodeStatus) { n.ArchiveMissing = "/w/archive" }, func(n *NodeStatus) {
			n.Fence = walcore.Fence{Epoch: 1, Cuts: []walcore.Cut{{Epoch: 1, Timeline: 1, LSN: 5}}}
		}},
		{Warning, "collations", "glibc 2.31", none, func(n *NodeStatus) { n.Facts.Libc = "glibc 2.31" }},
		{Critical, "limits", "max_connections is 100, and 200", set("max_connections", "200"), none},
		{Critical, "limits", "max_locks_per_transaction is 64, and 128", func(n *NodeStatus) { n.Facts.Next["max_locks_per_transaction"] = "128" }, none},
		{OK, "limits", "at least", none, set("max_connections", "500")},
		{Critical, "stamp", "system identifier 5", none, func(n *NodeStatus) { n.Facts.Stamp.SystemID = 5 }},
		{Critical, "fence", "timeline 1 was cut", none, func(n *NodeStatus) {
			n.Fence = walcore.Fence{Epoch: 1, Cuts: []walcore.Cut{{Epoch: 1, Timeline: 1, LSN: 5}}}
		}},
		{Critical, "gaps", "000000010000000000000007", none, func(n *NodeStatus) { n.Facts.Gaps = []walcore.Gap{{Want: "000000010000000000000007"}} }},
		{Critical, "gaps", "timeline 2", none, func(n *NodeStatus) { n.Facts.WantHistory = 2 }},
		{Critical, "archive", "/w/archive is not there", none, func(n *NodeStatus) { n.ArchiveMissing = "/w/archive" }},
		{Warning, "backup", "9 d 0 h", none, func(n *NodeStatus) { n.Facts.Backup.At = noon.Add(-9 * 24 * time.Hour) }},
		{Critical, "backup", "recovered past", none, func(n *NodeStatus) {
			n.Facts.KeepBackups, n.Facts.Backup.Missing = 1, "000000010000000000000004"
		}},
		{OK, "backup", "its WAL is not kept", none, func(n *NodeStatus) { n.Facts.Backup.Missing = "000000010000000000000004" }},
		{Warning, "backup", "no archive knows", func(n *NodeStatus) { n.Facts.Backup = nil }, func(n *NodeStatus) { n.Facts.Backup = nil }},
		{OK, "copy", "as its manifest says", none, func(n *NodeStatus) { n.Facts.CopyState = CopyWhole }},
		{Critical, "copy", "3 findings", none, func(n *NodeStatus) { n.Facts.CopyState, n.Facts.CopyWrong = CopyDamaged, "3 findings" }},
		{Unknown, "facts", "prepared transactions: permission denied", func(n *NodeStatus) { n.unknown(errors.New("permission denied"), "prepared_transactions") }, none},
		{OK, "lag", "0 bytes behind db1; the newest file came 1 min 0 s ago", none, none},
		{Warning, "lag", "256 MB", func(n *NodeStatus) { n.CurrentLSN += 256 << 20 }, func(n *NodeStatus) { n.ReplayedLSN = 0x7000000 }},
		{Critical, "lag", "2048 MB", func(n *NodeStatus) { n.CurrentLSN += 2 << 30 }, none},
		// An idle primary: whatever was written last is in no full segment, and
		// nothing comes for days. That is no lag.
		{OK, "lag", "328 bytes behind db1; the newest file came 2 d 0 h ago", func(n *NodeStatus) { n.CurrentLSN += 328 }, func(n *NodeStatus) { n.Facts.LastFileAt = noon.Add(-48 * time.Hour) }},
		{Critical, "lag", "nothing has come for long", func(n *NodeStatus) { n.CurrentLSN += 20 << 20 }, func(n *NodeStatus) { n.Facts.LastFileAt = noon.Add(-time.Hour) }},
		{OK, "lag", "20 MB behind", func(n *NodeStatus) { n.CurrentLSN += 20 << 20 }, none},
		{Unknown, "lag", "not known", func(n *NodeStatus) { n.CurrentLSN = 0 }, none},
	} {
		up := Check(usual, with(db1(), test.one), with(db2(), test.two))
		found := slices.ContainsFunc(up.Verdicts, func(v Verdict) bool {
			return v.Level == test.level && v.Check == test.check && strings.Contains(v.Text, test.text) && (v.Next != "") == (v.Level != OK)
		})
		if !found {
			t.Errorf("want %s %s with %q, and what to do unless it is OK; got\n%s", test.level, test.check, test.text, plugin(t, up))
		}
	}
}

func plugin(t *testing.T, up Checkup) string {
	t.Helper()
	var b strings.Builder
	if err := up.Plugin(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The first line is what a monitoring system takes apart: state, text, and after
// the only bar the performance data.
func TestPluginOutput(t *testing.T) {
	two := with(db2(), func(n *NodeStatus) { n.ReplayPaused = true; n.Facts.DataMode = "a|b" })
	lines := strings.Split(plugin(t, Check(usual, db1(), two)), "\n")
	if want := "WARMRUN CRITICAL - 2 critical of "; !strings.HasPrefix(lines[0], want) {
		t.Errorf("got %q, want it to begin with %q", lines[0], want)
	}
	if strings.Count(lines[0], "|") != 1 || strings.Contains(strings.Join(lines[1:], ""), "|") {
		t.Errorf("bars stand elsewhere than before the performance data:\n%s", strings.Join(lines, "\n"))
	}
	_, data, _ := strings.Cut(lines[0], " | ")
	for _, want := range []string{"'db1_up'=1;;;0", "'db2_lag_bytes'=0B;167772160;1073741824;0", "'db1_backlog_segments'=0;8;32;0", "'db1_wal_free_bytes'=53687091200B;;;0", "'db2_heartbeat_seconds'=60s;;;0", "'loss_bytes'=0B;;;0"} {
		if !slices.Contains(strings.Fields(data), want) {
			t.Errorf("performance data %q, want %q in it", data, want)
		}
	}
	if !strings.HasPrefix(lines[1], "CRITICAL  db2      ") || !strings.HasPrefix(lines[len(lines)-2], "OK  ") {
		t.Errorf("want the bad lines first:\n%s", strings.Join(lines, "\n"))
	}
}

// A family is described once, and a series is there once.
func TestPrometheusOutput(t *testing.T) {
	two := with(db2(), func(n *NodeStatus) {
		n.Facts.Settings["shared_preload_libraries"] = "one,two"
		n.Facts.Disks = append(n.Facts.Disks, Disk{"archive", "/w", 1, 100})
	})
	var b strings.Builder
	if err := Check(usual, db1(), two).Prometheus(&b); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for line := range strings.Lines(b.String()) {
		series := strings.TrimRight(line[:strings.LastIndexByte(line, ' ')], " ")
		if seen[series]++; seen[series] > 1 {
			t.Errorf("%q is there %d times", series, seen[series])
		}
	}
	for _, want := range []string{"# TYPE warmrun_check gauge\n", `warmrun_check{node="db2",check="preload"} 2` + "\n", `warmrun_check{node="db2",check="disk"} 2` + "\n", `warmrun_lag_bytes{node="db2"} 0` + "\n", "warmrun_loss_seconds 0\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("got\n%s\nwant %q in it", b.String(), want)
		}
	}
}
