package standby

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/warmrun/warmrun/walcore"
)

// Limits say how much may still be outstanding when places are changed.
type Limits struct {
	// MaxLag is how many bytes of finished segments the standby may still have to
	// replay; 0 is no limit.
	MaxLag int64
	// Archives reports whether an archive_command calls this program.
	Archives func(command string) bool
}

// Unfit is one reason against a change of places.
type Unfit struct {
	Reason string `json:"reason"`
	Hint   string `json:"hint"`
}

// maxSkew is how far the clocks of two nodes may be apart: what is said of times,
// and a recovery to a point in time, would be wrong by as much.
const maxSkew = 30 * time.Second

// freeSegments is how many segments must fit wherever WAL is written during a
// change of places.
const freeSegments = 4

// Unfits lists what speaks against the standby's becoming the primary and the
// primary's becoming its standby, and what an operator should know all the same.
func Unfits(primary, standby Fitness, limits Limits) (against []Unfit, notes []string) {
	add := func(hint, format string, args ...any) {
		against = append(against, Unfit{fmt.Sprintf(format, args...), hint})
	}
	if primary.Major != standby.Major {
		add("a standby is of the same major version; upgrade one of them", "%s has PostgreSQL %s and %s has %s", primary.Node, primary.Major, standby.Node, standby.Major)
	}
	if primary.Program != standby.Program {
		add("run: warmrun distrib", "%s has warmrun %s and %s has %s", primary.Node, primary.Program, standby.Node, standby.Program)
	}
	if skew := primary.Now.Sub(standby.Now).Abs(); skew > maxSkew {
		add("set the clocks right", "the clocks of %s and %s are %s apart", primary.Node, standby.Node, skew.Round(time.Second))
	}
	if primary.Prepared > 0 {
		add("COMMIT PREPARED or ROLLBACK PREPARED them (pg_prepared_xacts), or have their transaction manager do it", "%d prepared transactions are open on %s: they would hold their locks on the new primary", primary.Prepared, primary.Node)
	}
	if primary.Backups > 0 {
		add("wait for it to end, or end it", "a base backup of %s is under way: it would be lost", primary.Node)
	}
	if standby.Paused {
		add(fmt.Sprintf("on %s: SELECT pg_wal_replay_resume()", standby.Node), "replay is paused on %s", standby.Node)
	}
	if lag := lagOf(primary, standby); limits.MaxLag > 0 && standby.SQL && lag > limits.MaxLag {
		add("wait until it has caught up (warmrun status), or allow more with --max-lag", "%s has still to replay %d bytes of finished segments, more than --max-lag %d", standby.Node, lag, limits.MaxLag)
	}
	against = append(against, unfitSettings(primary, standby)...)
	against = append(against, unfitArchiver(standby, limits)...)
	against = append(against, slices.Concat(crowded(primary), crowded(standby))...)
	if primary.LogicalSlots > 0 {
		notes = append(notes, fmt.Sprintf("%d logical replication slots stay behind on %s: their subscribers do not follow by themselves", primary.LogicalSlots, primary.Node))
	}
	return against, notes
}

// lagOf is what the standby lacks of the segments that the primary has finished:
// what comes behind cannot have arrived by the archive.
func lagOf(primary, standby Fitness) int64 {
	if !primary.SegmentSize.Valid() {
		return 0
	}
	finished := primary.LSN - primary.LSN%walcore.LSN(primary.SegmentSize)
	if standby.LSN >= finished {
		return 0
	}
	return int64(finished - standby.LSN)
}

// unfitSettings are those that would stop replay on the old primary, once it
// follows the new one. The standby's own can only be a problem already.
func unfitSettings(primary, standby Fitness) (against []Unfit) {
	for _, name := range slices.Sorted(maps.Keys(standby.Shared)) {
		if next, need := primary.SharedNext[name], standby.Shared[name]; next < need {
			against = append(against, Unfit{
				fmt.Sprintf("%s is %d on %s and %d on %s: as a standby of %s the old primary would not start, or stop replaying", name, next, primary.Node, need, standby.Node, standby.Node),
				fmt.Sprintf("set %s = %d or more on %s; it counts from its next start on", name, need, primary.Node)})
		}
	}
	return against
}

// unfitArchiver is for a standby that could not archive once it is the primary.
func unfitArchiver(standby Fitness, limits Limits) (against []Unfit) {
	switch {
	case standby.WALLevel == "minimal":
		against = append(against, Unfit{fmt.Sprintf("wal_level is minimal on %s: as the primary its WAL could not feed a standby", standby.Node), "set wal_level = replica there, and restart it"})
	case standby.ArchiveMode != "on" && standby.ArchiveMode != "always":
		against = append(against, Unfit{fmt.Sprintf("archive_mode is off on %s: as the primary it would ship nothing", standby.Node), "set archive_mode = on there, and restart it"})
	case standby.ArchiveLibrary != "":
		against = append(against, Unfit{fmt.Sprintf("archive_library is %q on %s: as the primary it would not ship through warmrun", standby.ArchiveLibrary, standby.Node), "reset archive_library there, and set archive_command"})
	case !limits.Archives(standby.ArchiveCommand):
		against = append(against, Unfit{fmt.Sprintf("archive_command on %s is %q, which does not call warmrun", standby.Node, standby.ArchiveCommand), "set it as warmrun env there says, and reload the server"})
	}
	return against
}

// crowded is for file systems that are about full.
func crowded(f Fitness) (against []Unfit) {
	for _, dir := range slices.Sorted(maps.Keys(f.Free)) {
		if need := freeSegments * int64(f.SegmentSize); f.Free[dir] < need {
			against = append(against, Unfit{fmt.Sprintf("only %d bytes are free at %s on %s, and %d segments need %d", f.Free[dir], dir, f.Node, freeSegments, need), "make room there"})
		}
	}
	return against
}
