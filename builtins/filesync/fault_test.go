package filesync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warmrun/warmrun/walcore/hint"
)

// twoVersions makes a source and an older target of it.
func twoVersions(t *testing.T) (from, to string) {
	t.Helper()
	from, to = t.TempDir(), t.TempDir()
	for i := range 40 {
		name := fmt.Sprintf("d%d/f%d", i%3, i)
		write(t, from, name, noise(uint64(i), 100+i*7000))
		if i%2 == 0 {
			write(t, to, name, noise(uint64(1000+i), 50+i*7100))
		}
	}
	return from, to
}

// checkOldOrNew fails if any file of the target is neither what it was nor
// what it should become.
func checkOldOrNew(t *testing.T, got, before, after map[string]string) {
	t.Helper()
	for name, line := range got {
		if strings.HasPrefix(line, "d") {
			continue
		}
		if line != before[name] && line != after[name] {
			t.Errorf("%s is neither old nor new: %.120s", name, line)
		}
	}
}

// TestCutConnection cuts each copy after a different number of bytes. What has
// its final name must be whole, and the next copy must end right.
func TestCutConnection(t *testing.T) {
	t.Parallel()
	cut := errors.New("cut here")
	bothWays(t, func(t *testing.T, _ func(from, to string, o Options) (Summary, error)) {
		copyTree := Push
		if strings.HasSuffix(t.Name(), "pull") {
			copyTree = Pull
		}
		from, to := twoVersions(t)
		after := snapshot(t, from)
		for limit := 10; limit < 5<<20; limit = limit*5/3 + 9 {
			before := snapshot(t, to)
			far := newFarEnds(t)
			far.wrap = func(rw io.ReadWriteCloser) io.ReadWriteCloser {
				return &tripwire{ReadWriteCloser: rw, left: limit, trip: func() error { _ = rw.Close(); return cut }}
			}
			_, err := copyTree(t.Context(), far.dial, from, to, Options{Streams: 2})
			far.wait.Wait()
			if err == nil && limit < 1<<20 {
				t.Errorf("cut after %d bytes: got no error", limit)
			}
			checkNoTemps(t, to)
			checkOldOrNew(t, snapshot(t, to), before, after)
		}
		_, err := copyTree(t.Context(), newFarEnds(t).dial, from, to, Options{})
		must(t, err)
		checkSame(t, to, from)
	})
}

// TestKilledFarEnd kills the process on the other side. What it leaves behind
// is swept away by the next copy.
func TestKilledFarEnd(t *testing.T) {
	t.Parallel()
	from, to := twoVersions(t)
	after := snapshot(t, from)
	for limit := 1000; limit < 4<<20; limit *= 3 {
		before := snapshot(t, to)
		dial := func(ctx context.Context) (io.ReadWriteCloser, error) {
			rw, err := processDialer(ctx)
			if err != nil {
				return nil, err
			}
			p := rw.(*process)
			return &tripwire{ReadWriteCloser: p, left: limit, trip: p.cmd.Process.Kill}, nil
		}
		_, err := Push(t.Context(), dial, from, to, Options{Streams: 2})
		if err == nil && limit < 1<<20 {
			t.Errorf("killed after %d bytes: got no error", limit)
		}
		got := snapshot(t, to)
		for name := range got {
			if isTemp(name) {
				delete(got, name)
			}
		}
		checkOldOrNew(t, got, before, after)
	}
	_, err := Push(t.Context(), processDialer, from, to, Options{})
	must(t, err)
	checkSame(t, to, from)
}

func TestLeftoversAreSwept(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, run func(from, to string, o Options) (Summary, error)) {
		from, to := sampleTree(t), t.TempDir()
		write(t, to, tempName("x"), []byte("half"))
		write(t, to, tempName("kept/x"), []byte("half"))
		write(t, from, tempName("x"), []byte("half"))
		_, err := run(from, to, Options{})
		must(t, err)
		checkNoTemps(t, to)
	})
}

