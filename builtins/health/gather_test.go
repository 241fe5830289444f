package health

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func primary(name string, lsn walcore.LSN) NodeStatus {
	return NodeStatus{Node: cluster.NodeName(name), Place: cluster.RolePair, Role: RolePrimary, Running: true, Accepting: true, At: noon,
		ServerVersion: "15.18", SystemID: 77, Timeline: 1, CurrentLSN: lsn, Archiving: true, ArchiveMode: "on",
		LastArchived: "000000010000000000000006", LastArchivedAt: noon.Add(-time.Minute)}
}

func standby(name string, lsn walcore.LSN) NodeStatus {
	return NodeStatus{Node: cluster.NodeName(name), Place: cluster.RolePair, Role: RoleStandby, Running: true, Accepting: true, At: noon,
		ServerVersion: "15.18", SystemID: 77, Timeline: 1, ReplayedLSN: lsn, ReplayedAt: noon.Add(-90 * time.Second),
		LastReceived: "000000010000000000000006", LastReplayed: "000000010000000000000006"}
}

func relay(name string) NodeStatus {
	return NodeStatus{Node: cluster.NodeName(name), Place: cluster.RoleDR, Role: RoleRelay, At: noon, ServerVersion: "15", SystemID: 77, Timeline: 1,
		ControlState: "in production", LastReceived: "000000010000000000000006", ReceivedLSN: 0x7000000}
}

func with(n NodeStatus, changes ...func(*NodeStatus)) NodeStatus {
	for _, change := range changes {
		change(&n)
	}
	return n
}

func TestSentence(t *testing.T) {
	unreachable := Unreachable(cluster.Node{Name: "db2", Host: "db2.example"}, errors.New("connection refused"))
	for _, test := range []struct {
		name  string
		nodes []NodeStatus
		want  string
	}{
		{"all is well", []NodeStatus{primary("db1", 0x7000000), standby("db2", 0x7000000), relay("dr")},
			"db1 is primary; db2 follows, 0 bytes behind; dr has everything to 000000010000000000000006"},
		{"the other way round", []NodeStatus{standby("db1", 0x7000000), primary("db2", 0x7000148)},
			"db2 is primary; db1 follows, 328 bytes behind"},
		{"far behind", []NodeStatus{primary("db1", 0x80000000), standby("db2", 0x7000000)},
			"db1 is primary; db2 follows, 1936 MB behind"},
		{"ahead of what the primary said a moment ago", []NodeStatus{primary("db1", 0x7000000), standby("db2", 0x7000100)},
			"db1 is primary; db2 follows, 0 bytes behind"},
		{"no standby", []NodeStatus{primary("db1", 1), unreachable}, "db1 is primary; db2 is unreachable"},
		{"a mistake in its configuration", []NodeStatus{Failing(cluster.Node{Name: "db1"}, errors.New("x")), standby("db2", 5)},
			"no node is a primary; db1 answers, but its warmrun fails; db2 follows, at 000000010000000000000006"},
		{"no primary", []NodeStatus{standby("db1", 5), unreachable}, "no node is a primary; db1 follows, at 000000010000000000000006; db2 is unreachable"},
		{"stopped", []NodeStatus{with(primary("db1", 9), func(n *NodeStatus) { n.Role, n.Running, n.Accepting = RoleStoppedPrimary, false, false }),
			with(standby("db2", 9), func(n *NodeStatus) { n.Role = RoleStoppedStandby })},
			"db1 is a stopped primary; db2 is a stopped standby"},
		{"two primaries", []NodeStatus{primary("db1", 9), with(primary("db2", 9), func(n *NodeStatus) { n.Timeline = 2 })},
			"db2 is primary; db1 is primary too"},
		{"the fenced one of two", []NodeStatus{with(primary("db1", 9), func(n *NodeStatus) { n.Timeline = 1 }),
			with(primary("db2", 9), func(n *NodeStatus) {
				n.Fence = walcore.Fence{Epoch: 1, Cuts: []walcore.Cut{{Epoch: 1, Timeline: 1, LSN: 5}}}
				n.Timeline = 2
			})},
			"db2 is primary; db1 is primary too"},
		{"nothing yet", []NodeStatus{primary("db1", 9), {Node: "db2", Role: RoleNoData}, {Node: "dr", Role: RoleRelay}},
			"db1 is primary; db2 has no data directory; dr has received nothing"},
		{"the primary's WAL end is unknown", []NodeStatus{primary("db1", 0), standby("db2", 9)},
			"db1 is primary; db2 follows, at 000000010000000000000006"},
	} {
		if got := Gather(test.nodes...).Sentence; got != test.want {
			t.Errorf("%s:\n got %q\nwant %q", test.name, got, test.want)
		}
	}
}

