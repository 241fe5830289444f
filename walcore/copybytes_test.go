package walcore

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// Each way of copying must give the same file, also from the middle on, where
// the other one had ended.
func TestCopyBytes(t *testing.T) {
	content := make([]byte, 3*copyStep+4097)
	if _, err := rand.Read(content); err != nil {
		t.Fatal(err)
	}
	ways := map[string]func(dst, src *os.File) error{
		"all": func(dst, src *os.File) error { return copyBytes(t.Context(), dst, src, int64(len(content))) },
		"spliced": func(dst, src *os.File) error {
			done, err := spliceBytes(t.Context(), int(dst.Fd()), int(src.Fd()), int64(len(content)))
			if done != int64(len(content)) {
				t.Errorf("spliced %d bytes, want %d", done, len(content))
			}
			return err
		},
		"copied": func(dst, src *os.File) error { return copyRest(t.Context(), dst, src, 0, int64(len(content))) },
		"both": func(dst, src *os.File) error {
			done, err := spliceBytes(t.Context(), int(dst.Fd()), int(src.Fd()), copyStep+5)
			return errors.Join(err, copyRest(t.Context(), dst, src, done, int64(len(content))))
		},
	}
	for what, way := range ways {
		dst, src := copyFiles(t, content)
		if err := way(dst, src); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if got, err := os.ReadFile(dst.Name()); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: got %d bytes, %v; want the %d of the source", what, len(got), err, len(content))
		}
	}
}

func TestCopyBytesFails(t *testing.T) {
	dst, src := copyFiles(t, []byte("short"))
	if err := copyBytes(t.Context(), dst, src, copyStep); err == nil {
		t.Error("a source that is shorter than it was: got no error")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	dst, src = copyFiles(t, make([]byte, copyStep))
	if err := copyBytes(ctx, dst, src, copyStep); !errors.Is(err, ErrTerminated) {
		t.Errorf("told to stop: got %v, want ErrTerminated", err)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	if err := copyBytes(t.Context(), full, src, copyStep); err == nil {
		t.Error("no space left: got no error")
	}
}

// Across file systems the kernel may be able to share no blocks, allocate none
// ahead and copy nothing by itself.
func TestRestoreAcrossFileSystems(t *testing.T) {
	memory, err := os.MkdirTemp("/dev/shm", "warmrun")
	if err != nil {
		t.Fatal("the test needs a second file system: ", err)
	}
	t.Cleanup(func() { os.RemoveAll(memory) })
	s := newRestoreSite(t, "standby.signal")
	disk := s.archive
	for _, archive := range []string{memory, disk} {
		s.archive = archive
		s.store(seg2, testSegment(seg2))
		r := s.request(seg2)
		r.Target = filepath.Join(s.pgdata, "pg_wal", "RECOVERYXLOG")
		if archive == disk {
			r.Target = filepath.Join(memory, "RECOVERYXLOG")
		}
		if err := Restore(context.Background(), r); err != nil {
			t.Errorf("from %s to %s: %v", archive, r.Target, err)
			continue
		}
		got, err := os.ReadFile(r.Target)
		if err != nil || !bytes.Equal(got, testSegment(seg2)) {
			t.Errorf("from %s to %s: got %d bytes, %v; want the segment", archive, r.Target, len(got), err)
		}
	}
}

func copyFiles(t *testing.T, content []byte) (dst, src *os.File) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "src")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	src, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	dst, err = os.Create(filepath.Join(dir, "dst"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(src.Close(), dst.Close()); err != nil {
			t.Error(err)
		}
	})
	return dst, src
}

// A segment that was switched early is mostly a hole.
func TestCopyBytesHoles(t *testing.T) {
	const size = 16 << 20
	data := func(from, to int) []byte {
		content := make([]byte, size)
		for i := from; i < to; i++ {
			content[i] = byte(i>>9) | 1
		}
		return content
	}
	for what, content := range map[string][]byte{
		"at the end": data(0, 100_000), "at the beginning": data(3<<20, size),
		"around": data(5<<20+777, 6<<20+1), "all": data(0, 0), "nowhere": data(0, size),
	} {
		dst, src := copyFiles(t, nil)
		writeSparse(t, src.Name(), content)
		if err := copyBytes(t.Context(), dst, src, size); err != nil {
			t.Errorf("a hole %s: %v", what, err)
		}
		got, err := os.ReadFile(dst.Name())
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("a hole %s: got %d bytes, %v; want the %d of the source", what, len(got), err, size)
		}
	}
}

// What has become shorter must not be filled up with zeros.
func TestCopyBytesShrunk(t *testing.T) {
	dst, src := copyFiles(t, nil)
	writeSparse(t, src.Name(), make([]byte, copyStep))
	if err := copyBytes(t.Context(), dst, src, copyStep+1); err == nil {
		t.Error("a hole that is shorter than the source was: got no error")
	}
}

func writeSparse(t *testing.T, path string, content []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(content); at += 4096 {
		block := content[at:min(at+4096, len(content))]
		if !IsZero(block) {
			_, writeErr := f.WriteAt(block, int64(at))
			err = errors.Join(err, writeErr)
		}
	}
	if err := errors.Join(err, f.Truncate(int64(len(content))), f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}