func TestCancel(t *testing.T) {
	t.Parallel()
	reason := errors.New("the operator said so")
	for _, c := range copiers {
		t.Run(c.name, func(t *testing.T) {
			from, to := t.TempDir(), t.TempDir()
			write(t, from, "big", noise(1, 40<<20))
			ctx, cancel := context.WithCancelCause(t.Context())
			far := newFarEnds(t)
			far.wrap = func(rw io.ReadWriteCloser) io.ReadWriteCloser {
				return &tripwire{ReadWriteCloser: rw, left: 9 << 20, trip: func() error { cancel(reason); return nil }}
			}
			_, err := c.copy(ctx, far.dial, from, to, Options{})
			checkErrorIs(t, err, reason)
			far.wait.Wait()
			if _, err := os.Lstat(filepath.Join(to, "big")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("got %v, want nothing under the final name", err)
			}
		})
	}
}

func TestSecondCopyAtTheSameTimeIsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range copiers {
		synctest.Test(t, func(t *testing.T) { // whose clock does not wait for the lock's patience
			from, to := sampleTree(t), t.TempDir()
			held, err := openTree(t.Context(), to, treeOptions{exclude: true})
			must(t, err)
			far := newFarEnds(t)
			_, err = c.copy(t.Context(), far.dial, from, to, Options{})
			checkErrorIs(t, err, ErrLocked)
			if hint.Of(err) == "" {
				t.Error("got no hint")
			}
			must(t, held.close())
			_, err = c.copy(t.Context(), far.dial, from, to, Options{})
			must(t, err)
		})
	}
}