func TestLag(t *testing.T) {
	c := Gather(primary("db1", 0x7000148), standby("db2", 0x7000000), relay("dr"))
	db2, dr := c.Nodes[1], c.Nodes[2]
	if db2.LagBytes == nil || *db2.LagBytes != 328 || db2.LagSeconds == nil || *db2.LagSeconds != 90 {
		t.Errorf("db2 is %v bytes, %v seconds behind, want 328 and 90", db2.LagBytes, db2.LagSeconds)
	}
	if dr.LagBytes == nil || *dr.LagBytes != 328 || dr.LagSeconds != nil {
		t.Errorf("dr is %v bytes, %v seconds behind, want 328 and unknown", dr.LagBytes, dr.LagSeconds)
	}
	if c.Nodes[0].LagBytes != nil {
		t.Error("the primary is behind itself")
	}
	// An idle primary: the last transaction is long ago and nothing is missing.
	idle := Gather(primary("db1", 0x7000000), standby("db2", 0x7000000)).Nodes[1]
	if *idle.LagBytes != 0 || *idle.LagSeconds != 0 {
		t.Errorf("a standby that lacks nothing is %d bytes, %v seconds behind", *idle.LagBytes, *idle.LagSeconds)
	}
	blind := Gather(primary("db1", 0), standby("db2", 9)).Nodes[1]
	if blind.LagBytes != nil || !strings.Contains(blind.Unknown["lag_bytes"], "db1") {
		t.Errorf("without the primary's LSN: %v, %q", blind.LagBytes, blind.Unknown["lag_bytes"])
	}
}

func TestGatherLeavesItsArgumentsAlone(t *testing.T) {
	nodes := []NodeStatus{primary("db1", 0), standby("db2", 9)}
	nodes[1].Unknown = map[string]string{"wanted": "x"}
	Gather(nodes...)
	if len(nodes[1].Unknown) != 1 || nodes[1].LagBytes != nil {
		t.Errorf("%+v", nodes[1])
	}
}

