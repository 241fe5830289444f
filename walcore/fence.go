package walcore

import (
	"fmt"
	"slices"
	"time"

	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/hint"
)

// Cut says where a timeline ends for good: WAL of it past LSN is refused.
type Cut struct {
	// Epoch is the number of the change of state that made the cut.
	Epoch    uint64   `json:"epoch"`
	Timeline Timeline `json:"timeline"`
	// LSN is the first byte that is no longer of this timeline.
	LSN LSN       `json:"lsn"`
	By  string    `json:"by"` // who made it: a node and a run
	At  time.Time `json:"at"`
}

// Fence is what stands between a superseded server and an archive.
type Fence struct {
	Epoch uint64 `json:"epoch"` // the highest ever; lowering a fence leaves it
	Cuts  []Cut  `json:"cuts"`
}

// Cut is the one in force on a timeline: the lowest.
func (f Fence) Cut(t Timeline) (Cut, bool) {
	var found Cut
	ok := false
	for _, cut := range f.Cuts {
		if cut.Timeline == t && (!ok || cut.LSN < found.LSN) {
			found, ok = cut, true
		}
	}
	return found, ok
}

// Fence is the archive's fence; the zero one when none was ever raised.
func (a *Archive) Fence() (Fence, error) {
	if err := a.present(); err != nil {
		return Fence{}, err
	}
	return a.readFence()
}

func (a *Archive) readFence() (Fence, error) {
	fence := Fence{Cuts: []Cut{}}
	if _, err := readState(a.state("fence"), &fence); err != nil {
		return Fence{}, hint.Wrap(fmt.Errorf("archive fence: %w", err),
			"compare it with the fence of another archive of this cluster before anything is archived here again")
	}
	return fence, nil
}

// RaiseFence adds a cut, durably: when it returns nil, no segment whose
// records end past the cut will be accepted any more, not even one that is
// on its way. Raising the same cut again is no error. A cut on the same
// timeline may be lower than one in force, never higher, and the epoch never
// goes back; epoch 0 takes the next one.
func (a *Archive) RaiseFence(c Cut) error {
	if c.Timeline == 0 || c.LSN == 0 {
		return fmt.Errorf("a cut needs a timeline and an LSN, got timeline %d at %s", uint32(c.Timeline), c.LSN)
	}
	return a.changeFence(func(f *Fence) (bool, error) { return a.addCut(f, c) })
}

func (a *Archive) addCut(f *Fence, c Cut) (changed bool, err error) {
	if c.Epoch == 0 {
		c.Epoch = f.Epoch + 1
	}
	if c.Epoch < f.Epoch {
		return false, hint.Wrap(fmt.Errorf("the fence of %s is at epoch %d, later than the %d asked for", a.dir, f.Epoch, c.Epoch),
			"another change of state came in between: look at the status of all nodes before going on")
	}
	if old, ok := f.Cut(c.Timeline); ok {
		if old.LSN == c.LSN && old.Epoch == c.Epoch {
			return false, nil
		}
		if c.LSN > old.LSN {
			return false, hint.Wrap(fmt.Errorf("timeline %d is already cut at %s in %s (epoch %d, by %s, %s), below the %s asked for",
				uint32(c.Timeline), old.LSN, a.dir, old.Epoch, old.By, old.At.Format(time.RFC3339), c.LSN),
				"if the change of state that made that cut was called off and nobody was promoted, first: warmrun lowerFence, on the primary of that timeline")
		}
	}
	if c.At.IsZero() {
		c.At = time.Now().UTC()
	}
	f.Epoch = c.Epoch
	f.Cuts = append(f.Cuts, c)
	return true, nil
}

// LowerFence removes the cuts of an epoch, durably, for an undo before the
// promotion. The fence's epoch stays. An epoch without cuts is no error.
func (a *Archive) LowerFence(epoch uint64) error {
	return a.changeFence(func(f *Fence) (bool, error) {
		before := len(f.Cuts)
		f.Cuts = slices.DeleteFunc(f.Cuts, func(c Cut) bool { return c.Epoch == epoch })
		return len(f.Cuts) != before, nil
	})
}

func (a *Archive) changeFence(change func(*Fence) (bool, error)) (err error) {
	if err := a.prepare(); err != nil {
		return err
	}
	unlock, err := a.lockWithin(stateLockWait)
	if err != nil {
		return err
	}
	defer func() {
		if e := unlock(); err == nil {
			err = e
		}
	}()
	fence, err := a.readFence()
	if err != nil {
		return err
	}
	changed, err := change(&fence)
	if err != nil {
		return err
	}
	if !changed {
		// The cut may be there from a try whose flush to disk failed.
		return atomicfile.SyncDir(a.state())
	}
	return writeState(a.state("fence"), fence)
}
