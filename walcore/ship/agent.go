package ship

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/warmrun/warmrun/walcore"
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
	// acknowledged; it may wake servers that wait for the file. May be nil.
	Arrived func(ctx context.Context, name walcore.FileName)
	// Log gets a line for each file that was put, refused or not. May be nil.
	Log func(format string, args ...any)
	// Version is the program's, for messages.
	Version string
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

// maxWord bounds the strings of a request, which find their way into messages.
const maxWord = 256

// session is one client's.
type session struct {
	*frames
	cfg AgentConfig
}

func (s *session) serve(ctx context.Context) error {
	peer, err := s.greeting()
	if err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	if err := s.greet(s.cfg.Version); err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	if err := peer.checkVersion(); err != nil {
		return errors.Join(err, s.fail(err))
	}
	for ctx.Err() == nil {
		kind, payload, err := s.read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = s.request(ctx, kind, payload)
		}
		if errors.Is(err, errProtocol) {
			// The client may still be there to hear why.
			err = errors.Join(err, s.fail(err))
		}
		if err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// request answers one request. An error it returns ends the session; a
// request that fails does not.
func (s *session) request(ctx context.Context, kind byte, payload []byte) error {
	if kind != frameRequest {
		return protocolError("a frame of type %q where a request should be", kind)
	}
	var r request
	if err := decode(payload, &r); err != nil {
		return err
	}
	if max(len(r.Name), len(r.Op), len(r.Segment), len(r.Cut.By)) > maxWord {
		return protocolError("a request with a word of over %d characters", maxWord)
	}
	archive, err := walcore.OpenArchive(s.cfg.Archive)
	if err != nil {
		return s.fail(err)
	}
	switch r.Op {
	case opPut:
		return s.put(ctx, archive, r)
	case opGet:
		return s.get(ctx, archive, r.Name)
	case opList:
		return s.list(archive)
	}
	reply, err := answer(archive, r)
	if errors.Is(err, errProtocol) {
		return err
	}
	if err != nil {
		return s.fail(err)
	}
	return s.writeJSON(frameReply, reply)
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

func (s *session) fail(err error) error { return s.writeJSON(frameError, failureOf(err)) }

// put takes a file: the offer was read, now the answer, the data if need be,
// and the acknowledgement.
func (s *session) put(ctx context.Context, archive *walcore.Archive, r request) error {
	identical, err := archive.Offer(ctx, walcore.Offer{Name: r.Name, Size: r.Size, Digest: r.Digest, Provisional: r.Provisional})
	if err != nil {
		s.cfg.Log("did not store %s: %v", r.Name, err)
		return s.fail(err)
	}
	if err := s.writeJSON(frameReply, offerReply{Send: !identical}); err != nil {
		return err
	}
	if identical {
		return s.acknowledge(ctx, r.Name, walcore.PutResult{Identical: true})
	}
	body := &body{frames: s.frames, want: r.Digest}
	result, err := archive.Put(ctx, walcore.PutRequest{Name: r.Name, Size: r.Size, Body: body, Provisional: r.Provisional})
	if broken := body.drain(); broken != nil {
		return broken
	}
	if err != nil {
		s.cfg.Log("did not store %s: %v", r.Name, err)
		return s.fail(err)
	}
	return s.acknowledge(ctx, r.Name, result)
}

// acknowledge tells the client of a file that is on disk, then those who wait
// for it.
func (s *session) acknowledge(ctx context.Context, name walcore.FileName, result walcore.PutResult) error {
	err := s.writeJSON(frameReply, result)
	switch {
	case result.Identical:
		s.cfg.Log("%s was here already", name)
	case result.Replaced:
		s.cfg.Log("stored %s, %d bytes, in the place of a provisional copy", name, result.Bytes)
	default:
		s.cfg.Log("stored %s, %d bytes", name, result.Bytes)
	}
	s.cfg.Arrived(ctx, name)
	return err
}

func (s *session) get(ctx context.Context, archive *walcore.Archive, name walcore.FileName) error {
	f, reply, err := s.openFile(archive, name)
	if err != nil {
		return s.fail(err)
	}
	err = s.writeJSON(frameReply, reply)
	if err == nil {
		err = s.send(ctx, f)
	}
	return errors.Join(err, f.Close())
}

func (s *session) list(archive *walcore.Archive) error {
	names, err := archive.List()
	if err != nil {
		return s.fail(err)
	}
	if err := s.writeJSON(frameReply, struct{}{}); err != nil {
		return err
	}
	out := newSender(s.frames)
	for _, name := range names {
		if _, err := io.WriteString(out, string(name)+"\n"); err != nil {
			return err
		}
	}
	return out.end()
}
