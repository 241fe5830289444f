package remote

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/builtins/remote/sshdtest"
)

func TestStream(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Config{})
	c := dial(t, node(s), newHome(t).options())
	stream, err := c.Start(timeout(t), "cat")
	if err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<18)
	received := make([]byte, len(data))
	done := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(stream, received)
		done <- err
	}()
	if n, err := stream.Write(data); n != len(data) || err != nil {
		t.Fatalf("Write = %d, %v", n, err)
	}
	if err := <-done; err != nil || !bytes.Equal(received, data) {
		t.Errorf("Read: %v, equal %v", err, bytes.Equal(received, data))
	}
	for range 2 {
		if err := stream.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
	if _, err := stream.Read(received); err == nil {
		t.Error("Read of a closed stream succeeded")
	}
	if _, err := stream.Write(data); err == nil {
		t.Error("Write to a closed stream succeeded")
	}
}

func TestStreamEnds(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Config{})
	c := dial(t, node(s), newHome(t).options())
	for _, test := range []struct {
		command, output string
		status          int
	}{
		{"echo done", "done\n", 0},
		{"echo partly; echo why >&2; exit 7", "partly\n", 7},
		{"no-such-agent", "", 127},
		{"sleep 20 & echo bye; exit 3", "bye\n", 3},
		{"cat >/dev/null; head -c 300000 /dev/zero; exit 4", "", 4}, // nobody reads that
	} {
		var live bytes.Buffer
		stream, err := c.StartStream(timeout(t), test.command, &live)
		if err != nil {
			t.Fatal(err)
		}
		if test.output != "" {
			line, err := bufio.NewReader(stream).ReadString('\n')
			if line != test.output || err != nil {
				t.Errorf("%q: read %q, %v, want %q", test.command, line, err, test.output)
			}
		}
		start := time.Now()
		err = stream.Close()
		var exit *ExitError
		if test.status == 0 && err != nil || test.status != 0 && (!errors.As(err, &exit) || exit.Status != test.status) {
			t.Errorf("%q: Close = %v, want status %d", test.command, err, test.status)
		}
		if took := time.Since(start); took > 15*time.Second {
			t.Errorf("%q: Close took %s", test.command, took)
		}
		if exit != nil && exit.Stderr != live.String() {
			t.Errorf("%q: tail %q, live %q", test.command, exit.Stderr, live.String())
		}
	}
}

// TestStreamTellsWhyItEnded: a protocol that meets the end of the stream shows
// the command's own error, not "unexpected EOF".
func TestStreamTellsWhyItEnded(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Config{})
	c := dial(t, node(s), newHome(t).options())
	stream, err := c.Start(timeout(t), "echo 'warmrun: error: no archive' >&2; exit 1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.ReadAll(stream)
	var exit *ExitError
	if !errors.As(err, &exit) || !strings.Contains(err.Error(), "no archive") {
		t.Errorf("Read = %v, want what the command said", err)
	}
	if _, err = stream.Write([]byte("x")); !errors.As(err, &exit) {
		t.Errorf("Write = %v, want the command's error", err)
	}
	if err := stream.Close(); !errors.As(err, &exit) {
		t.Errorf("Close = %v, want the command's error", err)
	}
}

func TestStreamHalfClose(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Config{})
	c := dial(t, node(s), newHome(t).options())
	stream, err := c.StartStream(timeout(t), "sort", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(stream, "b\na\n"); err != nil {
		t.Fatal(err)
	}
	if err := stream.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(stream); string(got) != "a\nb\n" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	if err := stream.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
}

func TestStreamCancel(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Config{})
	c := dial(t, node(s), newHome(t).options())
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := c.Start(ctx, "sleep 30")
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(100*time.Millisecond, cancel)
	start := time.Now()
	if _, err := stream.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("Read = %v, want %v", err, context.Canceled)
	}
	if err := stream.Close(); !errors.Is(err, context.Canceled) {
		t.Errorf("Close = %v, want %v", err, context.Canceled)
	}
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestStreamLost(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Config{})
	c := dial(t, node(s), newHome(t).options())
	stream, err := c.Start(timeout(t), "echo ready; sleep 30")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(stream).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	if _, err := stream.Read(make([]byte, 1)); !Unreachable(err) {
		t.Errorf("Read = %v, want an unreachable host", err)
	}
	if err := stream.Close(); !Unreachable(err) {
		t.Errorf("Close = %v, want an unreachable host", err)
	}
}

// TestDeadPeerObeysContext: with a peer that takes nothing any more, a
// cancellation still ends everything at once.
func TestDeadPeerObeysContext(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Config{})
	h := newHome(t)
	r := newRelay(t, fmt.Sprintf("%s:%d", s.Host, s.Port))
	n := node(s)
	h.write("config", "HostKeyAlias alias\n")
	h.write("known", "alias %s\n", hostKey(s))
	n.SSH.Port, n.SSH.KnownHosts = r.port, "~/.ssh/known"
	c := dial(t, n, h.options())
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := c.Start(ctx, "cat >/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	r.hold()
	time.AfterFunc(500*time.Millisecond, cancel)
	start := time.Now()
	for err == nil {
		_, err = stream.Write(make([]byte, 1<<20))
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Write = %v, want %v", err, context.Canceled)
	}
	if err := c.Run(ctx, "true", Streams{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want %v", err, context.Canceled)
	}
	if err := stream.Close(); !errors.Is(err, context.Canceled) {
		t.Errorf("Close = %v, want %v", err, context.Canceled)
	}
	if err := c.Close(); err != nil {
		t.Errorf("Close of the client = %v", err)
	}
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("took %s", took)
	}
}

// TestStreamEndsBeforeItsCommand: a busy machine may take its time between the
// end of a command's output and its exit.
func TestStreamEndsBeforeItsCommand(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Config{})
	c := dial(t, node(s), newHome(t).options())
	stream, err := c.Start(timeout(t), "echo 'warmrun: error: no archive' >&2; exec >&- 2>&-; sleep 1.5; exit 1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.ReadAll(stream)
	var exit *ExitError
	if !errors.As(err, &exit) || !strings.Contains(err.Error(), "no archive") {
		t.Errorf("Read = %v, want what the command said", err)
	}
	if err := stream.Close(); !errors.As(err, &exit) {
		t.Errorf("Close = %v, want the command's error", err)
	}
}
