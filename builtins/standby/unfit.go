package standby

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/warmrun/warmrun/walcore"
)

// Limits say how much may still be outstanding when places are changed.
type Limits struct {
	// MaxLag is how many bytes of finished segments the standby may still have to
	// replay; 0 is no limit.
	MaxLag int64
	// AcceptLostSlots and AcceptMissingLibraries make a note of what would be a
	// reason.
	AcceptLostSlots, AcceptMissingLibraries bool
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
	against = slices.Concat(against, unfitSettings(primary, standby), unfitArchiver(primary, limits), unfitArchiver(standby, limits),
		twice(standby), closed(primary, standby), crowded(primary), crowded(standby))
	notes = slices.Concat(sortedOtherwise(primary, standby), remarks(primary, standby))
	for _, doubt := range []struct {
		unfits   []Unfit
		accepted bool
	}{{lostSlots(primary, standby), limits.AcceptLostSlots}, {missingLibraries(primary, standby), limits.AcceptMissingLibraries}} {
		if !doubt.accepted {
			against = append(against, doubt.unfits...)
			continue
		}
		for _, unfit := range doubt.unfits {
			notes = append(notes, "WARNING: "+unfit.Reason)
		}
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

// unfitSettings are those with which the old primary would not start, or would
// stop replaying, once it follows the new one. The standby's own can only be a
// problem already.
func unfitSettings(primary, standby Fitness) (against []Unfit) {
	for _, name := range slices.Sorted(maps.Keys(standby.Shared)) {
		if next, need := primary.SharedNext[name], standby.Shared[name]; next < need {
			against = append(against, Unfit{
				fmt.Sprintf("%s is %d on %s and %d on %s: as a standby of %s the old primary would not start, or stop replaying", name, next, primary.Node, need, standby.Node, standby.Node),
				fmt.Sprintf("set %s = %d or more on %s; it counts from its next start on", name, need, primary.Node)})
		}
	}
	if primary.Refused != "" {
		against = append(against, Unfit{
			fmt.Sprintf("the server on %s would not start again with its configuration: %s", primary.Node, primary.Refused),
			"correct that file on " + primary.Node})
	}
	if missing := lacking(primary, primary.Preloads); len(missing) > 0 {
		against = append(against, Unfit{
			fmt.Sprintf("the server on %s would not start again: %s of shared_preload_libraries is not in %s", primary.Node, strings.Join(missing, ", "), primary.LibDir),
			"install the package that has it on " + primary.Node + ", or take it out of shared_preload_libraries there"})
	}
	return against
}

// unfitArchiver is for a node that does not archive through this program, or could
// not once it is the primary.
func unfitArchiver(f Fitness, limits Limits) (against []Unfit) {
	add := func(hint, format string, args ...any) {
		against = append(against, Unfit{fmt.Sprintf(format, args...), hint})
	}
	switch {
	case f.WALLevel == "minimal":
		add("set wal_level = replica there, and restart it", "wal_level is minimal on %s: as the primary its WAL could not feed a standby", f.Node)
	case f.ArchiveMode != "on" && f.ArchiveMode != "always":
		add("set archive_mode = on there, and restart it", "archive_mode is off on %s: as the primary it would ship nothing", f.Node)
	case f.ArchiveLibrary != "":
		add("ALTER SYSTEM RESET archive_library there, set archive_command as warmrun env there says, and reload the server", "archive_library is %q on %s, so archive_command is ignored: as the primary it would not ship through warmrun", f.ArchiveLibrary, f.Node)
	case !limits.Archives(f.ArchiveCommand):
		add("set it as warmrun env there says, and reload the server", "archive_command on %s is %q, which does not call warmrun", f.Node, f.ArchiveCommand)
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
