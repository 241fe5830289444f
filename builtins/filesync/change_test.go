package filesync

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestFilesThatChange alters the source between the listing and the reading.
func TestFilesThatChange(t *testing.T) {
	t.Parallel()
	const size = 3<<20 + 100
	names := []string{"grows", "shrinks", "shrinks-to-nothing", "small-shrinks", "vanishes", "vanishes-old", "becomes-link", "becomes-pipe"}
	alter := func(t *testing.T, root string) {
		grow, err := os.OpenFile(filepath.Join(root, "grows"), os.O_APPEND|os.O_WRONLY, 0)
		must(t, err)
		_, err = grow.WriteString("more")
		must(t, errors.Join(err, grow.Close()))
		must(t, os.Truncate(filepath.Join(root, "shrinks"), 1<<20+77))
		must(t, os.Truncate(filepath.Join(root, "shrinks-to-nothing"), 0))
		must(t, os.Truncate(filepath.Join(root, "small-shrinks"), 3))
		must(t, os.Remove(filepath.Join(root, "vanishes")))
		must(t, os.Remove(filepath.Join(root, "vanishes-old")))
		must(t, os.Remove(filepath.Join(root, "becomes-link")))
		must(t, os.Symlink("/etc/passwd", filepath.Join(root, "becomes-link")))
		must(t, os.Remove(filepath.Join(root, "becomes-pipe")))
		mkfifo(t, filepath.Join(root, "becomes-pipe"))
	}
	for _, basis := range []bool{false, true} {
		t.Run(fmt.Sprintf("basis=%v", basis), func(t *testing.T) {
			bothWays(t, func(t *testing.T, run func(from, to string, o Options) (Summary, error)) {
				from, to := t.TempDir(), t.TempDir()
				content := noise(9, size)
				for _, name := range names {
					length := size
					if name == "small-shrinks" {
						length = 100
					}
					write(t, from, name, content[:length])
					if basis || name == "vanishes-old" {
						write(t, to, name, noise(8, length+5000))
					}
				}
				got := map[string]Change{}
				_, err := run(from, to, Options{Delete: true,
					listed:   func() { alter(t, from) },
					OnChange: func(path string, c Change) error { got[path] = c; return nil },
				})
				must(t, err)
				checkChanges(t, got)
				zeros := make([]byte, size)
				checkContent(t, to, "grows", content)
				checkContent(t, to, "shrinks", append(slices.Clone(content[:1<<20+77]), zeros[1<<20+77:]...))
				checkContent(t, to, "shrinks-to-nothing", zeros)
				checkContent(t, to, "small-shrinks", append(slices.Clone(content[:3]), zeros[:97]...))
				for _, name := range names[4:] {
					if _, err := os.Lstat(filepath.Join(to, name)); !errors.Is(err, os.ErrNotExist) {
						t.Errorf("%s: got %v, want nothing there", name, err)
					}
				}
				checkNoTemps(t, to)
			})
		})
	}
}

func checkChanges(t *testing.T, got map[string]Change) {
	t.Helper()
	want := map[string]Change{"grows": Grown, "shrinks": Shrunk, "shrinks-to-nothing": Shrunk, "small-shrinks": Shrunk,
		"vanishes": Vanished, "vanishes-old": Vanished, "becomes-link": Vanished, "becomes-pipe": Vanished}
	for name, c := range want {
		if got[name] != c {
			t.Errorf("%s: got told that it %v, want that it %v", name, got[name], c)
		}
	}
}

func checkContent(t *testing.T, root, name string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(root, name))
	must(t, err)
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %d bytes of other content, want %d", name, len(got), len(want))
	}
}

// TestChangesFailTheCopyUnlessAllowed also covers a caller that refuses one.
func TestChangesFailTheCopyUnlessAllowed(t *testing.T) {
	t.Parallel()
	refusal := errors.New("not this one")
	bothWays(t, func(t *testing.T, run func(from, to string, o Options) (Summary, error)) {
		for _, o := range []Options{{}, {OnChange: func(string, Change) error { return refusal }}} {
			from, to := t.TempDir(), t.TempDir()
			write(t, from, "gone", []byte("x"))
			o.listed = func() { must(t, os.Remove(filepath.Join(from, "gone"))) }
			_, err := run(from, to, o)
			if err == nil || !strings.Contains(err.Error(), "gone") {
				t.Errorf("got %v, want an error about the file", err)
			}
			if o.OnChange != nil && !errors.Is(err, refusal) {
				t.Errorf("got %v, want the caller's own error", err)
			}
		}
	})
}

// TestFileWrittenWhileRead is told apart from one that only changed before.
func TestFileWrittenWhileRead(t *testing.T) {
	t.Parallel()
	from, to := t.TempDir(), t.TempDir()
	write(t, from, "busy", noise(1, 8<<20))
	far := newFarEnds(t)
	far.wrap = func(rw io.ReadWriteCloser) io.ReadWriteCloser {
		return &tripwire{ReadWriteCloser: rw, left: 3 << 20, trip: func() error {
			f, err := os.OpenFile(filepath.Join(from, "busy"), os.O_WRONLY, 0)
			must(t, err)
			_, err = f.WriteAt([]byte("!"), 5)
			must(t, errors.Join(err, f.Close()))
			return nil
		}}
	}
	got := map[string]Change{}
	_, err := Push(t.Context(), far.dial, from, to, Options{OnChange: func(path string, c Change) error { got[path] = c; return nil }})
	must(t, err)
	if got["busy"] != Modified {
		t.Errorf("got told that it %v, want that it %v", got["busy"], Modified)
	}
	_, err = Push(t.Context(), newFarEnds(t).dial, from, to, Options{})
	must(t, err)
	checkSame(t, to, from, "busy", ".")
	content, err := os.ReadFile(filepath.Join(from, "busy"))
	must(t, err)
	checkContent(t, to, "busy", content)
}

// tripwire calls trip once when so many bytes have been written or read.
type tripwire struct {
	io.ReadWriteCloser
	left  int
	trip  func() error
	mu    sync.Mutex
	fired bool
}

func (w *tripwire) count(n int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.left -= n; w.left > 0 || w.fired {
		return nil
	}
	w.fired = true
	return w.trip()
}

func (w *tripwire) Write(b []byte) (int, error) {
	if err := w.count(len(b)); err != nil {
		return 0, err
	}
	return w.ReadWriteCloser.Write(b)
}

func (w *tripwire) Read(b []byte) (int, error) {
	n, err := w.ReadWriteCloser.Read(b)
	return n, errors.Join(err, w.count(n))
}
