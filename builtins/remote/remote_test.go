package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/warmrun/warmrun/builtins/remote/sshdtest"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// home is a user's home directory with an ssh configuration.
type home struct {
	t        *testing.T
	dir      string
	env      map[string]string
	warnings []string
	mu       sync.Mutex
}

func newHome(t *testing.T) *home {
	t.Helper()
	h := &home{t: t, dir: t.TempDir(), env: map[string]string{}}
	if err := os.Mkdir(filepath.Join(h.dir, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *home) path(name string) string { return filepath.Join(h.dir, ".ssh", name) }

func (h *home) write(name, format string, args ...any) string {
	h.t.Helper()
	path := h.path(name)
	if err := os.WriteFile(path, fmt.Appendf(nil, format, args...), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return path
}

func (h *home) options() Options {
	return Options{
		HomeDir: h.dir, SystemDir: filepath.Join(h.dir, "etc"),
		Getenv: func(name string) string { return h.env[name] },
		Warn: func(w string) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.warnings = append(h.warnings, w)
		},
	}
}

func node(s *sshdtest.Server) cluster.Node {
	return cluster.Node{Name: "db2", Host: s.Host, SSH: s.SSH()}
}

func timeout(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// dial connects, and closes when the test ends.
func dial(t *testing.T, n cluster.Node, o Options) *Client {
	t.Helper()
	c, err := Dial(timeout(t), n, o)
	if err != nil {
		t.Fatalf("Dial: %v (hint: %s)", err, hint.Of(err))
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return c
}

// sharedDir is a directory that the user on the far side can write to.
func sharedDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "remotetest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// wantError checks that an error and its hint say what an operator needs.
func wantError(t *testing.T, err error, text, advice string) {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want one with %q", text)
	}
	if !strings.Contains(err.Error(), text) {
		t.Errorf("error is %q, want it to contain %q", err, text)
	}
	if got := hint.Of(err); !strings.Contains(got, advice) {
		t.Errorf("hint is %q, want it to contain %q", got, advice)
	}
}

func TestOutput(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Config{})
	c := dial(t, node(s), newHome(t).options())
	for _, test := range []struct{ command, in, want string }{
		{"echo hello", "", "hello\n"},
		{"id -un", "", s.User + "\n"},
		{"tr a-z A-Z", "through and through", "THROUGH AND THROUGH"},
		{"cat", "", ""},
		{"echo out; echo err >&2", "", "out\n"},
		{"printf '%s\n' " + Quote("", "a b", "it's", "$HOME", "~", "x=1", "\n*"), "", "\na b\nit's\n$HOME\n~\nx=1\n\n*\n"},
		{"exec 1>&- 2>&-; cat >/dev/null", "ignored", ""},
		{"true", strings.Repeat("not read", 1<<20), ""},
	} {
		got, err := c.Output(timeout(t), test.command, strings.NewReader(test.in))
		if err != nil || string(got) != test.want {
			t.Errorf("Output(%q) = %q, %v, want %q", test.command, got, err, test.want)
		}
	}
	if c.User() != s.User {
		t.Errorf("User() = %q, want %q", c.User(), s.User)
	}
}

func TestExitError(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Config{})
	c := dial(t, node(s), newHome(t).options())
	for _, test := range []struct {
		command, signal, stderr, text string
		status                        int
	}{
		{"exit 3", "", "", "exit status 3", 3},
		{"echo one >&2; echo two >&2; exit 255", "", "one\ntwo\n", "exit status 255: one; two", 255},
		{"kill -KILL $$", "KILL", "", "killed by SIGKILL", 137},
		{"no-such-program", "", "", "exit status 127: ", 127},
		{"yes long line of stderr | head -c 100000 >&2; exit 1", "", "", "exit status 1: ", 1},
	} {
		var live bytes.Buffer
		err := c.Run(timeout(t), test.command, Streams{Err: &live})
		var exit *ExitError
		if !errors.As(err, &exit) {
			t.Errorf("Run(%q) = %v, want an ExitError", test.command, err)
			continue
		}
		if exit.Status != test.status || exit.Signal != test.signal {
			t.Errorf("Run(%q): status %d, signal %q, want %d, %q", test.command, exit.Status, exit.Signal, test.status, test.signal)
		}
		if test.stderr != "" && exit.Stderr != test.stderr {
			t.Errorf("Run(%q): stderr %q, want %q", test.command, exit.Stderr, test.stderr)
		}
		if len(exit.Stderr) > tailSize || !strings.HasSuffix(live.String(), exit.Stderr) {
			t.Errorf("Run(%q): the tail of %d bytes is not the end of the %d bytes written", test.command, len(exit.Stderr), live.Len())
		}
		if !strings.Contains(err.Error(), test.text) {
			t.Errorf("Run(%q) = %q, want it to contain %q", test.command, err, test.text)
		}
		if Unreachable(err) {
			t.Errorf("Run(%q): Unreachable is true for a command that ran", test.command)
		}
	}
}

// TestLargeStreams sends and receives far more than ssh's windows hold, over
// several sessions of one connection at once.
func TestLargeStreams(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Config{})
	c := dial(t, node(s), newHome(t).options())
	data := make([]byte, 16<<20)
	for i := range data {
		data[i] = byte(i * i >> 7)
	}
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			sent := data[:len(data)-i*1000]
			got, err := c.Output(timeout(t), "cat; exit 0", bytes.NewReader(sent))
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("session %d: %d bytes back of %d, equal %v, error %v", i, len(got), len(sent), bytes.Equal(got, sent), err)
			}
		})
	}
	all.Wait()
}

