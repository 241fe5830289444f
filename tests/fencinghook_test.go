package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/warmrun/warmrun/tests/cluster"
	"github.com/warmrun/warmrun/walcore"
)

// hook gives a node's site a fencing section.
func (x *split) hook(n *cluster.Node, section string) {
	x.Helper()
	path := n.Path(filepath.Join(n.Home, "global", "cluster.toml"))
	text, _, _ := strings.Cut(readFile(x.T, path), "\n[fencing]\n")
	x.replace(path, text+"\n[fencing]\n"+section+"\n")
	x.Cleanup(func() { x.replace(path, text) })
}

// takenOver parses what a failover has said of the loss, and takes the clients of
// the old primary at its word.
func (x *split) takenOver(said cluster.Result) {
	x.Helper()
	match := announced.FindStringSubmatch(said.Stdout + said.Stderr)
	if match == nil {
		x.Fatalf("the failover announces no loss:\n%s", said)
	}
	lsn, err := walcore.ParseLSN(match[1])
	if err != nil {
		x.Fatal(err)
	}
	x.clients.announced(x.primary, lsn)
}

// refusedEverywhere: the old primary's archive calls fail, and its server's log
// says why.
func (x *split) refusedEverywhere() {
	x.Helper()
	x.primary.SQL("SELECT pg_switch_wal()")
	path := x.primary.Path(x.primary.Log)
	since := len(readFile(x.T, path))
	cluster.Eventually(x, 2*time.Minute, "the server log of the old primary says that its WAL is refused", func() (bool, error) {
		_, err := x.primary.TrySQL("SELECT pg_switch_wal()") // wakes the archiver
		return strings.Contains(readFile(x.T, path)[since:], "refused: fenced by a new timeline: "), err
	})
}

// returns makes the old primary, which accepts writes, a standby of the new one.
func (x *split) returns() {
	x.Helper()
	x.says(x.primary.Must("status"), x.standby.Name+" was promoted instead of it", "warmrun rejoin on it")
	x.says(x.primary.Must("rejoin", "--yes"), "accepts writes beside "+x.standby.Name)
	x.clients.takeBack(x.primary)
	moved(x, row{})
}

// fencingHook: without one, and with one that fails or hangs, nobody is promoted
// beside a primary that cannot be asked; with one that switches it off, nobody can
// write beside the new one.
func (x *split) fencingHook() {
	x.primary.CutAll()
	x.refused(x.standby, 1, "--accept-split", "failover", "--yes")
	for section, says := range map[string]string{
		`command = "echo %n has no power switch; exit 1"`:       "exit status 1",
		"command = \"sleep 100; touch %h\"\ntimeout = \"1s\"":   "no end after 1s",
		"command = \"/nonexistent/switch %n\"\ntimeout = '30s'": "exit status 127",
	} {
		x.hook(x.standby, section)
		x.says(x.refused(x.standby, 1, says, "failover", "--yes"), "the site's fencing hook does not say that it is off", "nobody was promoted")
	}
	x.refused(x.standby, 1, "the site's fencing hook does not say that it is off", "triggerStandby")
	x.asItWas()

	off := filepath.Join(x.standby.Dir, "off")
	x.standby.Write(off+".sh", fmt.Sprintf("echo \"switching $1 off at $2\"; touch %[1]s.asked; while test ! -e %[1]s; do sleep 0.02; done\n", off))
	x.hook(x.standby, `command = "sh `+off+`.sh %n %h"`)
	if plan := x.standby.Run("failover", "--plan"); !strings.Contains(plan.Stdout, "have the site's fencing hook switch off what cannot be asked") || x.standby.Exists(off+".asked") {
		x.Errorf("%s\nwant a plan that tells of the hook and does not run it", plan)
	}
	run := x.start(x.standby, "failover", "--yes")
	cluster.Eventually(x, time.Minute, "the hook is run", func() (bool, error) { return x.standby.Exists(off + ".asked"), nil })
	x.clients.more(x, x.primary) // until the power goes
	x.primary.Cut()
	if err := os.WriteFile(x.standby.Path(off), nil, 0o644); err != nil {
		x.Fatal(err)
	}
	said := run.end()
	if said.Code != 0 || strings.Contains(said.Stdout, "RISK") {
		x.Fatalf("%s\nwant exit status 0 and no risk", said)
	}
	x.says(said, "switching "+x.primary.Name+" off at "+x.primary.Address, x.primary.Name+" is off, says the site's fencing hook")
	x.takenOver(said)
	x.clients.more(x, x.standby)
	x.primary.Uncut()
	x.primary.Must("rejoin", "--yes")
	moved(x, row{})
}

// asItWas: the primary goes on, the standby was not promoted, and no archive that
// could be told otherwise is fenced.
func (x *split) asItWas() {
	x.Helper()
	x.clients.more(x, x.primary)
	x.clients.oneWriter(x)
	if got := x.standby.SQL("SELECT pg_is_in_recovery()::text"); got != "true" {
		x.Errorf("%s is in recovery: %s, want true", x.standby.Name, got)
	}
	fence, err := x.archive(x.standby).Fence()
	if err != nil {
		x.Fatal(err)
	}
	for _, cut := range fence.Cuts {
		if primaryTimeline(x.primary) == fmt.Sprint(uint32(cut.Timeline)) {
			x.Errorf("the archive on %s is fenced: %+v", x.standby.Name, cut)
		}
	}
}

// hookOverruled: with --accept-split the hook is run all the same, and where it
// fails the risk is printed.
func (x *split) hookOverruled() {
	x.primary.CutAll()
	x.hook(x.standby, `command = "exit 3"`)
	x.clients.giveUp(x.primary)
	said := x.standby.Must("failover", "--accept-split", "--yes")
	x.says(said, "RISK: the site's fencing hook does not say that "+x.primary.Name+" is off (exit 3: exit status 3)")
	x.takenOver(said)
	x.clients.more(x, x.primary)
	x.primary.RestoreAll()
	x.refusedEverywhere()
	x.returns()
}
