package health

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// TestWhyCauses makes one thing wrong at a time: the cause, the sentence, what
// shows it, and the command.
func TestWhyCauses(t *testing.T) {
	const seven = walcore.SegmentName("000000010000000000000007")
	const history = walcore.FileName("00000002.history")
	waiting := func(n *NodeStatus) { n.Wanted, n.WantedSince = walcore.FileName(seven), noon.Add(-time.Hour) }
	failing := func(n *NodeStatus) {
		n.LastFailed, n.LastFailedAt, n.Backlog = "000000010000000000000007", noon, 2
		n.CurrentLSN = 0x9000000
	}
	ahead := func(n *NodeStatus) { n.CurrentLSN = 0x9000000 }
	none := func(*NodeStatus) {}
	for _, test := range []struct {
		cause    Cause
		sentence string
		next     string
		evidence string
		one, two func(*NodeStatus)
		places   []string // of segment seven
	}{
		{CauseTwoPrimaries, "db1 and db2 accept writes", "stop the server on db2", "db2 writes on timeline 1", none, func(n *NodeStatus) { n.Role = RolePrimary }, nil},
		{CauseUnfinishedRun, "run 7-switchover is unfinished", "on db1: go on with it: warmrun runs resume 7-switchover", "", func(n *NodeStatus) {
			n.ArchiveMode, n.Unfinished = "off", []UnfinishedRun{{"7-switchover", "go on with it: warmrun runs resume 7-switchover"}}
		}, func(n *NodeStatus) {
			n.Unfinished = []UnfinishedRun{{"7-switchover", "go on with it: warmrun runs resume 7-switchover"}}
		}, nil},
		{CausePrimaryDown, "db1 was the primary, and its server is down", "failover on db2", "its server's last error: disk on fire",
			func(n *NodeStatus) {
				n.Role, n.Running, n.WasPrimary, n.ControlState, n.Facts.Fatal = RoleStoppedPrimary, false, true, "in production", "disk on fire"
			}, none, nil},
		{CauseUnreachable, "db2 cannot be reached: host key has changed", "remove the old key", "", none, func(n *NodeStatus) {
			*n = Unreachable(cluster.Node{Name: "db2"}, hint.Wrap(errors.New("host key has changed"), "remove the old key"))
		}, nil},
		{CauseNotInstalled, "warmrun is not on db2", "warmrun distrib", "", none, func(n *NodeStatus) { *n = NotInstalled(cluster.Node{Name: "db2"}, errors.New("x")) }, nil},
		{CauseFailing, "warmrun fails on db2", "correct on db2", "", none, func(n *NodeStatus) { *n = Failing(cluster.Node{Name: "db2"}, errors.New("x")) }, nil},
		{CauseArchiveModeOff, "archive_mode is off on db1, so", "ALTER SYSTEM SET archive_mode = on", "", func(n *NodeStatus) { n.ArchiveMode = "off" }, none, nil},
		{CauseArchiveModeOff, "until its server is restarted", "restart the server on db1", "", func(n *NodeStatus) { n.ArchiveMode, n.Facts.Next["archive_mode"] = "off", "on" }, none, nil},
		{CauseArchiveLibrary, "archive_library is set on db1", "archive_library = ''", "basic_archive", func(n *NodeStatus) { n.Facts.Settings["archive_library"] = "basic_archive" }, none, nil},
		{CauseNotActive, "archiving is not active on db1", "copyToStandby", "", func(n *NodeStatus) { n.Archiving = false }, none, nil},
		{CauseFenced, "db1 is fenced", "lowerFence", "timeline 1 was cut at 0/5", none, func(n *NodeStatus) {
			n.Fence = walcore.Fence{Epoch: 1, Cuts: []walcore.Cut{{Epoch: 1, Timeline: 1, LSN: 5}}}
		}, nil},
		{CauseArchiveCommand, "and it does not call warmrun", "archive_command = '/w/bin/warmrun", "archive_command = cp", func(n *NodeStatus) { failing(n); n.Facts.Settings["archive_command"] = "cp %p /x" }, none, nil},
		{CauseArchiveCommand, "archive_command fails on db1 for " + string(seven), "chmod it", "its server's log says: no permission", func(n *NodeStatus) { failing(n); n.Facts.Said, n.Facts.SaidHint = "no permission", "chmod it" }, none, nil},
		{CauseAgent, "db1 cannot ship to db2: permission denied", "on db1: add the key", "", func(n *NodeStatus) {
			n.Facts.Links[0].Error, n.Facts.Links[0].Hint = "permission denied", "add the key"
		}, none, nil},
		{CauseDiskFull, "the disk with the archive on db2 is full", "free space on db2, below /w/archive", "of 100 GB free", failing, func(n *NodeStatus) {
			n.Facts.Disks = append(n.Facts.Disks, Disk{"archive", "/w/archive", 9 << 20, 100 * gigabyte})
		}, nil},
		{CauseOtherCluster, "the archive on db2 belongs to another cluster", "configStandby --erase on db2", "system identifier 5", failing, func(n *NodeStatus) { n.Facts.Stamp.SystemID = 5 }, nil},
		{CauseOtherCluster, "db2 holds another cluster than db1", "configStandby --erase on db2", "system identifier 78 there, 77 on db1", none, func(n *NodeStatus) { n.SystemID = 78 }, nil},
		{CauseBacklog, "db1 archives more slowly", "warmrun shipper status", "9 segments wait, none has failed", func(n *NodeStatus) { n.Backlog = 9 }, none, nil},
		{CauseNoArchive, "db2 has no archive directory", "configStandby on db2", "/w/archive is not there", none, func(n *NodeStatus) { n.ArchiveMissing = "/w/archive" }, nil},
		{CauseNoData, "db2 has no data directory", "copyToStandby --start", "", none, func(n *NodeStatus) { n.Role = RoleNoData }, nil},
		{CauseHalfRewound, "a pg_rewind of db2 has not ended", "on db2: warmrun rejoin", "no server starts there", none, func(n *NodeStatus) {
			n.Role, n.Running, n.Accepting, n.HalfRewound = RoleHalfRewound, false, false, "a pg_rewind of db2 has not ended"
			n.ArchiveMissing = "/w/data/archive"
		}, nil},
		{CauseDiverged, "db2 has diverged from db1", "switchback --erase --rebuild-only", "past the fork", func(n *NodeStatus) {
			n.Timeline, n.History = 2, walcore.History{{Timeline: 1, End: 0x6000000}}
		}, none, nil},
		{CauseDown, "the server on db2 is down", "on db2: pg_ctl -D /data start", "shut down in recovery", none, func(n *NodeStatus) {
			n.Role, n.Running, n.ControlState = RoleStoppedStandby, false, "shut down in recovery"
		}, nil},
		{CauseDown, "the server on db2 is down", "set max_connections = 200 there, and restart its server; then on db2: pg_ctl", "max_connections is 100, and 200 on db1", func(n *NodeStatus) { n.Facts.Settings["max_connections"] = "200" }, func(n *NodeStatus) { n.Role, n.Running = RoleStoppedStandby, false }, nil},
		{CauseNotStandby, "db2 is no standby: it is a stopped primary", "switchback --rebuild-only", "", none, func(n *NodeStatus) { n.Role, n.Running = RoleStoppedPrimary, false }, nil},
		{CauseTrigger, "a trigger file lies on db2", "rm /w/trigger", "asks for fast", none, func(n *NodeStatus) { n.Facts.TriggerFile, n.Facts.Trigger = "/w/trigger", "fast" }, nil},
		{CausePaused, "replay is paused on db2", "pg_wal_replay_resume()", "", none, func(n *NodeStatus) { n.ReplayPaused = true }, nil},
		{CausePaused, "replay is paused on db2", "set max_connections = 200 there", "max_connections is 100, and 200 on db1", func(n *NodeStatus) { n.Facts.Settings["max_connections"] = "200" }, func(n *NodeStatus) { n.ReplayPaused = true }, nil},
		{CauseDelayed, "db2 replays late on purpose", "recovery_min_apply_delay = 0", "recovery_min_apply_delay = 3600000", none, func(n *NodeStatus) {
			n.Facts.StartupWait, n.Facts.Settings["recovery_min_apply_delay"] = "RecoveryApplyDelay", "3600000"
		}, nil},
		{CauseDelayed, "db2 replays late on purpose", "out of cluster.toml, then: warmrun delayReplay", "recovery_min_apply_delay = 3600s", none, func(n *NodeStatus) {
			n.ServerVersion = "11.22"
			n.Facts.StartupWait, n.Facts.Settings["recovery_min_apply_delay"] = "RecoveryApplyDelay", "3600s"
		}, nil},
		{CauseConflict, "replay on db2 waits for a query", "pg_terminate_backend(4711)", "its startup process waits: Lock relation", none, func(n *NodeStatus) {
			n.Facts.StartupWait, n.Facts.Oldest = lockWait+"relation", &OpenQuery{4711, "joe", 9}
		}, nil},
		{CauseConflict, "replay on db2 waits for a query", "pg_terminate_backend(4711)", "its title ends with", none, func(n *NodeStatus) {
			n.Facts.StartupWait, n.Facts.Oldest = titleWait, &OpenQuery{4711, "joe", 9}
		}, nil},
		{CauseConflict, "replay on db2 waits for a query", "pg_terminate_backend(4711)", "process 4711 of joe has a transaction open for 9.0 s", none, func(n *NodeStatus) {
			n.Facts.StartupWait, n.Facts.Oldest = "RecoveryConflictSnapshot", &OpenQuery{4711, "joe", 9}
		}, nil},
		{CauseRestoreCommand, "restore_command on db2 does not call warmrun", "restore_command = '/w/bin/warmrun", "restore_command = 'cp x'", none, func(n *NodeStatus) { n.Facts.Settings["restore_command"] = "cp x" }, nil},
		{CauseRestoreCommand, "restore_command fails on db2", "mount it", "its server's log says: cannot read", none, func(n *NodeStatus) { n.Facts.Said, n.Facts.SaidHint = "cannot read", "mount it" }, nil},
		{CauseHistoryMissing, "00000002.history, the history of timeline 2, is missing", "must be copied anew", "", none, func(n *NodeStatus) { n.Facts.WantHistory = 2 }, nil},
		{CauseHistoryMissing, "00000002.history, the history of timeline 2, is missing", "on db2: warmrun fetch 00000002.history", "it is in the archive on db1", none, func(n *NodeStatus) { n.Facts.WantHistory = 2 }, []string{ArchiveOn("db1")}},
		{CauseSegmentMissing, string(seven) + " is missing in the archive on db2", "copyToStandby --start on db1", "no archive and no pg_wal", ahead, waiting, nil},
		{CauseSegmentMissing, string(seven) + " is missing in the archive on db2", "on db2: warmrun fetch " + string(seven), "it is in pg_wal on db1", ahead, waiting, []string{PGWALOn("db1")}},
		{CauseArchiveNotServed, "db2 does not restore " + string(seven), "warmrun wal show " + string(seven), "it waits for", ahead, waiting, []string{ArchiveOn("db2")}},
		{CauseSlow, "db2 has WAL that it has not replayed yet", "wait", "it has replayed up to 0/7000000, and its archive goes to 0/C000000", func(n *NodeStatus) { n.CurrentLSN = 0xC000000 }, func(n *NodeStatus) { n.ReceivedLSN = 0xC000000 }, nil},
	} {
		places := Places{}
		if test.places != nil {
			places[walcore.FileName(seven)], places[history] = test.places, test.places
		}
		d := Why(places, with(db1(), test.one), with(db2(), test.two))
		if len(d.Findings) == 0 {
			t.Errorf("%s: nothing was found: %s", test.cause, d.Sentence)
			continue
		}
		f := d.Findings[0]
		if f.Cause != test.cause || !strings.Contains(f.Sentence, test.sentence) || !strings.Contains(f.Next, test.next) || !strings.Contains(strings.Join(f.Evidence, "\n"), test.evidence) {
			t.Errorf("want %s, %q, evidence %q, next %q; got %s\n%s", test.cause, test.sentence, test.evidence, test.next, f.Cause, strings.Join(d.Lines(), "\n"))
		}
		if d.Sentence != f.Sentence {
			t.Errorf("%s: the sentence is %q, and the first finding %q", test.cause, d.Sentence, f.Sentence)
		}
	}
}

