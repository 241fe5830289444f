package walcore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/warmrun/warmrun/walcore/fault"
	"github.com/warmrun/warmrun/walcore/hint"
)

// ErrNotThere says that the archive was looked at and holds no file that could
// be served under the name. It is the one answer that may end a recovery.
var ErrNotThere = errors.New("the archive does not hold it")

// ErrTerminated says that the context ended, which a signal to the program
// does. A server takes a restore_command that dies by SIGTERM for part of its
// shutdown, and one that exits otherwise for an answer (RestoreArchivedFile in
// xlogarchive.c), so the program ends itself by SIGTERM. That goes for the
// SIGQUIT of an immediate stop too, on which a Go program would exit with 2,
// and not by SIGINT, which is ignored below a server that a shell started in
// the background.
var ErrTerminated = errors.New("restore was told to stop")

// ErrServerGone says that the server that was to get the file died while a
// restore waited for it.
var ErrServerGone = errors.New("the server that asked is gone")

// historyUnknownError says that a history file could not be looked up although
// the server is about to open. "Not there" would mean to it that the timeline
// is free, and there would be two of that number.
type historyUnknownError struct{ error }

func (e *historyUnknownError) Unwrap() error { return e.error }

// RestoreExit is the exit code of a restore_command that ended with err: 0 for
// a restored file, 3 for ErrNotThere and nothing else. Any other failure is 4
// in standby mode, where the server tries again, and 126 outside it, where up
// to 125 would open the database; 126 everywhere for a history that could not
// be looked up after a promotion was seen. ErrTerminated is 143, which a server
// reads like a death by SIGTERM, for a program that cannot end itself so.
func RestoreExit(err error, kind RecoveryKind) int {
	var unknown *historyUnknownError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, ErrTerminated):
		return 143
	case errors.As(err, &unknown):
		return 126
	case errors.Is(err, ErrNotThere):
		return 3
	case kind == RecoveryStandby:
		return 4
	}
	return 126
}

// RestoreRequest is one call of restore_command. The zero value of every field
// from Trigger on is a sound choice.
type RestoreRequest struct {
	Name    FileName // %f
	Target  string   // %p, relative to PGData unless absolute
	Redo    FileName // %r, the oldest segment that a restart needs; "" where the server gives none
	PGData  string   // the data directory, in which the server runs the command
	Archive string   // the archive directory

	// Trigger is the trigger file, relative to PGData unless absolute. It is
	// looked at in standby mode and by a restore that waits; a recovery to a
	// point in time takes no notice of one that was left lying around.
	Trigger string
	// Failover, when closed, is a trigger file that says "fast".
	Failover <-chan struct{}

	// Wait makes a restore of a segment wait until it arrives. Histories and
	// backup labels are answered at once all the same.
	Wait bool
	// Poll is how often a waiting restore looks at the archive where the file
	// system does not say that something happened; 0 means a second.
	Poll time.Duration
	// MaxWait ends a wait with ErrNotThere; 0 means never.
	MaxWait time.Duration
	// WarmStandby says that the command makes the server a standby, whatever
	// the server knows of it: before 9.0 there was no standby mode.
	WarmStandby bool

	// Cleanup removes segments that the server needs no more after it was
	// served one, on a standby only; never histories and backup labels.
	Cleanup bool
	// HasRelay keeps what the archive's watermark does not cover.
	HasRelay bool
	// KeepBackups is how many of the newest backups keep their WAL: all of it
	// from the segment on that the oldest of them starts in. 0 keeps none.
	KeepBackups int
	// MaxSize is how many bytes the archive may hold before the oldest segments
	// are removed although the relay or a kept backup needs them, with an
	// outcry; 0 is no limit. What the server itself needs is never removed.
	MaxSize int64
	// KeepSegments is how many segments before the one served are kept where
	// Redo is not given; 0 removes nothing then.
	KeepSegments int
	// Removed is told the path of every file that was removed.
	Removed func(path string)

	// Fetch starts a search for a segment that is missing here since then, and
	// must not wait for its end.
	Fetch func(ctx context.Context, name FileName, since time.Time) error
	// Idle is called whenever a waiting restore has found nothing.
	Idle func()
	// TimedOut is called when MaxWait is over.
	TimedOut func()
	// Out gets what an operator should read in the server's log.
	Out io.Writer
	// Now is the clock, for what is noted.
	Now func() time.Time
}

