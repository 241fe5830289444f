package filesync

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"
)

const (
	// A sender asks for the hashes of files ahead of the one that it is
	// sending, so that a slow link is never waited for file by file; this
	// many, and of so many bytes.
	maxAhead  = 1024
	mostAhead = 32 << 20
	// maxOpenJobs is what a receiver lets a sender begin without ending.
	maxOpenJobs = 2 * maxAhead
	// putSize is the most that is sent as a whole file in one frame.
	putSize = 64 << 10
	// racy is how young a file's modification time may be for the file to be
	// written again within the same tick of the file system's clock.
	racy = 2 * time.Second
)

// sender reads files of the source and sends what the target lacks. Its
// run method and its deliver method run in two goroutines.
type sender struct {
	c        *conn
	root     *os.Root
	announce bool // tell the other side what each file is: it has no list of its own
	pack     packer
	hash     hasher
	files    *handover // where the receiver is in this process

	// next hands out the next job. It returns false when there is none now; if
	// wait is set, only when there will be none any more. A job larger than
	// room bytes may be held back unless wait is set.
	next func(ctx context.Context, wait bool, room int64) (job, bool, error)
	// again takes back a job that was only to be looked at and must be copied.
	again func(j job)
	// inspector returns who looks at a file's content.
	inspector func(e Entry) Inspector
	// changed is told what happened to a file since it was listed.
	changed func(j job, c Change) error
	// pace is called before n bytes of content are sent, packed or not.
	pace func(ctx context.Context, n int) error
	// handled is told of n more bytes read, and how many of them were sent.
	handled func(n, literal int)
	// ended is told of each file that has been dealt with.
	ended func(j job, literal int64)

	mu      sync.Mutex
	waiting map[uint32]*outgoing // jobs that hashes may come for

	ahead      []*outgoing // taken and not sent yet, in order
	aheadBytes int64       // of them

	dir  lastDir
	buf  []byte
	runs []run
}

// outgoing is a job under way at the sender.
type outgoing struct {
	job
	begun    bool
	file     *os.File // while it is read
	sparse   bool     // its file system tells where it has holes
	before   fs.FileInfo
	returned bool // to the queue
	listed   bool // it is as it was listed, and has been so for long enough to tell
	short    bool // it ended before its listed size
	inspect  Inspector
	hashes   chan []byte // answered, in order; room for all that are asked; nil where none are
	asked    int64       // offset of the span to ask for next
	pending  int         // spans asked and not taken
	literal  int64
	patience patience
}

// run sends jobs until there are no more.
func (s *sender) run(ctx context.Context) (err error) {
	s.buf = make([]byte, readSize)
	s.dir.root = s.root
	defer func() { err = errors.Join(err, s.dir.close()) }()
	for {
		current, err := s.take(ctx)
		if err != nil || current == nil {
			return err
		}
		if err := s.file(ctx, current); err != nil {
			return fmt.Errorf("%s: %w", current.entry.Path, err)
		}
		s.mu.Lock()
		delete(s.waiting, current.id)
		s.mu.Unlock()
		if !current.returned {
			s.ended(current.job, current.literal)
		}
	}
}

// take returns the job to do now, after it has asked for the hashes of those
// that come next.
func (s *sender) take(ctx context.Context) (*outgoing, error) {
	if err := s.fill(ctx); err != nil || len(s.ahead) == 0 {
		return nil, err
	}
	current := s.ahead[0]
	s.ahead = s.ahead[1:]
	s.aheadBytes -= current.size()
	return current, s.fill(ctx)
}

func (s *sender) fill(ctx context.Context) error {
	for len(s.ahead) < maxAhead && s.aheadBytes <= mostAhead {
		wait := len(s.ahead) == 0 && s.idle()
		if wait {
			if err := s.c.flush(); err != nil {
				return err
			}
		}
		j, ok, err := s.next(ctx, wait, mostAhead-s.aheadBytes)
		if err != nil || !ok {
			return err
		}
		o := &outgoing{job: j, asked: j.from}
		if err := s.begin(o); err != nil {
			return err
		}
		s.ahead = append(s.ahead, o)
		s.aheadBytes += j.size()
	}
	return nil
}

// idle reports whether nothing has been begun that is not ended.
func (s *sender) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting) == 0
}

// begin registers a job and, where there is a basis, asks for its first hashes.
func (s *sender) begin(o *outgoing) error {
	compared := !o.kept && o.known() >= 0
	if compared {
		o.hashes = make(chan []byte, spansAhead)
	}
	s.mu.Lock()
	if s.waiting == nil {
		s.waiting = make(map[uint32]*outgoing)
	}
	s.waiting[o.id] = o
	s.mu.Unlock()
	if !compared {
		return nil
	}
	if err := s.announceFile(o); err != nil {
		return err
	}
	return s.ask(o)
}

// announceFile tells the receiver, once, what is about to come.
func (s *sender) announceFile(o *outgoing) error {
	if o.begun {
		return nil
	}
	o.begun = true
	return s.c.write(frameBegin, s.intro(o).b)
}

// intro is what begins a frame that introduces a file.
func (s *sender) intro(o *outgoing) *encoder {
	e := new(encoder).uint(uint64(o.id))
	if s.announce {
		e.job(o.job)
	}
	return e
}

// ask requests the hashes of the next spans of what the target has, as far as
// they matter and may be under way at a time.
func (s *sender) ask(o *outgoing) error {
	for o.pending < spansAhead && o.asked < o.known() {
		if o.isSure(o.asked) {
			o.asked += spanSize
			continue
		}
		if err := s.c.write(frameSums, new(encoder).uint(uint64(o.id)).int(o.asked).b); err != nil {
			return err
		}
		o.asked += spanSize
		o.pending++
	}
	return nil
}

// deliver takes a frame of hashes that the receiver answered.
func (s *sender) deliver(payload []byte) error {
	d := decoder{b: payload}
	id, offset := d.uint32(), d.int()
	hashes := append([]byte(nil), d.rest()...)
	if err := d.finish(); err != nil {
		return err
	}
	s.mu.Lock()
	o := s.waiting[id]
	s.mu.Unlock()
	if o == nil || offset < o.from || offset%spanSize != 0 || len(hashes)%hashSize != 0 || len(hashes) > hashesLength(spanSize) {
		return protocolError("hashes that were not asked for")
	}
	select {
	case o.hashes <- hashes:
		return nil
	default:
		return protocolError("more hashes than were asked for")
	}
}

// await returns the hashes of the span that was asked for first.
func (s *sender) await(ctx context.Context, o *outgoing) ([]byte, error) {
	if err := s.c.flush(); err != nil {
		return nil, err
	}
	o.pending--
	select {
	case h := <-o.hashes:
		return h, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// settle takes the hashes that are still to come for a job that ends early.
func (s *sender) settle(ctx context.Context, o *outgoing) error {
	for o.pending > 0 {
		if _, err := s.await(ctx, o); err != nil {
			return err
		}
	}
	return nil
}
