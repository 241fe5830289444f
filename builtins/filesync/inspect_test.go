package filesync

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// recorder puts a file together from what it is handed.
type recorder struct {
	mu      sync.Mutex
	content []byte
	seen    int64 // bytes handed over
	done    int   // calls of Done
	alter   func(offset int64, p []byte, file io.ReaderAt) error
}

func (r *recorder) Block(offset int64, p []byte, file io.ReaderAt) error {
	if r.alter != nil {
		if err := r.alter(offset, p, file); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if offset%readSize != 0 || len(p) == 0 {
		return errors.New("a stretch that does not begin where it should")
	}
	if end := int(offset) + len(p); end > len(r.content) {
		r.content = append(r.content, make([]byte, end-len(r.content))...)
	}
	copy(r.content[offset:], p)
	r.seen += int64(len(p))
	return nil
}

func (r *recorder) Done(size int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done++
	if r.seen != size {
		return errors.New("not every byte was handed over once")
	}
	return nil
}

// TestInspect: an inspector sees the content that the copy gets, whatever the
// target had before.
func TestInspect(t *testing.T) {
	t.Parallel()
	from, to := sampleTree(t), t.TempDir()
	changed := noise(3, 3<<20+5)
	changed[1<<20+99] ^= 1
	write(t, to, "dir/deep/er/large", changed)
	write(t, from, "shrinks", noise(4, 3<<20))
	write(t, from, "shrinks-little", noise(4, 100))
	for round := range 2 {
		if round == 1 {
			must(t, os.Truncate(filepath.Join(from, "shrinks"), 3<<20))
			must(t, os.Truncate(filepath.Join(from, "shrinks-little"), 100))
		}
		var mu sync.Mutex
		seen := map[string]*recorder{}
		_, err := Push(t.Context(), newFarEnds(t).dial, from, to, Options{
			Checksum: true,
			OnChange: LetPass,
			listed: func() {
				must(t, os.Truncate(filepath.Join(from, "shrinks"), 1<<20+77))
				must(t, os.Truncate(filepath.Join(from, "shrinks-little"), 7))
			},
			Inspect: func(e Entry) Inspector {
				mu.Lock()
				defer mu.Unlock()
				if seen[e.Path] != nil {
					t.Errorf("%s: asked twice", e.Path)
				}
				seen[e.Path] = &recorder{}
				return seen[e.Path]
			},
		})
		must(t, err)
		for _, name := range []string{"top", "empty", "dir/page", "dir/odd", "dir/deep/er/large", "shrinks", "shrinks-little"} {
			r := seen[name]
			if r == nil || r.done != 1 {
				t.Errorf("round %d, %s: got %+v, want it inspected once", round, name, r != nil)
				continue
			}
			want, err := os.ReadFile(filepath.Join(to, name))
			must(t, err)
			if !bytes.Equal(r.content, want) {
				t.Errorf("round %d, %s: saw %d bytes that are not the %d of the copy", round, name, len(r.content), len(want))
			}
		}
	}
}

// TestInspectorCorrects: what an inspector reads again is what is sent.
func TestInspectorCorrects(t *testing.T) {
	t.Parallel()
	from, to := t.TempDir(), t.TempDir()
	write(t, from, "f", noise(1, 2<<20))
	want := noise(1, 2<<20)
	copy(want[1<<20:], want[:blockSize])
	_, err := Push(t.Context(), newFarEnds(t).dial, from, to, Options{Inspect: func(Entry) Inspector {
		return &recorder{alter: func(offset int64, p []byte, file io.ReaderAt) error {
			if offset != 1<<20 {
				return nil
			}
			_, err := file.ReadAt(p[:blockSize], 0)
			return err
		}}
	}})
	must(t, err)
	checkContent(t, to, "f", want)
}

// TestInspectorRefuses: an inspector's error is the copy's.
func TestInspectorRefuses(t *testing.T) {
	t.Parallel()
	refusal := errors.New("a bad page")
	from := t.TempDir()
	write(t, from, "f", noise(1, 2<<20))
	_, err := Push(t.Context(), newFarEnds(t).dial, from, t.TempDir(), Options{Inspect: func(Entry) Inspector {
		return &recorder{alter: func(int64, []byte, io.ReaderAt) error { return refusal }}
	}})
	checkErrorIs(t, err, refusal)
	_, err = Pull(t.Context(), newFarEnds(t).dial, from, t.TempDir(), Options{Inspect: func(Entry) Inspector { return nil }})
	if err == nil {
		t.Error("got no error from a pull that cannot inspect")
	}
}