// Restore hands the server one file from the archive, or says ErrNotThere; any
// other error means that nothing can be said about the file. It never changes
// the archived file, and it leaves no incomplete target behind. RestoreExit
// tells what to exit with.
//
// The target is not flushed to disk: the server does so when it takes the file
// over (KeepFileRestoredFromArchive in xlogarchive.c calls durable_rename,
// which flushes the file before and after it gets its name in pg_wal), and one
// that is lost in a crash before is asked for again.
func Restore(ctx context.Context, request RestoreRequest) error {
	r, err := newRestoring(request)
	if err != nil {
		return err
	}
	err = r.answer(ctx)
	if err == nil && r.Name.Kind() == KindSegment {
		r.cleanup(ctx)
	}
	r.save()
	return err
}

// restoring is a restore under way.
type restoring struct {
	RestoreRequest
	kind   RecoveryKind
	procs  processTable
	caller int // the process that ran us; it is gone when we get another parent
	keep   stateKeeper
	state  Wanted
	dirty  bool // state differs from what is written
	// fast is whether segments not served before are refused. It is not kept:
	// an operator who takes a trigger file away means it.
	fast     bool
	identity *Identity // what is known of the cluster, once looked up
	freed    int64     // bytes removed from the archive, where MaxSize is set
	segment  SegmentSize
	fetched  time.Time
}

func newRestoring(request RestoreRequest) (*restoring, error) {
	if _, err := ParseFileName(string(request.Name)); err != nil {
		return nil, hint.Wrap(err, "give restore_command the server's %%f for it")
	}
	r := &restoring{RestoreRequest: request, procs: hostProcesses, caller: os.Getppid()}
	if r.Out == nil {
		r.Out = io.Discard
	}
	if r.Now == nil {
		r.Now = time.Now
	}
	if r.Poll <= 0 {
		r.Poll = time.Second
	}
	archive, err := filepath.Abs(r.Archive)
	if err != nil {
		return nil, err
	}
	r.Archive, r.PGData = archive, realPath(r.PGData)
	r.Target = r.inPGData(r.Target)
	if r.Trigger != "" {
		r.Trigger = r.inPGData(r.Trigger)
	}
	// Where the kind cannot be told it is RecoveryOther, the careful one.
	r.kind, _ = DetectRecovery(r.PGData)
	// Before 9.0 a command that waits is all that makes a standby.
	r.WarmStandby = r.WarmStandby || r.Wait && r.kind == RecoveryOther && !knowsStandbyMode(r.PGData)
	r.begin(os.Getpid())
	return r, nil
}

// begin takes up the state of this recovery.
func (r *restoring) begin(self int) {
	r.keep = stateKeeper{archive: r.Archive, pgdata: r.PGData}
	server, running := r.procs.server(r.PGData)
	// A call by hand, or by pg_rewind, beside a running server must not change
	// what that server is known to wait for.
	r.keep.off = running && !r.procs.descends(self, server.PID)
	r.state = r.keep.load(server)
}

func (r *restoring) inPGData(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(r.PGData, path)
}

// answer looks for the file, waits for it where told to, and settles what the
// server is told.
func (r *restoring) answer(ctx context.Context) error {
	r.state.replayed(r.Name, r.Now())
	err := r.attempt(ctx)
	if isMissing(err) && r.state.refuse(r.Name, r.Now()) {
		// Written before the last look: whoever stores the file now finds the
		// name, and whoever stored it before is found by the look.
		fault.At(fault.RestoreState)
		r.dirty = true
		r.save()
		err = r.attempt(ctx)
	}
	if r.mayWait(err) {
		err = r.wait(ctx)
	}
	if err == nil {
		fault.At(fault.RestoreDone)
		r.served()
		return nil
	}
	var unfit *unfitError
	if err = r.verdict(err); errors.Is(err, ErrNotThere) && !errors.As(err, &unfit) {
		r.fetch(ctx) // what is there, though unfit, would be in the way of what is found
	}
	return err
}