// A segment that has only just been finished, or has only just come, is not
// missing; neither is one that the next run of the relay brings.
func TestWhyOnItsWay(t *testing.T) {
	const seven = walcore.FileName("000000010000000000000007")
	finished := with(db1(), func(n *NodeStatus) { n.CurrentLSN, n.LastArchivedAt = 0x8000100, noon.Add(-time.Hour) })
	waits := func(since time.Duration) func(*NodeStatus) {
		return func(n *NodeStatus) { n.Wanted, n.WantedSince = seven, noon.Add(-since) }
	}
	came := func(ago time.Duration) func(*NodeStatus) {
		return func(n *NodeStatus) { n.Facts.LastFileAt = noon.Add(-ago) }
	}
	dr := func(n *NodeStatus) { n.Place = cluster.RoleDR }
	for _, test := range []struct {
		name   string
		one    NodeStatus
		two    NodeStatus
		at     string
		silent bool
	}{
		{"being shipped", with(finished, func(n *NodeStatus) { n.Backlog = 1 }), with(db2(), waits(time.Hour), came(time.Hour)), PGWALOn("db1"), true},
		{"shipped this moment", with(finished, func(n *NodeStatus) { n.LastArchivedAt = noon }), with(db2(), waits(time.Hour), came(time.Hour)), PGWALOn("db1"), true},
		{"shipped long ago", finished, with(db2(), waits(time.Hour), came(time.Hour)), PGWALOn("db1"), false},
		{"came this moment", finished, with(db2(), waits(time.Hour), came(time.Second)), ArchiveOn("db2"), true},
		{"came long ago", finished, with(db2(), waits(time.Hour), came(time.Hour)), ArchiveOn("db2"), false},
		{"not relayed yet", finished, with(db2(), dr, waits(time.Minute), came(time.Hour)), ArchiveOn("db1"), true},
		{"not relayed for long", finished, with(db2(), dr, waits(time.Hour), came(time.Hour)), ArchiveOn("db1"), false},
	} {
		d := Why(Places{seven: {test.at}}, test.one, test.two)
		if silent := len(d.Findings) == 0; silent != test.silent {
			t.Errorf("%s: nothing is found: %v, want %v: %s", test.name, silent, test.silent, strings.Join(d.Lines(), "\n"))
		}
	}
}

