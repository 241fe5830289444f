package ship

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
	"github.com/warmrun/warmrun/walcore/storetest"
)

// breaking is a stream that is cut, or damaged, after so many bytes.
type breaking struct {
	io.ReadWriteCloser
	left    int    // bytes until something happens
	reading bool   // counts what is read instead of what is written
	flip    bool   // damage one byte instead of cutting
	happens func() // what happens when left is used up
}

func (b *breaking) Write(p []byte) (int, error) {
	if b.reading {
		return b.ReadWriteCloser.Write(p)
	}
	p, cut := b.spend(p)
	n, err := b.ReadWriteCloser.Write(p)
	if cut && err == nil {
		b.happens()
		err = errCut
	}
	return n, err
}

func (b *breaking) Read(p []byte) (int, error) {
	if !b.reading {
		return b.ReadWriteCloser.Read(p)
	}
	n, err := b.ReadWriteCloser.Read(p)
	if _, cut := b.spend(p[:n]); cut && err == nil {
		b.happens()
		return 0, errCut
	}
	return n, err
}

var errCut = errors.New("the link was cut")

// spend counts p and does what is due to it.
func (b *breaking) spend(p []byte) (rest []byte, cut bool) {
	before := b.left
	b.left -= len(p)
	switch {
	case before < 0 || b.left >= 0:
		return p, false
	case b.flip:
		p = slices.Clone(p)
		p[before] ^= 0x10
		return p, false
	}
	return p[:before], true
}

// faults are where streams are cut, in bytes.
func faults(size int) []int {
	return []int{0, 5, len(preface), 60, 200, 400, 5000, size / 2, size, size + 500}
}

func TestLinkCut(t *testing.T) {
	data := segment(storetest.Segment{Name: seg1})
	path := writeFile(t, filepath.Join(t.TempDir(), string(seg1)), data)
	for _, reading := range []bool{false, true} {
		for _, flip := range []bool{false, true} {
			if reading && flip {
				continue // in-process pipes hand out the other side's memory
			}
			for _, n := range faults(len(data)) {
				a := newArchive(t)
				dial := inProcess(t, AgentConfig{Archive: a.Dir()})
				broken := func(ctx context.Context) (io.ReadWriteCloser, error) {
					stream, err := dial(ctx)
					return &breaking{ReadWriteCloser: stream, left: n, reading: reading, flip: flip, happens: func() { stream.Close() }}, err
				}
				// A damaged length makes both sides wait for more.
				err := putOver(t, broken, path, Options{Stall: 300 * time.Millisecond})
				checkAfterFault(t, a, dial, path, data, err, fmt.Sprintf("reading=%v flip=%v after %d bytes", reading, flip, n))
			}
		}
	}
}

// putOver sends the file as it is, so that what is cut can be counted in its
// bytes.
func putOver(t *testing.T, dial Dialer, path string, o Options) error {
	o.Compress = cluster.CompressNone
	c, err := ConnectWith(t.Context(), dial, o)
	if err != nil {
		return err
	}
	_, err = c.Put(t.Context(), walcore.FileName(seg1), path, PutOptions{})
	return errors.Join(err, c.Close())
}

// checkAfterFault: an error, or the file; never a part of it; and the next try
// goes through.
func checkAfterFault(t *testing.T, a *walcore.Archive, dial Dialer, path string, data []byte, err error, what string) {
	t.Helper()
	stored, openErr := os.ReadFile(filepath.Join(a.Dir(), string(seg1)))
	switch {
	case openErr == nil && !bytes.Equal(stored, data):
		t.Errorf("%s: the archive holds something else under the name", what)
	case err == nil && openErr != nil:
		t.Errorf("%s: success, but %v", what, openErr)
	}
	if err := putOver(t, dial, path, Options{}); err != nil {
		t.Errorf("%s: the next try: %v", what, err)
	}
	if got, err := os.ReadFile(filepath.Join(a.Dir(), string(seg1))); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%s: after the next try: %v, or other content", what, err)
	}
}

// process is an agent in a process of its own, the test binary again.
type process struct {
	io.ReadCloser
	io.WriteCloser
	cmd *exec.Cmd
}

func (p process) Close() error {
	return errors.Join(p.WriteCloser.Close(), p.cmd.Wait())
}

// startAgent runs the agent, behind another program if one is given.
func startAgent(ctx context.Context, dir string, before ...string) (process, error) {
	self, err := os.Executable()
	if err != nil {
		return process{}, err
	}
	args := append(before, self)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), agentEnv+"="+dir)
	cmd.Stderr = os.Stderr
	in, errIn := cmd.StdinPipe()
	out, errOut := cmd.StdoutPipe()
	return process{out, in, cmd}, errors.Join(errIn, errOut, cmd.Start())
}

