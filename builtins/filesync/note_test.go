package filesync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const notedSize = 2*rangeSize + 5<<20

// noted source: one large file, of two parts and a little more.
func notedSource(t *testing.T) string {
	t.Helper()
	from := t.TempDir()
	write(t, from, "large", bytes.Repeat(noise(1, 1<<20), notedSize>>20))
	return from
}

// cutNear copies until its end comes near, and cuts the connection.
func cutNear(t *testing.T, c copier, from, to string, o Options) {
	t.Helper()
	far := newFarEnds(t)
	dial := func(ctx context.Context) (io.ReadWriteCloser, error) {
		rw, err := far.dial(ctx)
		return &tripwire{ReadWriteCloser: rw, left: notedSize * 9 / 10, trip: func() error { _ = rw.Close(); return errors.New("cut here") }}, err
	}
	if _, err := c.copy(t.Context(), dial, from, to, o); err == nil {
		t.Fatal("got no error from the copy that was cut")
	}
	far.wait.Wait()
}

// tamper changes the target's file where a cut copy has noted it, which nobody
// does in real life: it shows whether that is looked at.
func tamper(t *testing.T, to string, inPlace bool) (name string) {
	t.Helper()
	name = "large"
	if !inPlace {
		name = tempName(name)
	}
	patch(t, filepath.Join(to, name), 3<<20, []byte("tampered with"))
	return name
}

func tampered(t *testing.T, to string) bool {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(to, "large"))
	must(t, err)
	return bytes.HasPrefix(content[3<<20:], []byte("tampered with"))
}

var notedOptions = Options{Streams: 1, Compress: CompressNone, Resume: "this one"}

// TestResumeReadsNothingAgain: what a copy has noted is neither sent nor compared
// by the next one. An inspector sees it all the same.
func TestResumeReadsNothingAgain(t *testing.T) {
	t.Parallel()
	for _, c := range copiers {
		for _, inPlace := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/inplace=%v", c.name, inPlace), func(t *testing.T) {
				t.Parallel()
				from, to := notedSource(t), t.TempDir()
				o := notedOptions
				o.InPlace, o.Checksum = inPlace, inPlace
				cutNear(t, c, from, to, o)
				tamper(t, to, inPlace)
				r := &recorder{}
				if c.name == "push" {
					o.Inspect = func(Entry) Inspector { return r }
				}
				s, err := c.copy(t.Context(), newFarEnds(t).dial, from, to, o)
				must(t, err)
				if !tampered(t, to) {
					t.Error("what was noted has been compared again")
				}
				checkSame(t, to, from, "large")
				if s.Literal > notedSize/4 {
					t.Errorf("got %d bytes sent by the copy that went on, want about a tenth of %d", s.Literal, notedSize)
				}
				if c.name == "push" && (r.done != 1 || len(r.content) != notedSize) {
					t.Errorf("the inspector has seen %d bytes, done %d times", len(r.content), r.done)
				}
				info, err := os.Stat(filepath.Join(to, "large"))
				must(t, err)
				if !info.ModTime().Equal(old) || info.Size() != notedSize {
					t.Errorf("got a file of %d bytes and %v", info.Size(), info.ModTime())
				}
			})
		}
	}
}

// TestNotesThatDoNotHold: where anything about them has changed, all is compared.
func TestNotesThatDoNotHold(t *testing.T) {
	t.Parallel()
	later := old.Add(time.Hour)
	for name, test := range map[string]struct {
		before  func(t *testing.T, from string)
		between func(t *testing.T, from, to, file string)
		opts    func(*Options)
	}{
		"the source was written to a moment ago": {before: func(t *testing.T, from string) {
			moment := time.Now().Add(time.Hour) // it takes a busy machine a while to come to reading it
			must(t, os.Chtimes(filepath.Join(from, "large"), moment, moment))
		}},
		"the source has another time": {between: func(t *testing.T, from, _, _ string) {
			must(t, os.Chtimes(filepath.Join(from, "large"), later, later))
		}},
		"the source has another size": {between: func(t *testing.T, from, _, _ string) {
			must(t, os.Truncate(filepath.Join(from, "large"), notedSize-1))
			must(t, os.Chtimes(filepath.Join(from, "large"), old, old))
		}},
		"the target's file was made anew": {between: func(t *testing.T, _, to, file string) {
			content, err := os.ReadFile(filepath.Join(to, file))
			must(t, errors.Join(err, os.WriteFile(filepath.Join(to, "new"), content, 0o600),
				os.Rename(filepath.Join(to, "new"), filepath.Join(to, file))))
		}},
		"the notes are damaged": {between: func(t *testing.T, _, to, _ string) {
			patch(t, filepath.Join(to, notesName), 5, []byte("x"))
			must(t, os.Chtimes(filepath.Join(to, notesName), old, old))
		}},
		"another copy, by content": {opts: func(o *Options) { o.Resume, o.Checksum = "another one", true }},
	} {
		for _, c := range copiers {
			for _, inPlace := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/inplace=%v", name, c.name, inPlace), func(t *testing.T) {
					t.Parallel()
					from, to := notedSource(t), t.TempDir()
					o := notedOptions
					o.InPlace, o.Checksum = inPlace, inPlace
					if test.before != nil {
						test.before(t, from)
					}
					cutNear(t, c, from, to, o)
					file := tamper(t, to, inPlace)
					if test.between != nil {
						test.between(t, from, to, file)
					}
					if test.opts != nil {
						test.opts(&o)
					}
					o.OnChange = LetPass
					_, err := c.copy(t.Context(), newFarEnds(t).dial, from, to, o)
					must(t, err)
					if tampered(t, to) {
						t.Error("what was noted has not been compared")
					}
					if _, err := os.Lstat(filepath.Join(to, notesName)); !errors.Is(err, os.ErrNotExist) {
						t.Errorf("got %v for the notes of a copy that is done, want none", err)
					}
				})
			}
		}
	}
}

