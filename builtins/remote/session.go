package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/warmrun/warmrun/walcore/hint"
)

// How long a session is waited for once nothing more is to be expected of it.
const (
	// quietAfterExit is how long output may pause after the command has
	// exited. A daemon that it has started and that holds its standard output
	// never ends the stream.
	quietAfterExit = time.Second
	// outputAfterExit bounds what can still be on its way from a command that
	// has exited: pipe, sshd's buffer and ssh's window are each far smaller.
	outputAfterExit = 16 << 20
	// drainAfterExit bounds the time for that, on the slowest of links.
	drainAfterExit = time.Minute
	// termGrace is how long a command has to end after SIGTERM.
	termGrace = 2 * time.Second
)

// session is one command on the node. x/crypto/ssh has a type for it, which
// waits for the end of the output before it tells that a command has exited.
type session struct {
	client  *Client
	hop     *hop
	command string
	channel ssh.Channel
	stderr  tail

	exited chan struct{} // closed when the exit status is known
	ended  chan struct{} // closed when nothing more will come, status or not
	status exitStatus    // to be read once exited is closed

	// For what comes after the exit: how often output arrived and how much,
	// and whether it is being written on.
	received atomic.Int64
	writing  atomic.Int32
}

// exitStatus is what the far side says of the end (RFC 4254, 6.10).
type exitStatus struct {
	code   int
	signal string
}

// open starts the command. The channel is opened in the background, because
// ssh cannot be told to give up on it.
func (c *Client) open(ctx context.Context, command string) (*session, error) {
	type result struct {
		s   *session
		err error
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	opened := make(chan result)
	c.spawn(func() {
		s, err := c.begin(command)
		select {
		case opened <- result{s, err}:
		case <-ctx.Done():
			if s != nil {
				s.terminate(termGrace, nil)
			}
		}
	})
	select {
	case r := <-opened:
		return r.s, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("start %s on %s: %w", shorten(command), c.last().target, context.Cause(ctx))
	}
}

func (c *Client) begin(command string) (*session, error) {
	h := c.last()
	channel, requests, err := h.client.OpenChannel("session", nil)
	if err != nil {
		return nil, h.explainOpen(command, err)
	}
	s := &session{client: c, hop: h, command: command, channel: channel, exited: make(chan struct{}), ended: make(chan struct{})}
	c.spawn(func() { s.listen(requests) })
	ok, err := channel.SendRequest("exec", true, ssh.Marshal(struct{ Command string }{command}))
	if err == nil && ok {
		return s, nil
	}
	_ = channel.Close() // nothing runs in it
	if err != nil {
		return nil, h.explainOpen(command, err)
	}
	return nil, fmt.Errorf("%s refuses to run %s", h.target, shorten(command))
}

// explainOpen tells a connection that broke from a server that has had enough.
func (h *hop) explainOpen(command string, err error) error {
	var refused *ssh.OpenChannelError
	if errors.As(err, &refused) {
		return hint.Wrap(fmt.Errorf("%s opens no session for %s: %w", h.target, shorten(command), err),
			"too many at once over one connection? MaxSessions in sshd_config on %s limits them", h.target.Alias)
	}
	return h.lostBy(err)
}

// lostBy is the error for work that failed with err. When that only says that
// the connection has ended, it is worth finding out why.
func (h *hop) lostBy(err error) error {
	wait := time.NewTimer(time.Second)
	defer wait.Stop()
	select {
	case <-h.gone:
		return h.lost()
	case <-wait.C:
		return &UnreachableError{Host: h.target.String(), Err: err}
	}
}

// listen takes what the far side says about the command.
func (s *session) listen(requests <-chan *ssh.Request) {
	defer close(s.ended)
	tell := sync.OnceFunc(func() { close(s.exited) })
	for r := range requests {
		switch r.Type {
		case "exit-status":
			var m struct{ Status uint32 }
			if ssh.Unmarshal(r.Payload, &m) == nil {
				s.status.code = int(m.Status)
				tell()
			}
		case "exit-signal":
			var m struct {
				Signal     string
				CoreDumped bool
				Message    string
				Language   string
			}
			if ssh.Unmarshal(r.Payload, &m) == nil {
				s.status = exitStatus{code: 128 + signalNumber(m.Signal), signal: m.Signal}
				tell()
			}
		}
		if r.WantReply {
			_ = r.Reply(false, nil) // an error ends the loop by itself
		}
	}
}

// signalNumber is the number of a signal that ssh names, or 0 (POSIX numbers,
// where these have one).
func signalNumber(name string) int {
	switch name {
	case "HUP":
		return 1
	case "INT":
		return 2
	case "QUIT":
		return 3
	case "ILL":
		return 4
	case "ABRT":
		return 6
	case "FPE":
		return 8
	case "KILL":
		return 9
	case "SEGV":
		return 11
	case "PIPE":
		return 13
	case "ALRM":
		return 14
	case "TERM":
		return 15
	}
	return 0
}

// result is nil for a command that succeeded. It may be called when exited or
// ended is closed.
func (s *session) result() error {
	select {
	case <-s.exited:
	default:
		return s.hop.lostBy(fmt.Errorf("no exit status of %s", shorten(s.command)))
	}
	if s.status == (exitStatus{}) {
		return nil
	}
	return &ExitError{
		Host: s.hop.target.String(), Command: s.command,
		Status: s.status.code, Signal: s.status.signal, Stderr: s.stderr.String(),
	}
}

// copyOutput writes on what arrives, until the gate is shut. After that, and
// after a failed write, the rest is thrown away, so that the command is not
// held up by a full window.
func (s *session) copyOutput(to *gate, from io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		s.received.Add(int64(n))
		s.writing.Add(1)
		if !to.pass(buf[:n]) {
			_ = s.signal("TERM") // it has nobody to write for
		}
		s.writing.Add(-1)
		if err != nil {
			return // a read fails only with the end of the stream
		}
	}
}

