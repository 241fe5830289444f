package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/warmrun/warmrun/engine/journal"
	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// runDir is the directory of a run on this node.
func runDir(site *cluster.Site, id string) string { return site.Local("runs", id) }

func journalPath(site *cluster.Site, id string) string {
	return filepath.Join(runDir(site, id), "journal")
}

// openMark is the file beside a journal whose run has not ended, so that those
// are found without reading all of them. It is there before the journal is, and
// goes after the run's end is written: what counts is the journal.
const openMark = "open"

func markOpen(site *cluster.Site, id string) error {
	dir := runDir(site, id)
	if err := atomicfile.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(dir, openMark), nil, 0o644)
}

func unmarkOpen(site *cluster.Site, id string) error {
	return atomicfile.Remove(filepath.Join(runDir(site, id), openMark))
}

// readRecord reads this node's copy of a run. A run that is not there, or has
// not written who it is, is fs.ErrNotExist.
func readRecord(site *cluster.Site, id string) (runRecord, error) {
	entries, err := journal.Read(journalPath(site, id))
	if errors.Is(err, fs.ErrNotExist) {
		return runRecord{}, err
	}
	if err != nil {
		return runRecord{}, damagedHere(site, id, err)
	}
	r, err := parseRecord(entries)
	if errors.Is(err, errNoHead) {
		return r, fmt.Errorf("%s: %w", journalPath(site, id), fs.ErrNotExist)
	}
	if err != nil {
		return r, damagedHere(site, id, fmt.Errorf("%s: %w", journalPath(site, id), err))
	}
	return r, nil
}

// damagedHere says what can be done about a journal that cannot be read.
func damagedHere(site *cluster.Site, id string, err error) error {
	return hint.Wrap(err, "mend that, or move %s out of the way: then the copy of another node counts, if there is one", runDir(site, id))
}

// openMarks lists the IDs of the runs that are marked as open.
func openMarks(site *cluster.Site) ([]string, error) {
	marks, err := filepath.Glob(filepath.Join(site.Local("runs"), "*", openMark))
	for i, mark := range marks {
		marks[i] = filepath.Base(filepath.Dir(mark))
	}
	return marks, err
}

// openRuns lists the runs that have not ended as far as this node knows.
func openRuns(site *cluster.Site) ([]runRecord, error) {
	marks, err := openMarks(site)
	if err != nil {
		return nil, err
	}
	var open []runRecord
	for _, id := range marks {
		r, err := readRecord(site, id)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, err
		case r.open():
			open = append(open, r)
		}
	}
	return open, nil
}

// inTheWay sorts out of the open runs those that a run which changes the cluster
// must not begin beside: the ones that were started by themselves, and of the
// parts of others only those that a process drives still. How a part ends
// otherwise is for the run around it to settle.
func inTheWay(site *cluster.Site) (unfinished, parts []runRecord, err error) {
	open, err := openRuns(site)
	if err != nil {
		return nil, nil, err
	}
	for _, r := range open {
		switch part := r.Head.ID != r.Head.Outermost; {
		case r.Head.Lock != "cluster":
		case !part:
			unfinished = append(unfinished, r)
		default:
			held, err := journal.Held(journalPath(site, r.Head.ID))
			if err != nil {
				return nil, nil, err
			}
			if held {
				parts = append(parts, r)
			}
		}
	}
	return unfinished, parts, nil
}

func idsOf(records []runRecord) []string {
	ids := []string{}
	for _, r := range records {
		ids = append(ids, r.Head.ID)
	}
	return ids
}

// isUnfinished reports whether somebody has to bring the run to an end. One that
// locks nothing but itself is simply made again.
func isUnfinished(site *cluster.Site, dir string) bool {
	if _, err := os.Stat(filepath.Join(dir, openMark)); err != nil {
		return false
	}
	r, err := readRecord(site, filepath.Base(dir))
	return err != nil || r.Head.Lock == "cluster" && r.open()
}

// runsKept is how many runs of each runbook a node remembers.
const runsKept = 50

// partID matches the ID of a run that is part of another: behind the number of
// the process, with which the outermost one's ends, it has the key of each call (u
// within an undo, f within finally). The name of a node, before that number, may
// have dots too.
const partID = `-\d+(\.([uf]\d+(-\d+)*|\d+(-\d+-\d+)?))+$`

// forgetOld removes the oldest runs of a runbook that have ended, and what ran
// within them.
func forgetOld(site *cluster.Site, runbook string) error {
	dirs, err := filepath.Glob(site.Local("runs", "*-"+runbook+"-*"))
	if err != nil {
		return err
	}
	part := regexp.MustCompile(partID)
	dirs = slices.DeleteFunc(dirs, func(dir string) bool {
		id := filepath.Base(dir)
		return part.MatchString(id) || strings.Contains(id, "~") || isUnfinished(site, dir)
	})
	slices.Sort(dirs)
	for _, dir := range dirs[:max(len(dirs)-runsKept, 0)] {
		parts, err := filepath.Glob(dir + "[.~]*")
		if err != nil {
			return err
		}
		for _, old := range append(parts, dir) {
			if err := os.RemoveAll(old); err != nil {
				return err
			}
		}
	}
	return nil
}