func TestProblems(t *testing.T) {
	begins := func(n *NodeStatus) { n.FirstReceived = "000000010000000000000005" }
	waits := func(n *NodeStatus) { n.Place, n.Wanted = cluster.RoleDR, "000000010000000000000003" }
	cut := func(n *NodeStatus) {
		n.Fence = walcore.Fence{Epoch: 3, Cuts: []walcore.Cut{{Epoch: 3, Timeline: 1, LSN: 0x5000098, By: "failover on db2"}}}
	}
	for _, test := range []struct {
		name  string
		nodes []NodeStatus
		want  []string // parts, in order; nil: no problem
	}{
		{"none", []NodeStatus{primary("db1", 9), standby("db2", 9), relay("dr")}, nil},
		{"two primaries", []NodeStatus{primary("db1", 9), primary("db2", 9)}, []string{"db1 and db2 accept writes at the same time"}},
		{"fenced", []NodeStatus{primary("db1", 9), with(standby("db2", 9), cut)},
			[]string{"db1 is fenced: timeline 1 was cut at 0/5000098 (epoch 3, by failover on db2, in the archive of db2)"}},
		{"after the switchover", []NodeStatus{with(primary("db1", 9), func(n *NodeStatus) { n.Timeline = 2; cut(n) }), with(standby("db2", 9), func(n *NodeStatus) { n.Timeline = 2 })}, nil},
		{"cannot archive", []NodeStatus{with(primary("db1", 9), func(n *NodeStatus) {
			n.LastFailed, n.LastFailedAt, n.Backlog = "000000010000000000000007", noon, 12
		}), standby("db2", 9)}, []string{"db1 cannot archive 000000010000000000000007, last tried 2026-03-01 12:00:00 UTC; 12 segments wait"}},
		{"archived again since", []NodeStatus{with(primary("db1", 9), func(n *NodeStatus) {
			n.LastFailed, n.LastFailedAt = "000000010000000000000006", noon.Add(-time.Hour)
		}), standby("db2", 9)}, nil},
		{"inactive", []NodeStatus{with(primary("db1", 9), func(n *NodeStatus) { n.Archiving = false }), standby("db2", 9)}, []string{"archiving is not active on db1"}},
		{"alone", []NodeStatus{with(primary("db1", 9), func(n *NodeStatus) { n.Archiving = false })}, nil},
		{"another cluster", []NodeStatus{primary("db1", 9), with(standby("db2", 9), func(n *NodeStatus) { n.SystemID, n.Timeline = 78, 4 })},
			[]string{"db2 holds another cluster than db1: system identifier 78 against 77"}},
		{"the fork is not known", []NodeStatus{with(primary("db1", 9), func(n *NodeStatus) { n.Timeline = 2 }), standby("db2", 9)}, []string{"db2 is on timeline 1, db1 on 2"}},
		{"not at the fork yet", []NodeStatus{promoted("db1", 0x10), standby("db2", 0x10)}, nil},
		{"past the fork", []NodeStatus{promoted("db1", 0x10), standby("db2", 0x11)},
			[]string{"db2 is on timeline 1, db1 on 2, and has replayed up to 0/11, past the fork at 0/10: it must be rebuilt"}},
		{"stopped past the fork", []NodeStatus{promoted("db1", 0x10), with(standby("db2", 0x11), stopped)},
			[]string{"db2 is on timeline 1, db1 on 2, and has replayed up to 0/11, past the fork at 0/10: it must be rebuilt"}},
		{"stopped at the fork", []NodeStatus{promoted("db1", 0x10), with(standby("db2", 0x10), stopped)}, nil},
		{"the DR node past the fork", []NodeStatus{promoted("db1", 0x10), with(relay("dr"), func(n *NodeStatus) { n.ReplayedLSN = 0x11 })}, []string{"dr is on timeline 1, db1 on 2, and has replayed up to 0/11"}},
		{"another branch", []NodeStatus{promoted("db1", 0x10), with(standby("db2", 9), func(n *NodeStatus) { n.Timeline = 3 })},
			[]string{"db2 is on timeline 3, db1 on 2, which does not descend from it: it must be rebuilt"}},
		{"a hole that no relay fills", []NodeStatus{primary("db1", 9), with(standby("db2", 9), begins), with(standby("dr", 9), waits)},
			[]string{"dr waits for 000000010000000000000003, and the archives of the pair go back without a gap only to 000000010000000000000005"}},
		{"what the next relay brings", []NodeStatus{primary("db1", 9), with(standby("db2", 9), func(n *NodeStatus) { n.FirstReceived = "000000010000000000000003" }), with(standby("dr", 9), waits)}, nil},
		{"what may lie where nobody answers", []NodeStatus{Unreachable(cluster.Node{Name: "db1", Role: cluster.RolePair}, errors.New("x")), with(primary("db2", 9), begins), with(standby("dr", 9), waits)}, nil},
		{"no archive for a standby", []NodeStatus{primary("db1", 9), with(standby("db2", 9), func(n *NodeStatus) { n.ArchiveMissing = "/archive" })},
			[]string{"db2 has no archive directory (/archive): no WAL can reach it"}},
	} {
		got := Gather(test.nodes...).Problems
		if len(got) != len(test.want) {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
			continue
		}
		for i, want := range test.want {
			if !strings.HasPrefix(got[i], want) {
				t.Errorf("%s: got %q, want %q", test.name, got[i], want)
			}
		}
	}
}