func TestAgentKilled(t *testing.T) {
	data := segment(storetest.Segment{Name: seg1})
	path := writeFile(t, filepath.Join(t.TempDir(), string(seg1)), data)
	for _, n := range []int{60, 400, len(data) / 2, len(data)} {
		a := newArchive(t)
		dial := func(ctx context.Context) (io.ReadWriteCloser, error) { return startAgent(ctx, a.Dir()) }
		killed := func(ctx context.Context) (io.ReadWriteCloser, error) {
			p, err := startAgent(ctx, a.Dir())
			return &breaking{ReadWriteCloser: p, left: n, happens: func() { _ = p.cmd.Process.Kill() }}, err
		}
		err := putOver(t, killed, path, Options{})
		if err == nil {
			t.Errorf("killed after %d bytes: got no error", n)
		}
		if _, openErr := a.Open(walcore.FileName(seg1)); !errors.Is(openErr, walcore.ErrNotArchived) {
			t.Errorf("killed after %d bytes: got %v, want nothing under the name", n, openErr)
		}
		checkAfterFault(t, a, dial, path, data, err, fmt.Sprintf("killed after %d bytes", n))
	}
}

func TestFileChangesWhileItIsSent(t *testing.T) {
	a := newArchive(t)
	c := connectTo(t, a)
	data := segment(storetest.Segment{Name: seg1})
	path := writeFile(t, filepath.Join(t.TempDir(), string(seg1)), data)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	writes := &writing{ReaderAt: f, write: func() error { return os.WriteFile(path, data, 0o600) }}
	before, err := identify(f)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.put(t.Context(), walcore.FileName(seg1), writes, int64(len(data)), PutOptions{}, func() error {
		if now, err := identify(f); err != nil || now != before {
			return errors.Join(errors.New("it changed"), err)
		}
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "it changed") {
		t.Errorf("got %v, want it to say so", err)
	}
	if got := listed(t, a); got != "" {
		t.Errorf("got %s, want nothing stored", got)
	}
	if _, err := c.Put(t.Context(), walcore.FileName(seg1), path, PutOptions{}); err != nil {
		t.Errorf("the next one on the same connection: %v", err)
	}
}

// writing has the file written to when its middle is read.
type writing struct {
	io.ReaderAt
	write func() error
}

func (w *writing) ReadAt(b []byte, at int64) (int, error) {
	if at > 300_000 && w.write != nil {
		if err := w.write(); err != nil {
			return 0, err
		}
		w.write = nil
	}
	return w.ReaderAt.ReadAt(b, at)
}

// failing cannot be read from some offset on.
type failing struct{ io.ReaderAt }

func (f failing) ReadAt(b []byte, at int64) (int, error) {
	if at > 300_000 && at < 1<<20 {
		return 0, errors.New("input/output error")
	}
	return f.ReaderAt.ReadAt(b, at)
}

func TestFileCannotBeReadToItsEnd(t *testing.T) {
	a := newArchive(t)
	c := connectTo(t, a)
	data := segment(storetest.Segment{Name: seg1})
	_, err := c.PutFrom(t.Context(), walcore.FileName(seg1), failing{bytes.NewReader(data)}, int64(len(data)), PutOptions{})
	if err == nil || !strings.Contains(err.Error(), "input/output error") {
		t.Errorf("got %v, want the reason", err)
	}
	if got := listed(t, a); got != "" {
		t.Errorf("got %s, want nothing stored", got)
	}
	if err := c.Ping(t.Context()); err != nil {
		t.Errorf("the connection afterwards: %v", err)
	}
}

func TestSilence(t *testing.T) {
	silent := func(context.Context) (io.ReadWriteCloser, error) {
		here, there := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, there) }() // ends when here is closed
		return here, nil
	}
	_, err := ConnectWith(t.Context(), silent, Options{Stall: 30 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "no sign of life") {
		t.Errorf("got %v, want it to say that nothing came", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("stopped by the test")
	timer := time.AfterFunc(30*time.Millisecond, func() { cancel(why) })
	defer timer.Stop()
	if _, err := Connect(ctx, silent); !errors.Is(err, why) {
		t.Errorf("got %v, want the context's cause", err)
	}
}

func TestDiskFullThere(t *testing.T) {
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=3m"); err != nil {
		t.Fatalf("mount a small tmpfs: %v (run the tests as root)", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	a, err := walcore.CreateArchive(filepath.Join(disk, "archive"))
	if err != nil {
		t.Fatal(err)
	}
	c := connectTo(t, a)
	put := func(name walcore.SegmentName) error {
		data := segment(storetest.Segment{Name: name, Size: 2 << 20})
		_, err := c.PutFrom(t.Context(), walcore.FileName(name), bytes.NewReader(data), int64(len(data)), PutOptions{})
		return err
	}
	if err := put(seg1); err != nil {
		t.Fatal(err)
	}
	err = put(seg2)
	var space *walcore.SpaceError
	if !errors.As(err, &space) || !errors.Is(err, unix.ENOSPC) || space.FileSystem != disk || space.Free >= space.Need || hint.Of(err) == "" {
		t.Errorf("got %v, want a SpaceError that names %s, and a hint", err, disk)
	}
	if err := put(seg1); err != nil {
		t.Errorf("the same segment again: %v", err)
	}
	if err := os.Remove(filepath.Join(a.Dir(), string(seg1))); err != nil {
		t.Fatal(err)
	}
	if err := put(seg2); err != nil {
		t.Errorf("after space was made: %v", err)
	}
}
