package atomicfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestWriteFailsAtEachStep(t *testing.T) {
	for _, at := range []string{"write", "fsync", "rename"} {
		t.Run(at, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "file")
			if err := WriteFile(path, []byte("old"), 0); err != nil {
				t.Fatal(err)
			}
			boom := errors.New("boom")
			step := func(s string) error {
				if s == at {
					return boom
				}
				return nil
			}
			err := Write(path, Options{Step: step}, func(w io.Writer) error {
				_, err := io.WriteString(w, "new")
				return err
			})
			if !errors.Is(err, boom) {
				t.Fatalf("got error %v, want %v", err, boom)
			}
			if got, _ := os.ReadFile(path); string(got) != "old" {
				t.Errorf("got content %q, want the old one", got)
			}
			entries, _ := os.ReadDir(dir)
			if len(entries) != 1 {
				t.Errorf("got %d files, want only the target: %v", len(entries), entries)
			}
		})
	}
}

func TestWriteOrder(t *testing.T) {
	var got []string
	step := func(s string) error { got = append(got, s); return nil }
	path := filepath.Join(t.TempDir(), "file")
	if err := Write(path, Options{Step: step, Perm: 0o640}, func(io.Writer) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if want := []string{"write", "fsync", "rename", "fsync-dir"}; !slices.Equal(got, want) {
		t.Errorf("got steps %v, want %v", got, want)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o640 {
		t.Errorf("got mode %v, want 0640", info.Mode())
	}
}

func TestMkdirAllAndRemove(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b", "c")
	if err := MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "f")
	if err := Remove(file); err != nil {
		t.Errorf("removing what is not there: %v", err)
	}
	if err := WriteFile(file, nil, 0); err != nil {
		t.Fatal(err)
	}
	if err := Rename(file, filepath.Join(dir, "g")); err != nil {
		t.Fatal(err)
	}
	if err := MkdirAll(filepath.Join(dir, "g"), 0o700); err == nil {
		t.Error("MkdirAll over a file: got no error")
	}
}