// A node that cannot get to the primary's timeline any more is not behind it.
func TestDivergedHasNoLag(t *testing.T) {
	for name, node := range map[string]NodeStatus{
		"running": standby("db2", 0x7000011), "stopped": with(standby("db2", 0x7000011), stopped),
		"relay": with(relay("db2"), func(n *NodeStatus) { n.ReplayedLSN = 0x7000011 }),
	} {
		c := Gather(promoted("db1", 0x7000010), node)
		db2 := c.Nodes[1]
		if db2.LagBytes != nil || db2.LagSeconds != nil || db2.Diverged == "" || lagCell(db2) != "diverged" {
			t.Errorf("%s: lag %v, %v, diverged %q, shown as %q; want no lag, and diverged", name, db2.LagBytes, db2.LagSeconds, db2.Diverged, lagCell(db2))
		}
		if want := "db1 is primary; db2 has diverged"; c.Sentence != want {
			t.Errorf("%s: got %q, want %q", name, c.Sentence, want)
		}
	}
	if c := Gather(primary("db1", 9), standby("db2", 9)); c.Nodes[1].Diverged != "" {
		t.Errorf("a standby that follows has diverged: %q", c.Nodes[1].Diverged)
	}
}

func stopped(n *NodeStatus) { n.Role, n.Running, n.Accepting = RoleStoppedStandby, false, false }

// promoted is a primary on timeline 2, which it began at an LSN.
func promoted(name string, fork walcore.LSN) NodeStatus {
	return with(primary(name, 0x7000000), func(n *NodeStatus) {
		n.Timeline, n.History = 2, walcore.History{{Timeline: 1, End: fork, Reason: "no recovery target specified"}}
	})
}