// TestSlowReader has a command exit long before its output is written on.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Config{})
	c := dial(t, node(s), newHome(t).options())
	w := &slowWriter{wait: quietAfterExit + 500*time.Millisecond}
	if err := c.Run(timeout(t), "head -c 1500000 /dev/zero", Streams{Out: w}); err != nil {
		t.Fatal(err)
	}
	if w.n != 1500000 {
		t.Errorf("got %d bytes, want 1500000", w.n)
	}
}

// slowWriter takes its time over the first write.
type slowWriter struct {
	wait time.Duration
	n    int
}

func (w *slowWriter) Write(p []byte) (int, error) {
	if w.n == 0 {
		<-time.After(w.wait)
	}
	w.n += len(p)
	return len(p), nil
}

// TestDaemonHoldsStreams: a server that pg_ctl starts may keep the session's
// standard output open.
func TestDaemonHoldsStreams(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Config{})
	c := dial(t, node(s), newHome(t).options())
	start := time.Now()
	out, err := c.Output(timeout(t), "sleep 20 & echo started $!", nil)
	if err != nil || !strings.HasPrefix(string(out), "started ") {
		t.Errorf("Output = %q, %v, want the line of the command", out, err)
	}
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("took %s, want about %s", took, quietAfterExit)
	}
	if _, err := c.Output(timeout(t), "kill "+strings.TrimPrefix(string(out), "started "), nil); err != nil {
		t.Errorf("end the daemon: %v", err)
	}
}

func TestCancel(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Config{})
	c := dial(t, node(s), newHome(t).options())
	witness := filepath.Join(sharedDir(t), "terminated")
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the operator typed Ctrl-C")
	lines := writerFunc(func(p []byte) (int, error) {
		cancel(cause)
		return len(p), nil
	})
	command := fmt.Sprintf("trap 'touch %s; exit 1' TERM; echo ready; while :; do sleep 0.1; done", witness)
	start := time.Now()
	err := c.Run(ctx, command, Streams{Out: lines})
	if !errors.Is(err, cause) || Unreachable(err) {
		t.Errorf("Run = %v, want the cause of the cancellation", err)
	}
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("Run ended %s after it began", took)
	}
	if _, err := c.Output(timeout(t), "test -e "+witness, nil); err != nil {
		t.Errorf("the command got no SIGTERM: %v", err)
	}
	if _, err := c.Output(ctx, "true", nil); !errors.Is(err, cause) {
		t.Errorf("Output with a canceled context = %v, want its cause", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestFailedWriterEndsCommand(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Config{})
	c := dial(t, node(s), newHome(t).options())
	full := errors.New("no space left on device")
	err := c.Run(timeout(t), "yes", Streams{Out: writerFunc(func([]byte) (int, error) { return 0, full })})
	if !errors.Is(err, full) {
		t.Errorf("Run = %v, want %v", err, full)
	}
}

func TestConnectionLost(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Config{})
	c := dial(t, node(s), newHome(t).options())
	stop := writerFunc(func(p []byte) (int, error) {
		go s.Stop()
		return len(p), nil
	})
	err := c.Run(timeout(t), "echo ready; sleep 20", Streams{Out: stop})
	if !Unreachable(err) {
		t.Errorf("Run = %v, want an unreachable host", err)
	}
	for range 2 {
		if _, err := c.Output(timeout(t), "true", nil); !Unreachable(err) {
			t.Errorf("Output over a broken connection = %v, want an unreachable host", err)
		}
		if _, err := c.DialUnix(timeout(t), "/nowhere"); !Unreachable(err) {
			t.Errorf("DialUnix over a broken connection = %v, want an unreachable host", err)
		}
	}
}

// TestSilentPeer cuts a connection whose far side is up but says nothing.
func TestSilentPeer(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Config{})
	h := newHome(t)
	gate := newRelay(t, net.JoinHostPort(s.Host, fmt.Sprint(s.Port)))
	h.write("known", "alias %s", s.HostKeyLine[strings.Index(s.HostKeyLine, " ")+1:])
	h.write("config", "ServerAliveInterval 1\nServerAliveCountMax 1\nHostKeyAlias alias\n")
	n := node(s)
	n.SSH.Port, n.SSH.KnownHosts = gate.port, "~/.ssh/known"
	c := dial(t, n, h.options())
	if _, err := c.Output(timeout(t), "sleep 3", nil); err != nil {
		t.Fatalf("a peer that answers was cut off: %v", err)
	}
	silence := writerFunc(func(p []byte) (int, error) {
		gate.hold()
		return len(p), nil
	})
	err := c.Run(timeout(t), "echo ready; sleep 30", Streams{Out: silence})
	if !Unreachable(err) || !strings.Contains(err.Error(), "no sign of life") {
		t.Errorf("Run = %v, want a host that gives no sign of life", err)
	}
}
