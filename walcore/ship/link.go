package ship

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/warmrun/warmrun/walcore"
)

// What a link holds at most.
const (
	// lookAhead is how many segments after the one that is asked for are sent
	// without being asked for. With them the agent always has one to take in
	// while it flushes others.
	lookAhead = 4
	// keepDelivered is how long a segment that was sent ahead counts as
	// delivered. Afterwards the agent is asked again.
	keepDelivered = 5 * time.Minute
	// A destination that could not be reached is left alone for a moment, then
	// longer: PostgreSQL asks once a second, and trying may take that long.
	firstPause, longestPause = time.Second, 15 * time.Second
)

// link is the held connection to one destination, and what has been sent over
// it. It lives in the shipper.
type link struct {
	ctx     context.Context // the shipper's
	dest    Destination
	version string
	work    *sync.WaitGroup

	window chan struct{} // one token for each file on its way

	mu        sync.Mutex
	client    *Client
	connected time.Time
	pause     pause
	histories walcore.Timeline // the newest that is known to be there
	jobs      map[walcore.FileName]*job
	sent      run
	last      <-chan struct{} // that the newest job has been offered
	counts    LinkCounts
}

// LinkCounts is what a link has done.
type LinkCounts struct {
	Files     int64 `json:"files"`      // delivered
	SentAhead int64 `json:"sent_ahead"` // of them, before the server asked
	Bytes     int64 `json:"bytes"`      // of their content
	Connects  int64 `json:"connects"`
}

// run is a row of segments that have all been delivered over the connection.
type run struct{ first, last walcore.SegmentName }

// job is one file on its way, or delivered.
type job struct {
	file  identity
	ahead bool
	done  chan struct{} // closed when err counts
	err   error
	at    time.Time // when it was done
}

// pause is the time that a destination which could not be reached is left
// alone.
type pause struct {
	why    error
	length time.Duration
	until  time.Time
}

func newLink(ctx context.Context, d Destination, version string, work *sync.WaitGroup) *link {
	none := make(chan struct{})
	close(none)
	return &link{
		ctx: ctx, dest: d, version: version, work: work,
		window: make(chan struct{}, lookAhead), jobs: map[walcore.FileName]*job{}, last: none,
	}
}

// carry takes a file to the destination, and sends what the server will ask for
// next. It returns when the file is on disk there.
func (l *link) carry(ctx context.Context, r ArchiveRequest) error {
	for try := 1; ; try++ {
		j, mine, err := l.begin(r, false)
		if err != nil {
			return err
		}
		l.ahead(r)
		select {
		case <-j.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		var lost *lostError
		// What was sent ahead in vain, or over a connection that had been idle
		// for long, is tried again before the server hears of it.
		if j.err == nil || try > 1 || mine && !errors.As(j.err, &lost) {
			return j.err
		}
	}
}

// ahead begins with the next segments after the one of a request that are ready
// to be archived. Where the server keeps asking for one that another
// destination lacks, those that follow all come here in time.
func (l *link) ahead(r ArchiveRequest) {
	if r.Name.Kind() != walcore.KindSegment {
		return
	}
	info, err := os.Stat(r.Path)
	if err != nil || !walcore.SegmentSize(info.Size()).Valid() {
		return
	}
	size := walcore.SegmentSize(info.Size())
	next := l.delivered(r.Name.Segment(), size)
	for range lookAhead {
		next = next.Next(size)
		r.Name, r.Path = walcore.FileName(next), filepath.Join(filepath.Dir(r.Path), string(next))
		if _, err := os.Stat(filepath.Join(filepath.Dir(r.Path), "archive_status", string(next)+".ready")); err != nil {
			return // it is not complete, or has been archived
		}
		if _, _, err := l.begin(r, true); err != nil {
			return // the server will ask, and hear of it
		}
	}
}

// delivered is the last segment of those after one that have been delivered
// without a gap, or that one. It is remembered for longer than their jobs are,
// or a long backlog would be sent from its beginning again and again.
func (l *link) delivered(name walcore.SegmentName, size walcore.SegmentSize) walcore.SegmentName {
	l.mu.Lock()
	defer l.mu.Unlock()
	if name < l.sent.first || name > l.sent.last || name.Timeline() != l.sent.last.Timeline() {
		l.sent = run{name, name}
	}
	for {
		next := l.sent.last.Next(size)
		if j := l.jobs[walcore.FileName(next)]; j == nil || !j.succeeded() {
			return l.sent.last
		}
		l.sent.last = next
	}
}

// begin finds the job of a file, or starts it; mine tells which.
func (l *link) begin(r ArchiveRequest, ahead bool) (j *job, mine bool, err error) {
	info, err := os.Stat(r.Path)
	if err != nil {
		return nil, false, err
	}
	file, err := identityOf(info)
	if err != nil {
		return nil, false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forgetOld()
	if j := l.jobs[r.Name]; j != nil && j.file == file && !j.failed() {
		return j, false, nil
	}
	if why := l.pause.why; why != nil && time.Now().Before(l.pause.until) {
		return nil, false, fmt.Errorf("%w (tried a moment ago; it is tried again in %s)", why, time.Until(l.pause.until).Round(100*time.Millisecond))
	}
	j = &job{file: file, ahead: ahead, done: make(chan struct{})}
	l.jobs[r.Name] = j
	before, offered := l.last, make(chan struct{})
	l.last = offered
	l.work.Go(func() {
		l.run(r, j, before, sync.OnceFunc(func() { close(offered) }))
	})
	return j, true, nil
}