// TestNotesOfAnOlderState: a file is copied in part, then in part in another
// state, and then it is what it was at first. Nothing of the second may stay.
func TestNotesOfAnOlderState(t *testing.T) {
	t.Parallel()
	for _, c := range copiers {
		from, to := notedSource(t), t.TempDir()
		name := filepath.Join(from, "large")
		first, err := os.ReadFile(name)
		must(t, err)
		cutNear(t, c, from, to, notedOptions)
		write(t, from, "large", bytes.Repeat(noise(2, 1<<20), notedSize>>20))
		must(t, os.Chtimes(name, old.Add(time.Hour), old.Add(time.Hour)))
		cutNear(t, c, from, to, notedOptions)
		write(t, from, "large", first)
		_, err = c.copy(t.Context(), newFarEnds(t).dial, from, to, notedOptions)
		must(t, err)
		checkSame(t, to, from)
	}
}

// TestNotedIsOnDisk looks at the system calls of the far end: a note is written
// only when the file was flushed after its last write before.
func TestNotedIsOnDisk(t *testing.T) {
	t.Parallel()
	from, to := notedSource(t), t.TempDir()
	log := filepath.Join(t.TempDir(), "strace")
	dial := func(ctx context.Context) (io.ReadWriteCloser, error) {
		return start(ctx, "strace", "-f", "-y", "-o", log, "-e", "trace=fdatasync,write", os.Args[0])
	}
	_, err := Push(t.Context(), dial, from, to, notedOptions)
	must(t, err)
	content, err := os.ReadFile(log)
	must(t, err)
	flushes, notes := 0, 0
	for _, call := range strings.Split(string(content), "\n") {
		switch {
		case regexp.MustCompile(`fdatasync\(\d+<[^>]*` + regexp.QuoteMeta(tempName("large"))).MatchString(call):
			flushes++
		case regexp.MustCompile(`write\(\d+<[^>]*` + regexp.QuoteMeta(notesName)).MatchString(call):
			if notes++; flushes < notes {
				t.Errorf("note %d was written after %d flushes", notes, flushes)
			}
		}
	}
	if notes == 0 {
		t.Error("nothing was noted")
	}
}

// TestRecordsOfNotes is the way there and back, and what is left of damaged ones.
func TestRecordsOfNotes(t *testing.T) {
	t.Parallel()
	all := []note{
		{path: "a", inode: 7, size: 100 << 20, stamp: old, from: 8 << 20, to: 16 << 20},
		{path: "b/c", inode: 1 << 60, size: 1, from: 0, to: 0},
		{path: "a", inode: 7, size: 100 << 20, stamp: old, from: 0, to: 8 << 20},
		{path: "a", inode: 7, size: 100 << 20, stamp: old, from: 32 << 20, to: 40 << 20},
	}
	var b []byte
	var ends []int
	for _, n := range all {
		b = append(b, n.encode()...)
		ends = append(ends, len(b))
	}
	for i := range len(b) + 1 {
		want := 0
		for want < len(ends) && ends[want] <= i {
			want++
		}
		if got := decodeNotes(b[:i]); len(got) != want {
			t.Errorf("got %d notes from the first %d bytes, want %d", len(got), i, want)
		}
	}
	got := gather(decodeNotes(b))["a"]
	if want := []span{{0, 16 << 20}, {32 << 20, 40 << 20}}; got == nil || fmt.Sprint(got.done) != fmt.Sprint(want) || !got.stamp.Equal(old) {
		t.Errorf("got %+v, want %v", got, want)
	}
	other := all[0]
	other.stamp, other.from, other.to = old.Add(1), 0, 0
	if got := gather(append(all, other))["a"]; len(got.done) != 0 {
		t.Errorf("got %v, want nothing of another state", got.done)
	}
}