// attempt is one look at everything that decides the answer.
func (r *restoring) attempt(ctx context.Context) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ErrTerminated, context.Cause(ctx))
	}
	r.noticeTrigger()
	if r.fast && r.Name.Kind() == KindSegment && !r.servedBefore() {
		return fmt.Errorf("%s was not served before and the trigger says fast: %w", r.Name, ErrNotThere)
	}
	err := r.serve(ctx)
	var unfit *unfitError
	if errors.As(err, &unfit) && r.state.report(unfit.key()) {
		r.dirty = true
		r.say("%v", err)
		fmt.Fprintf(r.Out, "warmrun: hint: unless something is still copying it there, move it out of the archive (mv -i %s /tmp/): then it is looked for on the other nodes\n", unfit.path)
	}
	return err
}

// verdict turns what the last look found into what the server may be told.
func (r *restoring) verdict(err error) error {
	var unfit *unfitError
	opening := r.state.Opening
	switch {
	case errors.Is(err, ErrTerminated) || errors.Is(err, ErrServerGone):
		return err
	case r.Name.Kind() == KindHistory && opening && !errors.Is(err, ErrNotThere):
		return &historyUnknownError{hint.Wrap(fmt.Errorf("cannot tell whether timeline %d is free: %w", uint32(r.Name.Timeline()), err),
			"mend the archive %s, then start the server again: it goes on with its promotion", r.Archive)}
	case errors.As(err, &unfit) && (opening || r.kind == RecoveryStandby):
		return fmt.Errorf("%w: %w", ErrNotThere, err)
	case unfit != nil:
		return hint.Wrap(err, "let its copy end, or store the right file in its place, then start the server again")
	case errors.Is(err, ErrNotThere) && r.archiveReplaced():
		return hint.Wrap(fmt.Errorf("%s: %s is no longer the directory that this recovery was served from", r.Name, r.Archive),
			"mount the archive again, then start the server again")
	}
	return err
}

// isMissing reports whether a look found no file that can be served.
func isMissing(err error) bool {
	var unfit *unfitError
	return errors.Is(err, ErrNotThere) || errors.As(err, &unfit)
}

// served notes what the server got.
func (r *restoring) served() {
	state := &r.state
	switch r.Name.Kind() {
	case KindSegment:
		state.got(r.Name.Segment())
		state.LastServed, state.ServedAt = r.Name.Segment(), r.Now().UTC()
		if !r.servedBefore() {
			state.Furthest = state.LastServed
		}
		state.ArchiveInode = inode(r.Archive)
	case KindHistory:
		state.HistoryOffered = max(state.HistoryOffered, r.Name.Timeline())
	}
	r.dirty = true
}

// servedBefore reports whether the segment was served already, to this server
// or to an earlier run of it, or lies before one that was. At the end of
// recovery a server asks for its last segment again.
func (r *restoring) servedBefore() bool {
	furthest, name := r.state.Furthest, r.Name.Segment()
	return furthest != "" && name.Position() <= furthest.Position() && name.Timeline() <= furthest.Timeline()
}

// archiveReplaced reports whether the archive is another directory than the
// one this recovery got its last segment from. Where nothing is mounted any
// more there is an empty directory, and outside standby mode "not there" would
// open the database in the middle of its WAL.
func (r *restoring) archiveReplaced() bool {
	return r.kind == RecoveryOther && r.state.PID != 0 && r.state.ArchiveInode != 0 &&
		inode(r.Archive) != r.state.ArchiveInode
}

// fetch starts a search for a missing segment elsewhere. Once the database is
// to be opened nothing more is looked for.
func (r *restoring) fetch(ctx context.Context) {
	if r.Fetch == nil || r.Name.Kind() != KindSegment || r.state.Opening {
		return
	}
	r.fetched = r.Now()
	if err := r.Fetch(ctx, r.Name, r.state.Since); err != nil && r.state.report("fetch") {
		r.dirty = true
		r.say("cannot look for %s elsewhere: %v", r.Name, err)
	}
}

// save writes the state if it has changed.
func (r *restoring) save() {
	if r.dirty {
		r.keep.save(r.state, r.state.Opening || r.kind == RecoveryOther)
		r.dirty = false
	}
}

func (r *restoring) say(format string, args ...any) {
	fmt.Fprintf(r.Out, "warmrun: "+format+"\n", args...)
}

// inode is a directory's inode number, or 0 where it cannot be told.
func inode(dir string) uint64 {
	info, err := os.Stat(dir)
	if err != nil {
		return 0
	}
	return inodeOf(info)
}

// exists is for files whose absence is an ordinary answer.
func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