// As long as a node cannot be asked, nobody is told to copy anything anew.
func TestWhyMissingAndUnasked(t *testing.T) {
	const seven = walcore.FileName("000000010000000000000007")
	finished := with(db1(), func(n *NodeStatus) { n.CurrentLSN = 0x9000000 })
	gone := Unreachable(cluster.Node{Name: "db2"}, errors.New("refused"))
	for waited, want := range map[time.Duration]int{time.Minute: 1, time.Hour: 2} {
		dr := with(db2(), func(n *NodeStatus) {
			n.Node, n.Place, n.Wanted, n.WantedSince, n.Facts.LastFileAt = "dr", cluster.RoleDR, seven, noon.Add(-waited), noon.Add(-waited)
		})
		d := Why(nil, finished, gone, dr)
		got := strings.Join(d.Lines(), "\n")
		if len(d.Findings) != want || strings.Contains(got, "copyToDR") || want == 2 && !strings.Contains(got, "no node that answers has it, and db2 cannot be asked\nnext: bring back db2 first") {
			t.Errorf("after %s got %d findings, want %d:\n%s", waited, len(d.Findings), want, got)
		}
	}
}

// Nothing wrong is an answer, too, and says how it is known. What the primary is
// still writing is nothing to wait for.
func TestWhyNothing(t *testing.T) {
	two := with(db2(), func(n *NodeStatus) { n.Wanted, n.WantedSince = "000000010000000000000007", noon })
	d := Why(nil, db1(), two)
	if d.Sentence != "nothing is wrong: WAL flows from db1 to db2" || len(d.Findings) != 0 {
		t.Fatalf("got %+v", d)
	}
	got := strings.Join(d.Lines(), "\n")
	for _, want := range []string{"  db1 has archived 000000010000000000000006 1 min 0 s ago, and nothing waits", "  db2 has replayed up to 0/7000000, 0 bytes behind, and asks for 000000010000000000000007, which db1 is still writing"} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant %q in it", got, want)
		}
	}
}

// A run that several nodes have on record is told of once, and only where something
// else is wrong: by itself it keeps no WAL from flowing.
func TestWhyUnfinishedOnce(t *testing.T) {
	open := func(n *NodeStatus) { n.Unfinished = []UnfinishedRun{{"7-switchover", "resume it"}} }
	down := func(n *NodeStatus) { open(n); n.ArchiveMode = "off" }
	d := Why(nil, with(db1(), down), with(db2(), open))
	if len(d.Findings) < 2 || d.Findings[0].Cause != CauseUnfinishedRun || d.Findings[1].Cause == CauseUnfinishedRun {
		t.Errorf("got %+v, want the run once, and first", d.Findings)
	}
	if d := Why(nil, with(db1(), open), with(db2(), open)); len(d.Findings) != 0 {
		t.Errorf("got %+v, want nothing wrong", d.Findings)
	}
}
