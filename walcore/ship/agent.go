package ship

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/fault"
	"github.com/warmrun/warmrun/walcore/packed"
)

// AgentConfig is what an agent is told by whoever started it, and never by its
// client.
type AgentConfig struct {
	// Archive is the directory, the only one that the agent touches. Where it
	// is not there, requests fail with walcore.ErrNoArchive; it is not made.
	Archive string
	// WALDir is the pg_wal of the server on this node. What the archive lacks
	// is read from there, if that server has finished with it; "" for never.
	WALDir string
	// Arrived is called for each file that has become durable, after it was
	// acknowledged; it may wake servers that wait for the file. Calls may come
	// from several goroutines at once. May be nil.
	Arrived func(ctx context.Context, name walcore.FileName)
	// Log gets a line for each file that was put, refused or not. May be nil.
	Log func(format string, args ...any)
	// Version is the program's, for messages.
	Version string
	// Restricted refuses, with ErrRestricted, what a key that may only ship WAL
	// has no need of: to raise or lower the fence, and to move the watermark.
	Restricted bool
}

// Serve answers one client until it closes the stream, which is no error. It
// holds little memory whatever the client sends, writes no file but WAL files
// of its archive, and reads no other but finished ones of WALDir. What breaks
// the protocol ends the session with an error. A put is acknowledged when
// walcore.Archive.Put has returned, and not before.
//
// A client that hangs up early makes writes to a pipe end in SIGPIPE, which the
// program must ignore for Arrived to be called even then.
//
// When ctx ends, Serve closes rw if that can be closed; otherwise a read that
// is under way has to end first.
func Serve(ctx context.Context, rw io.ReadWriter, cfg AgentConfig) error {
	if cfg.Log == nil {
		cfg.Log = func(string, ...any) {}
	}
	if cfg.Arrived == nil {
		cfg.Arrived = func(context.Context, walcore.FileName) {}
	}
	if c, ok := rw.(io.Closer); ok {
		stop := context.AfterFunc(ctx, func() { _ = c.Close() }) // only to end a read
		defer stop()
	}
	s := &session{frames: newFrames(rw), cfg: cfg}
	err := s.serve(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// session is one client's.
type session struct {
	*frames
	cfg     AgentConfig
	uploads uploads
}

func (s *session) serve(ctx context.Context) error {
	peer, err := s.greeting()
	if err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	if err := s.greet(hello{Program: s.cfg.Version, Restricted: s.cfg.Restricted, Stores: packed.Forms()}); err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	if err := peer.checkVersion(); err != nil {
		return errors.Join(err, s.fail(0, err))
	}
	// Files that have come whole are stored even if the client has gone.
	defer s.uploads.finish()
	for ctx.Err() == nil {
		f, err := s.read(s.uploads.memory)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = s.take(ctx, f)
		}
		if errors.Is(err, errProtocol) {
			// The client may still be there to hear why.
			err = errors.Join(err, s.fail(f.request, err))
		}
		if err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// take does what one frame asks for. An error it returns ends the session.
func (s *session) take(ctx context.Context, f frame) error {
	switch f.kind {
	case frameRequest:
		err := s.request(ctx, f.request, f.payload)
		s.uploads.recycle(f.payload)
		return err
	case frameData, frameS2, frameZstd, frameLZ4, frameZeros, frameEnd, frameAbort:
		return s.uploads.feed(f)
	}
	return protocolError("a frame of type %q where a request should be", f.kind)
}

// request answers one request. An error it returns ends the session; a
// request that fails does not.
func (s *session) request(ctx context.Context, id uint32, payload []byte) error {
	var r request
	if err := decode(payload, &r); err != nil {
		return err
	}
	if max(len(r.Name), len(r.Op), len(r.Segment), len(r.Cut.By), len(r.Form)) > maxWord {
		return protocolError("a request with a word of over %d characters", maxWord)
	}
	if s.cfg.Restricted && !r.Op.ships() {
		s.cfg.Log("refused %q: %v", r.Op, ErrRestricted)
		return s.fail(id, r.Op.restricted())
	}
	archive, err := walcore.OpenArchive(s.cfg.Archive)
	if err != nil {
		return s.fail(id, err)
	}
	switch r.Op {
	case opPut:
		return s.put(ctx, id, archive, r)
	case opGet:
		return s.get(ctx, id, archive, r.Name)
	case opList:
		return s.list(id, archive)
	}
	reply, err := answer(archive, r)
	if errors.Is(err, errProtocol) {
		return err
	}
	if err != nil {
		return s.fail(id, err)
	}
	return s.sendJSON(frameReply, id, reply)
}

// answer does the requests that one reply is enough for.
func answer(archive *walcore.Archive, r request) (reply any, err error) {
	switch r.Op {
	case opDigest:
		sum, size, err := archive.Digest(r.Name)
		return digestReply{sum, size}, err
	case opStamp:
		stamp, stamped, err := archive.Stamp()
		return stampReply{stamp, stamped}, err
	case opFence:
		return archive.Fence()
	case opRaiseFence:
		return struct{}{}, archive.RaiseFence(r.Cut)
	case opLowerFence:
		return struct{}{}, archive.LowerFence(r.Epoch)
	case opChain:
		return archive.Chain(r.Segment)
	case opWatermark:
		segment, noted, err := archive.Watermark()
		return watermarkReply{segment, noted}, err
	case opSetWatermark:
		return struct{}{}, archive.SetWatermark(r.Segment)
	case opProvisionals:
		return archive.Provisionals()
	case opPing:
		return struct{}{}, nil
	}
	return nil, protocolError("an unknown request %q", r.Op)
}

func (s *session) fail(id uint32, err error) error {
	return s.sendJSON(frameError, id, failureOf(err))
}

// put answers the offer of a file. What is wanted is taken in while the next
// requests are read.
func (s *session) put(ctx context.Context, id uint32, archive *walcore.Archive, r request) error {
	fault.At(fault.AgentOffer)
	if err := r.Form.Check(); err != nil {
		return s.fail(id, err)
	}
	if r.Digest == (digest{}) && archive.Knows(r.Name, r.Size) {
		return s.sendJSON(frameReply, id, offerReply{Known: true})
	}
	identical, err := archive.Offer(ctx, walcore.Offer{Name: r.Name, Size: r.Size, Digest: r.Digest, Provisional: r.Provisional})
	if err != nil {
		s.cfg.Log("did not store %s: %v", r.Name, err)
		return s.fail(id, err)
	}
	if identical {
		if err := s.sendJSON(frameReply, id, offerReply{}); err != nil {
			return err
		}
		return s.acknowledge(ctx, id, r.Name, walcore.PutResult{Identical: true})
	}
	u, err := s.uploads.begin(id)
	if err != nil {
		return err
	}
	s.uploads.run(func() { s.store(ctx, u, archive, r) })
	return s.sendJSON(frameReply, id, offerReply{Send: true})
}

// store takes one file in, beside others. It gets its name after the files that
// were offered before it, so that a reader of the archive sees no gap that is
// none. What goes wrong with the stream is found by the session's reader too.
func (s *session) store(ctx context.Context, u *upload, archive *walcore.Archive, r request) {
	in := &body{next: u.next, done: s.uploads.recycle, left: r.Size, unpack: s.uploads.codecs.take()}
	result, err := archive.Put(ctx, walcore.PutRequest{
		Name: r.Name, Size: r.Size, Body: in, Form: r.Form, Provisional: r.Provisional, Turn: u.turn, Step: u.step,
	})
	u.settle()
	switch {
	case in.broken != nil:
	case err != nil:
		s.cfg.Log("did not store %s: %v", r.Name, err)
		err = s.fail(u.id, err)
	default:
		err = s.acknowledge(ctx, u.id, r.Name, result)
	}
	if broken := in.drain(); broken != nil {
		err = broken
	}
	s.uploads.codecs.give(in.unpack)
	s.uploads.end(u, err)
}

// acknowledge tells the client of a file that is on disk, then those who wait
// for it.
func (s *session) acknowledge(ctx context.Context, id uint32, name walcore.FileName, result walcore.PutResult) error {
	fault.At(fault.AgentAcknowledge)
	err := s.sendJSON(frameReply, id, result)
	switch {
	case result.Identical:
		s.cfg.Log("%s was here already", name)
	case result.Replaced:
		s.cfg.Log("stored %s, %d bytes, in the place of a provisional copy", name, result.Bytes)
	default:
		s.cfg.Log("stored %s, %d bytes", name, result.Bytes)
	}
	fault.At(fault.AgentWake)
	s.cfg.Arrived(ctx, name)
	return err
}

func (s *session) get(ctx context.Context, id uint32, archive *walcore.Archive, name walcore.FileName) error {
	f, reply, err := s.openFile(archive, name)
	if err != nil {
		return s.fail(id, err)
	}
	pack, err := newPacker(cluster.CompressS2)
	if err == nil {
		err = s.sendJSON(frameReply, id, reply)
	}
	if err == nil {
		err = newSender(s.frames, id, pack).sendAll(ctx, f, func() error { return nil })
	}
	var told *answerError // the client has heard of it
	if errors.As(err, &told) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

func (s *session) list(id uint32, archive *walcore.Archive) error {
	names, err := archive.List()
	if err != nil {
		return s.fail(id, err)
	}
	if err := s.sendJSON(frameReply, id, struct{}{}); err != nil {
		return err
	}
	out := newSender(s.frames, id, asIs)
	lines := bufio.NewWriterSize(out, dataPayload)
	for _, name := range names {
		if _, err := lines.WriteString(string(name) + "\n"); err != nil {
			return err
		}
	}
	if err := lines.Flush(); err != nil {
		return err
	}
	return out.end()
}
