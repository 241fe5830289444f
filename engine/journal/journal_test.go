package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, path string, entries ...string) {
	t.Helper()
	j, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if _, err := j.Append([]byte(entry)); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func texts(entries [][]byte) string { return string(bytes.Join(entries, []byte(", "))) }

// TestTornEnd cuts a journal at every byte: what is left are whole entries, and
// the next one is written behind them.
func TestTornEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "journal")
	write(t, path, `{"a":1}`, `{"b":2}`, `{"c":3}`)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all := []string{`{"a":1}`, `{"b":2}`, `{"c":3}`}
	for cut := range len(whole) + 1 {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		left := all[:bytes.Count(whole[:cut], []byte("\n"))]
		read, err := Read(path)
		if err != nil || texts(read) != strings.Join(left, ", ") {
			t.Fatalf("cut at %d: read %s, want %s; %v", cut, texts(read), left, err)
		}
		j, read, err := Open(path)
		if err != nil || texts(read) != strings.Join(left, ", ") {
			t.Fatalf("cut at %d: opened %s, want %s; %v", cut, texts(read), left, err)
		}
		if _, err := j.Append([]byte("next")); err != nil {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		want := strings.Join(append(append([]string{}, left...), "next"), ", ")
		if read, err := Read(path); err != nil || texts(read) != want {
			t.Errorf("cut at %d: after the next entry %s, want %s; %v", cut, texts(read), want, err)
		}
	}
}

// TestDamage: a byte that was changed in the middle is no torn end.
func TestDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	write(t, path, "one", "two", "three")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(text, []byte("two"), []byte("tow"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil || !strings.Contains(err.Error(), "entry 2 is damaged") {
		t.Errorf("got %v, want entry 2 named", err)
	}
	if _, _, err := Open(path); err == nil {
		t.Error("a damaged journal was opened for writing")
	}
}

func TestHeld(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	if held, err := Held(path); held || err != nil {
		t.Errorf("no journal is held: %v, %v", held, err)
	}
	j, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if held, err := Held(path); !held || err != nil {
		t.Errorf("held: %v, %v; want true", held, err)
	}
	if _, _, err := Open(path); !errors.Is(err, ErrHeld) {
		t.Errorf("opened twice: %v", err)
	}
	if _, err := WriteCopy(path, nil); !errors.Is(err, ErrHeld) {
		t.Errorf("replaced while it is held: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if held, err := Held(path); held || err != nil {
		t.Errorf("held after its end: %v, %v", held, err)
	}
}

// TestCopy follows a journal on another node: line by line, from the beginning
// again, and not with a line left out.
func TestCopy(t *testing.T) {
	dir := t.TempDir()
	j, err := Create(filepath.Join(dir, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close() //nolint:errcheck // nothing is written any more
	if _, err := j.Append([]byte("head")); err != nil {
		t.Fatal(err)
	}
	whole, err := j.Lines()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "there", "journal")
	twin, err := WriteCopy(path, whole)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = twin.Close() }()
	var lines [][]byte
	for i := range 3 {
		line, err := j.Append(fmt.Appendf(nil, "entry %d", i))
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	if err := twin.AppendLines(lines[0]); err != nil {
		t.Error(err)
	}
	if err := twin.AppendLines(lines[2]); err == nil {
		t.Error("a line was left out and nobody noticed")
	}
	if err := twin.AppendLines(append(lines[1], lines[2]...)); err != nil {
		t.Error(err)
	}
	if read, err := Read(path); err != nil || texts(read) != "head, entry 0, entry 1, entry 2" {
		t.Errorf("the copy says %s; %v", texts(read), err)
	}
}

// TestBrokenDisk: after a write that failed nothing more is written, because
// what the disk holds is not known.
func TestBrokenDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	readOnly, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	writable := j.f
	j.f = readOnly
	if _, err := j.Append([]byte("lost")); err == nil {
		t.Fatal("a write that failed was not reported")
	}
	j.f = writable
	if _, err := j.Append([]byte("more")); err == nil {
		t.Error("the journal went on after a write that failed")
	}
	if err := errors.Join(readOnly.Close(), j.Close()); err != nil {
		t.Error(err)
	}
}
