package tests

import (
	"github.com/warmrun/warmrun/walcore"
)

// livingPrimary: the standby has lost the primary, which lives on and ships to the DR
// node. Nobody is promoted beside it, until an operator accepts the split. What came
// to the DR node up to the fence is had, what comes later is refused there, and all
// archives have one history.
func (x *split) livingPrimary() {
	heal := x.cut("p|s")
	x.notBeside()
	reached, letGo := x.hold(x.standby, "failover", "fence")
	x.clients.giveUp(x.primary)
	run := x.start(x.standby, "failover", "--accept-split", "--yes")
	reached()
	late := x.shipsOn()
	letGo()
	said := run.end()
	if said.Code != 0 {
		x.Fatalf("%s\nwant exit status 0", said)
	}
	x.says(said, "RISK: "+x.primary.Name+" cannot be reached", "to the archive on dr meanwhile", "fetched "+string(late)+" from dr")
	x.takenOver(said)
	x.clients.more(x, x.primary)
	x.clients.more(x, x.standby)
	heal()
	x.refusedEverywhere()
	x.returns()
}

// lonelyPrimary: as before, with nobody in reach of the primary.
func (x *split) lonelyPrimary() {
	heal := x.cut("p")
	x.notBeside()
	x.clients.giveUp(x.primary)
	said := x.standby.Must("failover", "--accept-split", "--yes")
	x.says(said, "RISK: "+x.primary.Name+" cannot be reached")
	x.takenOver(said)
	x.clients.more(x, x.primary)
	x.clients.more(x, x.standby)
	heal()
	x.refusedEverywhere()
	x.returns()
}

// notBeside: no promotion beside a primary that cannot be asked, without the site's
// hook, nor with one that fails, and nothing is left of the tries.
func (x *split) notBeside() {
	x.Helper()
	for _, change := range []string{"failover", "triggerStandby"} {
		x.refused(x.standby, 1, "--accept-split", change, "--yes")
	}
	path := x.standby.Path(x.standby.Home + "/global/cluster.toml")
	usual := readFile(x.T, path)
	x.hook(x.standby, `command = "exit 3"`)
	x.says(x.refused(x.standby, 1, "the site's fencing hook does not say that it is off", "failover", "--yes"), "nobody was promoted")
	x.replace(path, usual)
	x.asItWas()
}

// shipsOn ends a segment of the primary and waits until the DR node's archive has it.
func (x *split) shipsOn() walcore.SegmentName {
	x.Helper()
	name := walcore.SegmentName(x.primary.SQL("SELECT pg_walfile_name(pg_switch_wal())"))
	x.archived(x.DR, name)
	return name
}