func TestHints(t *testing.T) {
	dead := func(n *NodeStatus) {
		n.Role, n.Running, n.Accepting, n.ControlState = RoleStoppedPrimary, false, false, "in production"
	}
	lacking := func(n *NodeStatus) { n.ArchiveMissing = "/archive" }
	onDR := with(primary("dr", 9), func(n *NodeStatus) { n.Place = cluster.RoleDR })
	unset := NodeStatus{Node: "db2", Place: cluster.RolePair, Role: RoleNoData}
	for _, test := range []struct {
		name  string
		nodes []NodeStatus
		want  []string
	}{
		{"all is set up", []NodeStatus{with(primary("db1", 9), lacking), standby("db2", 9)}, nil},
		{"nothing is", []NodeStatus{with(primary("db1", 9), lacking), NotInstalled(cluster.Node{Name: "db2"}, errors.New("x")), NotInstalled(cluster.Node{Name: "dr"}, errors.New("x"))},
			[]string{"db2, dr: run warmrun distrib, on a node that has it"}},
		{"distributed", []NodeStatus{with(primary("db1", 9), lacking), with(unset, lacking)},
			[]string{"db2: the archive directory is not there yet; run warmrun configStandby on it"}},
		{"configured", []NodeStatus{with(primary("db1", 9), lacking), unset}, []string{"db2: no base copy yet; run warmrun copyToStandby on db1"}},
		{"archiving is off", []NodeStatus{with(primary("db2", 9), func(n *NodeStatus) { n.Archiving = false }), standby("db1", 9)},
			[]string{"db2: to ship its WAL again: warmrun copyToStandby --start on db2; it copies db2 anew onto db1, whose server must be down"}},
		{"the primary's host is gone", []NodeStatus{Unreachable(cluster.Node{Name: "db1", Role: cluster.RolePair}, errors.New("x")), standby("db2", 9)},
			[]string{"no primary answers; when db1 is dead: warmrun failover on db2"}},
		{"the primary has died", []NodeStatus{with(primary("db1", 9), dead), standby("db2", 9)},
			[]string{"db1 is down: start its server, or, when that cannot be done: warmrun failover on db2"}},
		{"the primary has died, and only the DR node is left", []NodeStatus{with(primary("db1", 9), dead, func(n *NodeStatus) { n.WasPrimary = true }),
			Unreachable(cluster.Node{Name: "db2", Role: cluster.RolePair}, errors.New("x")), with(relay("dr"), func(n *NodeStatus) { n.ReplayedLSN = 9 })},
			[]string{"db1 is down: start its server, or, when that cannot be done: warmrun failover on dr"}},
		{"the primary's warmrun fails", []NodeStatus{Failing(cluster.Node{Name: "db1", Role: cluster.RolePair}, errors.New("x")), standby("db2", 9)},
			[]string{"db1: it answers, and its server may well run; correct on it what its warmrun fails at, then ask again"}},
		{"both are gone", []NodeStatus{Unreachable(cluster.Node{Name: "db1"}, errors.New("x")), Unreachable(cluster.Node{Name: "db2"}, errors.New("x")),
			with(relay("dr"), func(n *NodeStatus) { n.ReplayedLSN = 9 })},
			[]string{"no primary answers; when db1 and db2 are dead: warmrun failover on dr"}},
		{"flushed", []NodeStatus{with(standby("db1", 9), func(n *NodeStatus) { stopped(n); n.WasPrimary, n.ControlState = true, "shut down" }), standby("db2", 9)},
			[]string{"db1 was stopped as the primary and would start only as a standby; to go on: warmrun triggerStandby --archiving on db2, then start the server on db1, which follows; to take it back instead: warmrun startPrimary on db1"}},
		{"stopped by hand", []NodeStatus{with(primary("db1", 9), dead, func(n *NodeStatus) { n.WasPrimary, n.ControlState = true, "shut down" }), standby("db2", 9)},
			[]string{"db1 was the primary and is stopped; start its server as you always do; to go on instead: warmrun triggerStandby --archiving on db2"}},
		{"flushed, and the standby's host is gone", []NodeStatus{with(standby("db1", 9), func(n *NodeStatus) { stopped(n); n.WasPrimary, n.ControlState = true, "shut down" }),
			Unreachable(cluster.Node{Name: "db2", Role: cluster.RolePair}, errors.New("x")), with(relay("dr"), func(n *NodeStatus) { n.ReplayedLSN = 9 })},
			[]string{"db1 was stopped as the primary and would start only as a standby; to take that back: warmrun startPrimary on db1; only where that cannot be done: warmrun failover on dr"}},
		{"diverged", []NodeStatus{promoted("db1", 0x10), standby("db2", 0x11), with(relay("dr"), func(n *NodeStatus) { n.ReplayedLSN = 0x11 })},
			[]string{"db2: make it a standby again: warmrun rejoin on it (WAL that only it has is kept there)", "dr: rebuild it: warmrun configStandby --erase on it, then warmrun copyToDR --start on db1"}},
		{"the DR node is the primary", []NodeStatus{with(standby("db1", 9), stopped), Unreachable(cluster.Node{Name: "db2", Role: cluster.RolePair}, errors.New("x")), onDR},
			[]string{"to return to db1, make it follow dr first: start its server; where it then does not follow, stop it again, warmrun configStandby --erase on db1 (what only it has is given up), and warmrun copyToStandby --start on dr"}},
		{"and has nothing to start", []NodeStatus{with(unset, func(n *NodeStatus) { n.Node = "db1" }), onDR},
			[]string{"db1: no base copy yet; run warmrun copyToStandby on dr",
				"to return to db1, make it follow dr first: warmrun configStandby --erase on db1 (what only it has is given up), then warmrun copyToStandby --start on dr"}},
		{"and the pair comes back", []NodeStatus{with(primary("db1", 9), dead), with(primary("db2", 9), dead), onDR},
			[]string{"db1, db2: would start as a primary beside dr: warmrun configStandby --erase on it (what only it has is given up)"}},
		{"and is followed", []NodeStatus{standby("db1", 9), onDR},
			[]string{"to return to db1: warmrun flushPrimary on dr, warmrun triggerStandby --archiving on db1, then start the server on dr"}},
		{"and alone", []NodeStatus{Unreachable(cluster.Node{Name: "db1", Role: cluster.RolePair}, errors.New("x")), onDR},
			[]string{"dr is the primary; to return to db1, mend that node first"}},
		{"fenced, and nobody was promoted", []NodeStatus{primary("db1", 9), with(standby("db2", 9), func(n *NodeStatus) {
			n.Fence = walcore.Fence{Epoch: 1, Cuts: []walcore.Cut{{Epoch: 1, Timeline: 1, LSN: 5}}}
		})}, []string{"db1: if that change of state was called off and nobody was promoted: warmrun lowerFence on db1"}},
	} {
		if got := Gather(test.nodes...).Hints; !slices.Equal(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

// What was not set up yet is said once, and not as something unknown.
func TestRenderBeforeSetup(t *testing.T) {
	db1 := with(primary("db1", 0x7000148), func(n *NodeStatus) { n.ArchiveMissing, n.LastArchived, n.Archiving = "/archive", "", false })
	db2 := NotInstalled(cluster.Node{Name: "db2", Host: "db2"}, errors.New("db2 has no working /home/warmrun"))
	dr := NodeStatus{Node: "dr", Place: cluster.RoleDR, Role: RoleRelay}
	var b strings.Builder
	if err := Gather(db1, db2, dr).Render(&b, 80); err != nil {
		t.Fatal(err)
	}
	const want = `db1 is primary; db2 has no warmrun yet; dr has received nothing
if db1 dies now: what is lost is unknown: db2 cannot be asked what it has; no node can take over

           db1             db2            dr
role       primary         not installed  dr relay
server     15.18, running  -              not running
timeline   1               -              -
LSN        0/7000148       -              -
archiving  not active      -              not active
backlog    0 segments      -              -

problem: archiving is not active on db1: its WAL is acknowledged and dropped

db2: not installed: db2 has no working /home/warmrun

hint: db2: run warmrun distrib, on a node that has it
`
	if got := b.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// A table that is too wide for the terminal would wrap into rubbish.
func TestRenderNarrow(t *testing.T) {
	var b strings.Builder
	if err := Gather(primary("db1", 0x7000000), standby("db2", 0x7000000), relay("dr")).Render(&b, 80); err != nil {
		t.Fatal(err)
	}
	const part = `
db2
  role           standby
  server         15.18, running
  timeline       1
  LSN            0/7000000 replayed
  archiving      not active
  last received  000000010000000000000006
  last replayed  000000010000000000000006
  lag            0 bytes, 0 s

dr
`
	_, below, _ := strings.Cut(b.String(), "\n\n")
	if !strings.Contains(below, part) || widest(below) > 80 {
		t.Errorf("got:\n%s\nwant in it:\n%s", b.String(), part)
	}
	var wide strings.Builder
	if err := Gather(primary("db1", 0x7000000), standby("db2", 0x7000000)).Render(&wide, 80); err != nil || !strings.Contains(wide.String(), "db1                       db2") {
		t.Errorf("%v, a table that fits is one:\n%s", err, wide.String())
	}
}

func TestRender(t *testing.T) {
	db2 := with(standby("db2", 0x7000000), func(n *NodeStatus) {
		n.Wanted, n.WantedSince = "000000010000000000000007", noon.Add(-time.Minute)
		n.Relayed = "000000010000000000000006"
	})
	dr := with(relay("dr"), func(n *NodeStatus) { n.unknown(errors.New("permission denied"), "fence", "wanted") })
	down := Unreachable(cluster.Node{Name: "db3", Host: "db3"}, errors.New("no route to host"))
	var b strings.Builder
	if err := Gather(primary("db1", 0x7000148), db2, dr, down).Render(&b, 0); err != nil {
		t.Fatal(err)
	}
	const want = `db1 is primary; db2 follows, 328 bytes behind; dr has everything to 000000010000000000000006; db3 is unreachable
if db1 dies now: 328 bytes of WAL are lost if its disk is gone too, the last 1 min 30 s at most; how long the promotion of db2 takes is unknown: no promotion of db2 is on record

               db1                       db2                       dr                        db3
role           primary                   standby                   dr relay                  unreachable
server         15.18, running            15.18, running            15, not running           -
timeline       1                         1                         1                         -
LSN            0/7000148                 0/7000000 replayed        -                         -
archiving      active                    not active                not active                -
backlog        0 segments                -                         -                         -
last archived  000000010000000000000006  -                         -                         -
last received  -                         000000010000000000000006  000000010000000000000006  -
last replayed  -                         000000010000000000000006  -                         -
lag            -                         328 bytes, 1 min 30 s     328 bytes                 -
waits for      -                         000000010000000000000007  ?                         -
waits since    -                         2026-03-01 11:59:00 UTC   -                         -
relayed to DR  -                         000000010000000000000006  -                         -
fence          -                         -                         ?                         -

dr: unknown: fence, wanted: permission denied
db3: unreachable: no route to host
`
	if got := b.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestLostIsAProblem(t *testing.T) {
	db2 := with(standby("db2", 0x7000000), func(n *NodeStatus) {
		n.Lost = &walcore.Lost{First: 0x1000000, Last: 0x4000000, Segments: 3, Since: noon, At: noon, Broken: []string{"the relay", "backup X"}}
		n.LostFile = "/a/.warmrun/lost"
	})
	var b strings.Builder
	if err := Gather(primary("db1", 0x7000148), db2).Render(&b, 0); err != nil {
		t.Fatal(err)
	}
	const want = `
problem: LOST: the archive on db2 went over archive.max_size, last 2026-03-01 12:00:00 UTC: WAL from 0/1000000 to 0/4000000 was removed though the relay and backup X needed it

hint: db2: copy the DR node or the backup anew, then remove /a/.warmrun/lost
`
	if got := b.String(); !strings.HasSuffix(got, want) {
		t.Errorf("got:\n%s\nwant at its end:\n%s", got, want)
	}
}

func TestStatusAsJSON(t *testing.T) {
	text, err := json.Marshal(Gather(primary("db1", 0x7000148), with(standby("db2", 0x7000000), func(n *NodeStatus) { n.Promotion = &Promotion{Seconds: 0.5} })))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"current_lsn":"0/7000148"`, `"lag_bytes":328`, `"lag_seconds":90`, `"system_identifier":"77"`, `"role":"primary"`, `"lost_bytes":328`, `"lost_seconds_at_most":90`, `"promotion_seconds":0.5`, `"replayed_at":"2026-03-01T11:58:30Z"`} {
		if !strings.Contains(string(text), part) {
			t.Errorf("no %s in %s", part, text)
		}
	}
	for _, absent := range []string{"wanted", "fenced", "unknown", `"control_state"`} {
		if strings.Contains(string(text), absent) {
			t.Errorf("%s in %s, though there is nothing to say of it", absent, text)
		}
	}
	var back ClusterStatus
	if err := json.Unmarshal(text, &back); err != nil || back.Nodes[0].CurrentLSN != 0x7000148 {
		t.Errorf("reads back as %+v, %v", back, err)
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", 59 * time.Second: "59 s", 90 * time.Second: "1 min 30 s", 3*time.Hour + 5*time.Minute: "3 h 5 min", 50 * time.Hour: "2 d 2 h",
	} {
		if got := duration(d); got != want {
			t.Errorf("duration(%s) = %q, want %q", d, got, want)
		}
	}
}