// drain waits, once the command has exited, until its output is complete or
// can only be that of a daemon it left behind.
func (s *session) drain(ctx context.Context, copied <-chan struct{}) {
	start, before := time.Now(), s.received.Load()
	quiet := time.NewTimer(quietAfterExit)
	defer quiet.Stop()
	seen := before
	for {
		select {
		case <-copied:
			return
		case <-ctx.Done():
			return
		case <-quiet.C:
		}
		now := s.received.Load()
		switch {
		case s.writing.Load() > 0: // our own side is slow
		case now == seen, now-before > outputAfterExit, time.Since(start) > drainAfterExit:
			return
		}
		seen = now
		quiet.Reset(quietAfterExit)
	}
}

// signal sends a signal to the command. sshd passes it to the command's
// process group, but not for root ("session signalling requires privilege
// separation").
func (s *session) signal(name string) error {
	_, err := s.channel.SendRequest("signal", false, ssh.Marshal(struct{ Signal string }{name}))
	return err
}

// terminate ends the command: by SIGTERM, and where that does not help by
// closing its standard streams. It does not wait for a far side that has
// stopped answering.
func (s *session) terminate(patience time.Duration, giveUp <-chan struct{}) {
	done := make(chan struct{})
	s.client.spawn(func() {
		defer close(done)
		_ = s.signal("TERM") // the channel may have ended
		grace := time.NewTimer(patience)
		defer grace.Stop()
		select {
		case <-s.exited:
		case <-s.ended:
		case <-grace.C:
		case <-giveUp:
		}
		_ = s.channel.Close()
	})
	limit := time.NewTimer(patience + termGrace)
	defer limit.Stop()
	select {
	case <-done:
	case <-limit.C:
	}
}

// hangUp closes the channel, without waiting for a far side that has stopped
// answering.
func (s *session) hangUp() {
	s.client.spawn(func() { _ = s.channel.Close() })
}

// interrupted is the error of a command that ctx has ended.
func (s *session) interrupted(ctx context.Context) error {
	why := fmt.Errorf("%s on %s: %w", shorten(s.command), s.hop.target, context.Cause(ctx))
	select {
	case <-s.exited:
	default:
		return why
	}
	var exit *ExitError
	if errors.As(s.result(), &exit) {
		return &interruptedError{why: why, exit: exit}
	}
	return why
}

// interruptedError is a command that ctx has ended and that told how it ended.
type interruptedError struct {
	why  error
	exit *ExitError
}

func (e *interruptedError) Error() string   { return e.why.Error() }
func (e *interruptedError) Unwrap() []error { return []error{e.why, e.exit} }
