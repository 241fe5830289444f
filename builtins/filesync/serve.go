package filesync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
)

// ServeConfig says what the far end of a copy may be asked to do.
type ServeConfig struct {
	// Allow, when set, is asked before a root is opened; write says whether
	// anything in it may be changed. Its error is sent to the other side.
	Allow func(root string, write bool) error
}

// Serve is the far end of a copy: it does what Push, Pull or a Remote at the
// other end of rw asks for, below the one root that is named when the stream
// is opened, and returns when the other end closes it. It trusts nothing that
// it reads. An error has been sent to the other end before it is returned.
//
// If rw is an io.Closer it is closed when ctx ends, and when the other end,
// which says every 15 seconds that it is there, has been silent for a minute.
// Close must then end a read or write that is under way.
func Serve(ctx context.Context, rw io.ReadWriter, cfg ServeConfig) error {
	return serve(ctx, rw, cfg, nil)
}

// serve is Serve, where the other end may be in this process.
func serve(ctx context.Context, rw io.ReadWriter, cfg ServeConfig, files *handover) error {
	if closer, ok := rw.(io.Closer); ok {
		life, giveUp := context.WithCancelCause(ctx)
		defer giveUp(nil)
		defer context.AfterFunc(life, func() { _ = closer.Close() })() // life's end is the error
		ctx, rw = life, newWatchdog(rw, func() { giveUp(errSilent) })
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &server{c: newConn(rw), cfg: cfg, cancel: cancel, files: files}
	err := s.serve(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	// First let go, so that nothing half done is left when the other end
	// learns of the failure.
	err = errors.Join(err, s.release(err))
	if err == nil || broken(err) {
		return err
	}
	s.fail(err)
	return err
}

// server is one stream of Serve.
type server struct {
	c      *conn
	cfg    ServeConfig
	cancel context.CancelCauseFunc
	role   role
	tree   *tree
	recv   *receiver // of roleReceive
	delete bool
	resume string // Options.Resume
	pack   Compression
	hash   hasher
	files  *handover

	jobs    chan job // of roleSend, to its sender; nil when there will be no more
	sender  *sender
	sending sync.WaitGroup
	sendErr error // valid after sending.Wait
}

func (s *server) serve(ctx context.Context) error {
	if err := s.greet(); err != nil {
		return err
	}
	for {
		if s.sender == nil && s.c.idle() {
			if err := s.c.flush(); err != nil {
				return err
			}
		}
		t, payload, err := s.c.read()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, io.EOF) && !s.busy() {
			return nil
		}
		if err != nil {
			return notEOF(err)
		}
		if t == frameAlive {
			continue
		}
		if err := s.handle(ctx, t, payload); err != nil {
			return err
		}
	}
}

// busy reports whether the other end should not have gone away now.
func (s *server) busy() bool { return s.recv != nil && len(s.recv.jobs) > 0 }

func (s *server) greet() error {
	t, payload, err := s.c.read()
	if err != nil {
		return notEOF(err)
	}
	if t != frameHello {
		return protocolError("the stream does not begin with a greeting")
	}
	if _, err := decodeGreeting(payload); err != nil {
		return err
	}
	return s.c.send(frameWelcome, greeting{Magic: magic, Version: protocolVersion, Machine: machineID()}.encode())
}

func (s *server) handle(ctx context.Context, t frameType, payload []byte) error {
	if t == frameOpen {
		return s.open(ctx, payload)
	}
	if s.tree == nil {
		return protocolError("a request before a root was opened")
	}
	if t == frameList {
		return s.list(ctx, payload)
	}
	switch s.role {
	case roleReceive:
		return s.receive(t, payload)
	case roleSend:
		return s.send(ctx, t, payload)
	default:
		return s.look(t, payload)
	}
}

func (s *server) open(ctx context.Context, payload []byte) error {
	r, err := decodeOpen(payload)
	if err != nil {
		return err
	}
	if s.tree != nil || r.Role < roleReceive || r.Role > roleLook {
		return protocolError("a root opened twice, or for nothing")
	}
	if s.cfg.Allow != nil {
		if err := s.cfg.Allow(r.Root, r.Role != roleSend); err != nil {
			return err
		}
	}
	t, err := openTree(ctx, r.Root, treeOptions{create: r.Create && r.Role != roleSend, follow: r.FollowRoot, exclude: r.Lock,
		share: r.Role == roleReceive && !r.Lock, copy: r.Copy})
	if err != nil {
		return err
	}
	s.tree, s.role, s.delete, s.pack = t, r.Role, r.Delete, r.Compress
	if s.hash, err = newHasher(r.Key); err != nil {
		return err
	}
	if r.Same != (identity{}) && r.Same != t.id {
		return fmt.Errorf("%s was replaced by another directory while the copy began", r.Root)
	}
	if r.Role != roleSend {
		s.recv = newReceiver(t)
		s.recv.inPlace, s.recv.remove = r.InPlace, r.Delete
		s.recv.answer = s.c.write
		s.recv.unpack.how, s.recv.hash, s.recv.files = r.Compress, s.hash, s.files
		s.recv.describe = func(id uint32, d *decoder) (job, error) {
			j := d.job()
			j.id = id
			return j, d.err
		}
		s.recv.ended = s.ended
		s.resume = r.Resume
		if r.Role == roleReceive && (!r.InPlace || r.Resume != "") {
			s.recv.notes = newNotekeeper(t.root)
		}
	}
	return s.c.send(frameOpened, openReply{Same: t.id, Owners: os.Geteuid() == 0}.encode())
}

// list sends the tree in frames of many entries.
func (s *server) list(ctx context.Context, payload []byte) error {
	prune, err := decodeFilter(payload)
	if err != nil {
		return err
	}
	// Not before: while this side waited for its lock the other may have gone, and
	// another copy may have come to its end.
	if s.role == roleReceive {
		if err := s.begin(); err != nil {
			return err
		}
	}
	var batch encoder
	flush := func() error {
		err := s.c.write(frameEntries, batch.b)
		batch.b = batch.b[:0]
		return err
	}
	emit := func(e Entry) error {
		batch.entry(e)
		if len(batch.b) < bufferSize {
			return nil
		}
		return flush()
	}
	if err := s.walk(ctx, prune, emit); err != nil {
		return err
	}
	return errors.Join(flush(), s.c.send(frameListed))
}

// begin begins to receive a copy, and tells what earlier ones have noted.
func (s *server) begin() error {
	if err := s.recv.beginCopy(s.resume); err != nil {
		return err
	}
	notes, err := s.recv.takeNotes()
	for _, f := range notes {
		err = errors.Join(err, s.c.write(frameNoted, f.encode()))
	}
	return err
}

func (s *server) walk(ctx context.Context, prune filter, emit func(Entry) error) error {
	if s.role == roleReceive {
		return s.recv.list(ctx, prune, emit)
	}
	w := walker{root: s.tree.root, prune: prune, names: newOwners(), links: newLinkIDs(prune.links), emit: emit}
	return w.run(ctx)
}

// receive does what a push asks for.
func (s *server) receive(t frameType, payload []byte) error {
	if mine, err := s.recv.handle(t, payload); mine {
		return err
	}
	switch t {
	case frameMkdir, frameSymlink, frameMeta:
		return s.change(t, payload)
	case frameRemove:
		name, err := decodePath(payload)
		if err != nil {
			return err
		}
		return s.recv.removeEntry(name)
	case frameLink:
		d := decoder{b: payload}
		name, to := d.string(), d.string()
		if err := d.finish(); err != nil {
			return err
		}
		return s.recv.hardLink(name, to)
	case frameFinish:
		f, err := decodeFinish(payload)
		if err != nil {
			return err
		}
		return s.recv.finish(f)
	case frameBarrier:
		return s.c.send(frameDone)
	case frameSync:
		if err := s.recv.sync(); err != nil {
			return err
		}
		return s.c.send(frameDone)
	}
	return protocolError("an unexpected request of type %d", t)
}

// ended tells the other end what became of a part: it has the parts on other
// streams as well, and finishes the file when all are there.
func (s *server) ended(j job, o outcome) error {
	if !j.isPart() {
		return nil
	}
	return s.c.write(framePart, encodeOutcome(j.id, o))
}

func (s *server) change(t frameType, payload []byte) error {
	e, err := decodeEntry(payload)
	if err != nil {
		return err
	}
	return s.make(t, e)
}

func (s *server) make(t frameType, e Entry) error {
	switch {
	case t == frameMeta:
		return s.recv.meta(e)
	case t == frameMkdir && e.Kind == Dir:
		return s.recv.mkdir(e)
	case t == frameSymlink && e.Kind == Symlink:
		return s.recv.symlink(e)
	}
	return protocolError("%q is of the wrong kind", e.Path)
}

// release lets go of everything. err is why. A sender that still waits for
// requests is stopped, so that it cannot take their end for a good one.
func (s *server) release(err error) error {
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	s.cancel(err)
	s.sending.Wait()
	errs := []error{s.sendErr}
	if s.recv != nil {
		errs = append(errs, s.recv.close())
	}
	if s.tree != nil {
		errs = append(errs, s.tree.close())
	}
	return errors.Join(slices.DeleteFunc(errs, func(e error) bool { return e == nil })...)
}

// fail tells the other end what went wrong, and reads on meanwhile, because it
// may be in the middle of sending and not listening yet.
func (s *server) fail(err error) {
	var told sync.WaitGroup
	told.Go(func() { _ = s.c.send(frameFail, encodeFailure(err)) }) // if it cannot be told it will find out
	_, _ = io.Copy(io.Discard, s.c.r)
	told.Wait()
}
