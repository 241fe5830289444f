package standby

import (
	"fmt"
	"slices"
	"strings"

	"github.com/warmrun/warmrun/builtins/psql"
)

// twice is for a standby that archives what it restores: from the moment when
// archiving is made active there, before the promotion, it would ship the
// primary's WAL to the primary.
func twice(standby Fitness) []Unfit {
	if standby.ArchiveMode != "always" {
		return nil
	}
	return []Unfit{{
		fmt.Sprintf("archive_mode is always on %s: it would ship what it has restored once more", standby.Node),
		"set archive_mode = on there, and restart it"}}
}

// closed is for databases that clients could not enter any more.
func closed(primary, standby Fitness) (against []Unfit) {
	for _, database := range standby.Databases.Closed {
		if !slices.Contains(primary.Databases.Closed, database) {
			against = append(against, Unfit{
				fmt.Sprintf("the server on %s cannot open database %s", standby.Node, database),
				"make the locale that it lacks on " + standby.Node + " (locale -a lists those that are there), and restart its server"})
		}
	}
	return against
}

// lostSlots is for logical slots that the standby does not keep.
func lostSlots(primary, standby Fitness) []Unfit {
	var lost []string
	for _, slot := range primary.LogicalSlots {
		kept := slices.ContainsFunc(standby.LogicalSlots, func(s psql.LogicalSlot) bool { return s.Name == slot.Name && s.Kept })
		if !kept {
			lost = append(lost, slot.Name)
		}
	}
	if len(lost) == 0 {
		return nil
	}
	return []Unfit{{
		fmt.Sprintf("logical replication slots are on %s alone: %s; what their subscribers have not received by then is lost to them, and on %s they go on keeping WAL", primary.Node, strings.Join(lost, ", "), primary.Node),
		fmt.Sprintf("drop logical slots that nobody needs; from 17 on a slot with failover = true is kept on %s by sync_replication_slots; to set their subscribers up again afterwards: --accept-lost-slots", standby.Node)}}
}

// missingLibraries is for functions that would fail on the new primary.
func missingLibraries(primary, standby Fitness) []Unfit {
	missing := lacking(standby, append(slices.Clone(primary.Databases.Modules), primary.Preloads...))
	if len(missing) == 0 {
		return nil
	}
	return []Unfit{{
		fmt.Sprintf("extensions of %s need libraries that are not in %s on %s: %s; as the primary it would fail in them", primary.Node, standby.LibDir, standby.Node, strings.Join(missing, ", ")),
		"install the packages of these extensions on " + standby.Node + "; to do without them: --accept-missing-libraries"}}
}

// lacking are the modules that the node does not have. Where its directory was
// not found nothing is known to be missing; nor is a module in a directory below.
func lacking(f Fitness, modules []string) (missing []string) {
	for _, name := range modules {
		if f.LibDir != "" && !strings.Contains(name, "/") && !slices.Contains(f.Libraries, name) && !slices.Contains(missing, name) {
			missing = append(missing, name)
		}
	}
	return missing
}

// sortedOtherwise is for text that the standby's libraries sort otherwise than
// those did that the indexes were made with. It keeps nobody from a change of
// places: that may be the only way off a failing host.
func sortedOtherwise(primary, standby Fitness) []string {
	if stale := standby.Databases.Stale; len(stale) > 0 {
		return []string{fmt.Sprintf("WARNING: the libraries on %s sort text otherwise than its indexes were made with: %s; after the promotion they give wrong answers until REINDEX, and then ALTER ... REFRESH VERSION", standby.Node, strings.Join(stale, "; "))}
	}
	if primary.Libc != standby.Libc && primary.Libc != "" && standby.Libc != "" {
		return []string{fmt.Sprintf("WARNING: %s has %s and %s has %s: text may be sorted in another order there; after the promotion REINDEX the indexes on text, unless their collation is C", primary.Node, primary.Libc, standby.Node, standby.Libc)}
	}
	return nil
}

// remarks are what an operator should know and nothing depends on.
func remarks(primary, standby Fitness) (notes []string) {
	if standby.Backups > 0 {
		notes = append(notes, fmt.Sprintf("NOTE: a base backup of %s is under way: the promotion ends it", standby.Node))
	}
	if primary.ArchiveMode == "always" {
		notes = append(notes, fmt.Sprintf("NOTE: archive_mode is always on %s: before it becomes the primary again, set it to on", primary.Node))
	}
	for _, f := range []Fitness{primary, standby} {
		if f.Unit != "" && f.Restart != "" && f.Restart != "no" {
			notes = append(notes, fmt.Sprintf("NOTE: %s on %s starts the server again by itself (Restart=%s): after a crash it may be back as a primary before a failover has fenced it; systemctl edit %s: [Service] Restart=no", f.Unit, f.Node, f.Restart, f.Unit))
		}
		for _, unknown := range f.Unknown {
			notes = append(notes, fmt.Sprintf("NOTE: not looked at on %s: %s", f.Node, unknown))
		}
	}
	return notes
}

// Warnings are what would be wrong with a node as the primary. They are for a
// promotion that cannot wait until it is mended.
func Warnings(f Fitness, limits Limits) (warnings []string) {
	for _, unfit := range slices.Concat(unfitArchiver(f, limits), twice(f), closed(Fitness{}, f), crowded(f)) {
		warnings = append(warnings, fmt.Sprintf("WARNING: %s; %s", unfit.Reason, unfit.Hint))
	}
	warnings = append(warnings, sortedOtherwise(Fitness{}, f)...)
	for _, unknown := range f.Unknown {
		warnings = append(warnings, fmt.Sprintf("NOTE: not looked at on %s: %s", f.Node, unknown))
	}
	return warnings
}
