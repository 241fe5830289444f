package walcore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// fetchEvery is how often a waiting restore asks again that its segment be
// looked for elsewhere.
const fetchEvery = 30 * time.Second

// mayWait reports whether an answer may be put off. Only segments are waited
// for. What cannot be told is waited out where any answer would open the
// database; in standby mode the server asks again by itself.
func (r *restoring) mayWait(err error) bool {
	if !r.Wait || err == nil || r.Name.Kind() != KindSegment || r.state.Opening {
		return false
	}
	if errors.Is(err, ErrTerminated) {
		return false
	}
	return isMissing(err) || r.kind == RecoveryOther
}

// wait blocks until the segment is served, or until there is a reason to
// answer without it.
func (r *restoring) wait(ctx context.Context) error {
	r.state.Waiting, r.dirty = true, true
	defer func() { r.state.Waiting, r.dirty = false, true }()
	var expired <-chan time.Time
	if r.MaxWait > 0 {
		timer := time.NewTimer(r.MaxWait)
		defer timer.Stop()
		expired = timer.C
	}
	tick := time.NewTicker(r.Poll)
	defer tick.Stop()
	watch := r.watch()
	defer watch.close()
	for {
		// The first look here comes after the watch is in place, so nothing
		// arrives unseen.
		err := r.attempt(ctx)
		if !r.mayWait(err) || r.answerEarly() {
			return err
		}
		r.idle(ctx, err)
		timeout, err := r.sleep(ctx, watch, tick.C, expired)
		if err != nil {
			return err
		}
		if timeout {
			if r.TimedOut != nil {
				r.TimedOut()
			}
			return r.giveUp(ctx)
		}
	}
}

// idle does what is due each time nothing was found.
func (r *restoring) idle(ctx context.Context, err error) {
	if r.Now().Sub(r.fetched).Abs() >= fetchEvery { // also after the clock went back
		r.fetch(ctx)
	}
	if !isMissing(err) && r.state.report("cannot tell") {
		r.dirty = true
		r.say("waiting for %s: %v", r.Name, err)
	}
	r.save()
	if r.Idle != nil {
		r.Idle()
	}
}

// sleep ends when something may have changed, with true when MaxWait is over.
func (r *restoring) sleep(ctx context.Context, watch *watcher, tick, expired <-chan time.Time) (timeout bool, err error) {
	for {
		select {
		case <-ctx.Done():
			return false, fmt.Errorf("%w: %w", ErrTerminated, context.Cause(ctx))
		case <-expired:
			return true, nil
		case <-r.Failover:
			return false, nil
		case <-watch.errors:
			return false, nil
		case event := <-watch.events:
			if !r.concerns(event) {
				continue
			}
			return false, nil
		case <-tick:
			if r.serverGone() {
				return false, fmt.Errorf("%s: %w", r.Name, ErrServerGone)
			}
			watch.renew()
			return false, nil
		}
	}
}

// giveUp is the answer when MaxWait is over. Outside standby mode it opens the
// database, which is what pg_standby's users set it for; the segments that the
// server asks for again on the way must not be waited for.
func (r *restoring) giveUp(ctx context.Context) error {
	err := r.attempt(ctx)
	if err != nil && r.kind != RecoveryStandby {
		r.opening()
	}
	return err
}

// answerEarly reports whether waiting for this name is of no use.
func (r *restoring) answerEarly() bool {
	return r.precedesTimeline() || r.newerHistory()
}

// newerHistory reports whether the history of a newer timeline is in the
// archive that the server has had no chance to find: it looks for one only
// after a failed restore (rescanLatestTimeLine in xlogrecovery.c), and then
// for the numbers one after the other (findNewestTimeLine in timeline.c), as
// is done here. Outside standby mode a failed restore would open the database.
func (r *restoring) newerHistory() bool {
	if r.kind != RecoveryStandby {
		return false
	}
	known := max(r.Name.Timeline(), r.state.HistoryOffered)
	newest := newestHistory(r.Archive, known)
	if newest == known {
		return false
	}
	r.state.HistoryOffered, r.dirty = newest, true
	return true
}

// newestHistory is the last of the timelines after from whose histories follow
// one another without a gap in dir.
func newestHistory(dir string, from Timeline) Timeline {
	for {
		found, err := exists(filepath.Join(dir, string((from + 1).HistoryName())))
		if err != nil || !found {
			return from
		}
		from++
	}
}

// precedesTimeline reports whether the segment lies before the one in which
// its timeline began, so that it will never exist under this name. A server
// may ask for it all the same before it tries the timeline's parent
// (XLogFileReadAnyTLI in xlogrecovery.c).
func (r *restoring) precedesTimeline() bool {
	name := r.Name.Segment()
	size := r.cluster().SegmentSize
	if name.Timeline() <= 1 || size == 0 {
		return false
	}
	for _, dir := range []string{r.Archive, filepath.Join(r.PGData, "pg_wal"), filepath.Join(r.PGData, "pg_xlog")} {
		f, err := os.Open(filepath.Join(dir, string(name.Timeline().HistoryName())))
		if err != nil {
			continue
		}
		history, err := ParseHistory(f, name.Timeline())
		if errors.Join(err, f.Close()) == nil && len(history) > 0 {
			return name.Number(size) < uint64(history.Begin())/uint64(size)
		}
	}
	return false
}

// serverGone reports whether there is nobody left to serve: the process that
// ran us has died, or the postmaster above it has.
func (r *restoring) serverGone() bool {
	if os.Getppid() != r.caller {
		return true
	}
	return r.state.PID != 0 && !r.keep.off && !r.procs.alive(r.state.Server)
}

// watcher tells of changes in a few directories, as far as the file system
// does. Network file systems do not; the ticker is for them.
type watcher struct {
	inner  *fsnotify.Watcher
	dirs   []string
	events <-chan fsnotify.Event
	errors <-chan error
}

// watch begins to watch the archive and the places of promote and trigger
// file. Without inotify there are no events, which is no error.
func (r *restoring) watch() *watcher {
	w := &watcher{dirs: []string{r.Archive, r.PGData}}
	if r.Trigger != "" && filepath.Dir(r.Trigger) != r.PGData {
		w.dirs = append(w.dirs, filepath.Dir(r.Trigger))
	}
	inner, err := fsnotify.NewWatcher()
	if err != nil {
		return w
	}
	w.inner, w.events, w.errors = inner, inner.Events, inner.Errors
	w.renew()
	return w
}

// renew watches directories that were not there before, such as an archive
// that was mounted just now.
func (w *watcher) renew() {
	if w.inner == nil {
		return
	}
	for _, dir := range w.dirs {
		_ = w.inner.Add(dir) // polling goes on where it cannot be watched
	}
}

func (w *watcher) close() {
	if w.inner != nil {
		_ = w.inner.Close() // nothing was written
	}
}

// concerns reports whether a change may change the answer. A busy archive sees
// many that do not.
func (r *restoring) concerns(event fsnotify.Event) bool {
	base := filepath.Base(event.Name)
	return slices.Contains(storedAs(r.Name), base) || strings.HasSuffix(base, ".history") || event.Name == r.Trigger ||
		base == "promote" || base == "fallback_promote" || event.Name == r.Archive
}