// TestDialerFails covers a far end that cannot be started, says something else
// or dies at once.
func TestDialerFails(t *testing.T) {
	t.Parallel()
	shell := func(script string) Dialer {
		return func(ctx context.Context) (io.ReadWriteCloser, error) {
			cmd := exec.CommandContext(ctx, "/bin/sh", "-c", script)
			in, err := cmd.StdinPipe()
			must(t, err)
			out, err := cmd.StdoutPipe()
			must(t, err)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			must(t, cmd.Start())
			return &shellEnd{process: process{cmd: cmd, in: in, Reader: out}, stderr: &stderr}, nil
		}
	}
	refused := errors.New("no route to host")
	for _, c := range []struct {
		name string
		dial Dialer
		want string
	}{
		{"refused", func(context.Context) (io.ReadWriteCloser, error) { return nil, refused }, "no route to host"},
		{"missing", shell("echo warmrun: not found >&2; exit 127"), "warmrun: not found"},
		{"talkative", shell("echo Welcome to node two, have fun; cat >/dev/null"), "Welcome"},
		{"silent", shell("exit 0"), "ended before the copy did"},
	} {
		t.Run(c.name, func(t *testing.T) {
			from := sampleTree(t)
			_, err := Push(t.Context(), c.dial, from, t.TempDir(), Options{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

type shellEnd struct {
	process
	stderr *strings.Builder
	once   sync.Once
	err    error
}

func (s *shellEnd) Close() error {
	s.once.Do(func() {
		if err := s.process.Close(); err != nil {
			s.err = fmt.Errorf("%s: %w", strings.TrimSpace(s.stderr.String()), err)
		}
	})
	return s.err
}

// TestDamageIsNoticed flips one bit somewhere in each direction.
func TestDamageIsNoticed(t *testing.T) {
	t.Parallel()
	from := t.TempDir()
	write(t, from, "f", noise(1, 300<<10))
	for range 60 {
		to := t.TempDir()
		far := newFarEnds(t)
		far.wrap = func(rw io.ReadWriteCloser) io.ReadWriteCloser {
			return &flipper{ReadWriteCloser: rw, at: rand.IntN(300 << 10)}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, err := Push(ctx, far.dial, from, to, Options{})
		if err == nil {
			t.Error("got no error")
		}
		if errors.Is(err, context.DeadlineExceeded) {
			t.Error("the copy hung")
		}
		cancel()
		if _, err := os.Lstat(filepath.Join(to, "f")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v, want no file", err)
		}
	}
}

// flipper damages one byte of what is written.
type flipper struct {
	io.ReadWriteCloser
	at int
}

func (f *flipper) Write(b []byte) (int, error) {
	if f.at >= 0 && f.at < len(b) {
		b = append([]byte(nil), b...)
		b[f.at] ^= 1 << (f.at % 8)
	}
	f.at -= len(b)
	return f.ReadWriteCloser.Write(b)
}

func TestMaxRate(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, run func(from, to string, o Options) (Summary, error)) {
		from, to := t.TempDir(), t.TempDir()
		for i := range 8 {
			write(t, from, fmt.Sprint(i), noise(uint64(i), 256<<10))
		}
		s, err := run(from, to, Options{MaxRate: 4 << 20})
		must(t, err)
		// The last stretch is sent at once and paid for by nobody.
		if s.Elapsed < 400*time.Millisecond {
			t.Errorf("got 2 MB through in %v at 4 MB/s, want about 0.5 s", s.Elapsed)
		}
	})
}

// TestMaxRateIsOfWhatIsSent: content that packs well is paid for as it is packed,
// whichever way it goes.
func TestMaxRateIsOfWhatIsSent(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, run func(from, to string, o Options) (Summary, error)) {
		from, to := t.TempDir(), t.TempDir()
		text := bytes.Repeat([]byte("to be or not to be "), 3<<20)
		write(t, from, "large", text)
		write(t, from, "small", text[:putSize])
		s, err := run(from, to, Options{MaxRate: 1 << 20, Compress: CompressZstd})
		must(t, err)
		checkSame(t, to, from)
		if s.Elapsed > 30*time.Second { // unpacked it would take a minute
			t.Errorf("got %d bytes on the wire sent in %v at a megabyte a second", s.Sent+s.Received, s.Elapsed)
		}
	})
}

// TestFewerStreams: a copy whose further streams cannot be opened goes on.
func TestFewerStreams(t *testing.T) {
	t.Parallel()
	for _, c := range copiers {
		t.Run(c.name, func(t *testing.T) {
			from, to := twoVersions(t)
			write(t, from, "large", noise(1, 20<<20))
			far := newFarEnds(t)
			var dialed atomic.Int32
			var out strings.Builder
			_, err := c.copy(t.Context(), func(ctx context.Context) (io.ReadWriteCloser, error) {
				if dialed.Add(1) > 1 {
					return nil, errors.New("too many sessions")
				}
				return far.dial(ctx)
			}, from, to, Options{Verbose: &out})
			must(t, err)
			checkSame(t, to, from)
			if n := dialed.Load(); n < 2 || !strings.Contains(out.String(), "fewer streams: too many sessions") {
				t.Errorf("got %d streams tried and output\n%.300s", n, out.String())
			}
		})
	}
}

// TestOwners: files keep their owner where the receiving side may give them
// away.
func TestOwners(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, run func(from, to string, o Options) (Summary, error)) {
		from, to := sampleTree(t), filepath.Join(t.TempDir(), "to")
		uid, gid := os.Geteuid(), os.Getegid()
		if uid == 0 {
			uid, gid = 4711, 4712 // numbers without names
			for _, name := range []string{".", "top", "link", "dir", "dir/odd", "hollow"} {
				must(t, os.Lchown(filepath.Join(from, name), uid, gid))
			}
		}
		_, err := run(from, to, Options{})
		must(t, err)
		checkOwner(t, to, uid, gid, ".", "top", "link", "dir", "dir/odd", "hollow")
		checkOwner(t, to, os.Geteuid(), os.Getegid(), "empty", "dir/page")
		if uid != os.Geteuid() {
			must(t, os.Lchown(filepath.Join(from, "empty"), uid, gid))
			must(t, os.Lchown(filepath.Join(from, "dir/dangling"), uid, gid))
			s, err := run(from, to, Options{})
			must(t, err)
			checkOwner(t, to, uid, gid, "empty", "dir/dangling")
			if s.Transferred != 0 {
				t.Errorf("got %d files transferred for a new owner, want none", s.Transferred)
			}
		}
	})
}

func checkOwner(t *testing.T, root string, uid, gid int, names ...string) {
	t.Helper()
	for _, name := range names {
		info, err := os.Lstat(filepath.Join(root, name))
		must(t, err)
		if e := newEntry(name, info); int(e.UID) != uid || int(e.GID) != gid {
			t.Errorf("%s: got owner %d:%d, want %d:%d", name, e.UID, e.GID, uid, gid)
		}
	}
}
