package filesync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// largeContent is content for a file of several parts. Each begins with noise;
// the rest is zeros, so that tests have little to write to disk.
func largeContent(seed uint64) []byte {
	content := make([]byte, 2*rangeSize+3<<20)
	for at := 0; at < len(content); at += rangeSize {
		copy(content[at:], noise(seed, largeNoise))
	}
	return content
}

const largeNoise = 1 << 20

// TestPartsOfALargeFile copies a file that several streams share: new, over an
// older one of another length, over one of the same content, in place and not.
func TestPartsOfALargeFile(t *testing.T) {
	t.Parallel()
	content := largeContent(1)
	older := map[string]func() []byte{
		"none":    nil,
		"same":    func() []byte { return content },
		"shorter": func() []byte { return content[:rangeSize+77] },
		"longer":  func() []byte { return append(bytes.Clone(content), noise(2, 3*blockSize)...) },
		"patched": func() []byte {
			b := bytes.Clone(content)
			b[rangeSize+5] ^= 1
			return b
		},
	}
	for _, inPlace := range []bool{false, true} {
		for name, make := range older {
			t.Run(fmt.Sprintf("%s,inplace=%v", name, inPlace), func(t *testing.T) {
				t.Parallel()
				bothWays(t, func(t *testing.T, run func(from, to string, o Options) (Summary, error)) {
					from, to := t.TempDir(), t.TempDir()
					write(t, from, "large", content)
					write(t, from, "small", []byte("x"))
					if make != nil {
						write(t, to, "large", make())
					}
					s, err := run(from, to, Options{Checksum: true, InPlace: inPlace})
					must(t, err)
					checkSame(t, to, from)
					checkNoTemps(t, to)
					want := map[string]int64{"none": 3 * largeNoise, "same": 0, "longer": 0, "patched": blockSize,
						"shorter": 2 * largeNoise}[name] + 1
					if s.Literal != want {
						t.Errorf("got %d bytes of content sent, want %d", s.Literal, want)
					}
					if transferred := s.Transferred; transferred != 2 && name != "same" || name == "same" && transferred != 1 {
						t.Errorf("got %d files transferred", transferred)
					}
				})
			})
		}
	}
}

// TestLargeFileKeepsAllStreamsBusy: no stream is left alone with a large file.
func TestLargeFileKeepsAllStreamsBusy(t *testing.T) {
	t.Parallel()
	source := newCatalog()
	for _, e := range []Entry{{Path: ".", Kind: Dir}, {Path: "1-small", Kind: File, Size: 10}, {Path: "2-large", Kind: File, Size: 1 << 30}} {
		source.add(e)
	}
	plan := rules{}.compare(source, false).finish()
	lane := newQueue(&plan, 1).lane()
	var at int64
	for {
		j, ok := lane.take(1 << 62)
		if !ok {
			t.Fatal("got nothing, want the small file at the end")
		}
		if j.entry.Path == "1-small" {
			break
		}
		must(t, j.check())
		if j.from != at || j.size() > rangeSize {
			t.Errorf("got a part from %d to %d, want one of at most %d from %d", j.from, j.to, rangeSize, at)
		}
		at = j.to
	}
	if at != 1<<30 {
		t.Errorf("got parts up to %d, want all of the file", at)
	}
}

// TestLargeFileChanges: what happens to a large file is told once, whatever
// part notices it.
func TestLargeFileChanges(t *testing.T) {
	t.Parallel()
	for _, want := range []Change{Vanished, Shrunk, Grown} {
		t.Run(want.String(), func(t *testing.T) {
			bothWays(t, func(t *testing.T, run func(from, to string, o Options) (Summary, error)) {
				from, to := t.TempDir(), t.TempDir()
				content := largeContent(1)
				write(t, from, "large", content)
				write(t, to, "large", content[:1<<20])
				name := filepath.Join(from, "large")
				var told []Change
				_, err := run(from, to, Options{Delete: true,
					OnChange: func(_ string, c Change) error { told = append(told, c); return nil },
					listed: func() {
						switch want {
						case Vanished:
							must(t, os.Remove(name))
						case Shrunk:
							must(t, os.Truncate(name, rangeSize+100))
						case Grown:
							must(t, os.Truncate(name, int64(len(content))+1))
						}
					}})
				must(t, err)
				if len(told) != 1 || told[0] != want {
					t.Errorf("got told %v, want once that it %v", told, want)
				}
				checkNoTemps(t, to)
				switch want {
				case Vanished:
					if _, err := os.Lstat(filepath.Join(to, "large")); !errors.Is(err, os.ErrNotExist) {
						t.Errorf("got %v, want nothing there", err)
					}
				case Shrunk:
					clear(content[rangeSize+100:])
					checkContent(t, to, "large", content)
				case Grown:
					checkContent(t, to, "large", content)
				}
			})
		})
	}
}

// TestLargeFileInPlaceOverSomethingElse: what is no file is replaced by one.
func TestLargeFileInPlaceOverSomethingElse(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, run func(from, to string, o Options) (Summary, error)) {
		from, to := t.TempDir(), t.TempDir()
		for _, name := range []string{"link", "pipe"} {
			write(t, from, name, noise(1, 1<<20))
			must(t, os.Truncate(filepath.Join(from, name), rangeSize+1))
			must(t, os.Chtimes(filepath.Join(from, name), old, old))
		}
		must(t, os.Symlink("/nowhere", filepath.Join(to, "link")))
		mkfifo(t, filepath.Join(to, "pipe"))
		_, err := run(from, to, Options{InPlace: true})
		must(t, err)
		checkSame(t, to, from)
		checkNoTemps(t, to)
	})
}

// TestLargeFileReplacedBetweenItsParts: no part by itself sees it.
func TestLargeFileReplacedBetweenItsParts(t *testing.T) {
	t.Parallel()
	for _, c := range copiers {
		for _, allowed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/allowed=%v", c.name, allowed), func(t *testing.T) {
				from, to := t.TempDir(), t.TempDir()
				name := filepath.Join(from, "large")
				write(t, from, "large", noise(1, 1<<20))
				must(t, os.Truncate(name, rangeSize+1<<20))
				// More for the other side to hand over before it comes to the second part.
				patch(t, name, rangeSize-1<<20, noise(3, 1<<20))
				must(t, os.Chtimes(name, old, old))
				far := newFarEnds(t)
				far.wrap = func(rw io.ReadWriteCloser) io.ReadWriteCloser {
					return &tripwire{ReadWriteCloser: rw, left: 512 << 10, trip: func() error { // within the first part
						write(t, from, "new", noise(2, 1<<20))
						must(t, os.Truncate(filepath.Join(from, "new"), rangeSize+1<<20))
						return os.Rename(filepath.Join(from, "new"), name)
					}}
				}
				o := Options{Streams: 1, Compress: CompressNone}
				var told []Change
				if allowed {
					o.OnChange = func(_ string, c Change) error { told = append(told, c); return nil }
				}
				_, err := c.copy(t.Context(), far.dial, from, to, o)
				switch {
				case !allowed && (err == nil || !strings.Contains(err.Error(), "large: the file was modified")):
					t.Errorf("got %v, want an error about the file", err)
				case allowed && (err != nil || len(told) != 1 || told[0] != Modified):
					t.Errorf("got %v and told %v, want once that it %v", err, told, Modified)
				}
			})
		}
	}
}

// TestStampsOfParts: times that were moved by a nanosecond are no change.
func TestStampsOfParts(t *testing.T) {
	t.Parallel()
	const moved = -time.Nanosecond
	for _, c := range []struct {
		stamps []time.Duration // since old
		want   int
	}{
		{[]time.Duration{0, 0, 0}, 0},
		{[]time.Duration{0, moved, 0}, 0},
		{[]time.Duration{moved, 0, moved, moved}, 0},
		{[]time.Duration{0, time.Microsecond, time.Microsecond + moved, 0}, 1},
		{[]time.Duration{time.Microsecond, 0, 0}, 1},
	} {
		size := int64(len(c.stamps)) * rangeSize
		s := newSplit(job{entry: &Entry{Path: "large", Kind: File, Size: size}, to: size, basis: -1, partial: -1})
		got := 0
		for i, since := range c.stamps {
			last, mixed := s.done(s.part(int64(i)*rangeSize), outcome{touched: true, stamp: old.Add(since)})
			if mixed {
				got++
			}
			if last != (i == len(c.stamps)-1) {
				t.Errorf("%v: got last=%v at part %d", c.stamps, last, i)
			}
		}
		if got != c.want {
			t.Errorf("%v: told %d times that it was modified, want %d", c.stamps, got, c.want)
		}
	}
}

// TestAnswersAreTakenWhileFinishesAreWritten: the goroutine that reads must
// never wait for the one that writes.
func TestAnswersAreTakenWhileFinishesAreWritten(t *testing.T) {
	t.Parallel()
	size := int64(rangeSize + 1)
	s := newSplit(job{entry: &Entry{Path: "large", Kind: File, Size: size}, to: size, basis: -1, partial: -1})
	parts := &sentParts{jobs: map[uint32]job{}, track: newTracker(Options{}), ready: []*split{s}}
	other := newSplit(s.whole).part(0)
	parts.add(other)
	parts.c = newConn(struct {
		io.Reader
		io.Writer
	}{nil, writerFunc(func(b []byte) (int, error) {
		return len(b), parts.done(encodeOutcome(other.id, outcome{touched: true, stamp: old}))
	})})
	ended := make(chan error, 1)
	go func() { ended <- parts.end() }()
	select {
	case err := <-ended:
		must(t, err)
	case <-time.After(10 * time.Second):
		t.Fatal("an answer waits until something is written")
	}
}

// TestBasisWrittenToWhileAPartIsCopiedFromIt fails the copy, as it does for a
// whole file.
func TestBasisWrittenToWhileAPartIsCopiedFromIt(t *testing.T) {
	t.Parallel()
	const size = rangeSize + 1<<20
	root := t.TempDir()
	write(t, root, "large", noise(1, 1<<20))
	must(t, os.Truncate(filepath.Join(root, "large"), size))
	tree, err := openTree(t.Context(), root, treeOptions{})
	must(t, err)
	r := newReceiver(tree)
	in := &incoming{job: job{entry: &Entry{Path: "large", Kind: File, Size: size}, to: rangeSize, basis: size, partial: -1}, shared: true}
	must(t, r.write(in, 2<<20, []byte("differs")))
	patch(t, filepath.Join(root, "large"), 5, []byte("by another program"))
	checkErrorIs(t, r.completePart(0, in, old), errBasisChanged)
	must(t, errors.Join(r.close(), tree.close()))
}

// TestBasisWrittenToAfterAPartWasCompared: what is the same in all parts, or in
// one of them, must still be so when the file is put together.
func TestBasisWrittenToAfterAPartWasCompared(t *testing.T) {
	t.Parallel()
	const size = 2 * rangeSize
	for _, parts := range []int64{1, 2} {
		for _, written := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d of 2 the same/written=%v", parts, written), func(t *testing.T) {
				root := t.TempDir()
				name := filepath.Join(root, "large")
				write(t, root, "large", noise(1, 1<<20))
				must(t, os.Truncate(name, size))
				must(t, os.Chtimes(name, old, old))
				tree, err := openTree(t.Context(), root, treeOptions{})
				must(t, err)
				r := newReceiver(tree)
				r.hash, err = newHasher(newHashKey())
				must(t, err)
				r.answer = func(frameType, ...[]byte) error { return nil }
				s := newSplit(job{entry: &Entry{Path: "large", Kind: File, Mode: 0o600, Size: size}, to: size, basis: size, partial: -1})
				r.ended = func(j job, o outcome) error {
					id, o, err := decodeOutcome(encodeOutcome(j.id, o)) // as in a push
					if last, _ := s.done(j, o); last && id != 1 {
						t.Errorf("part %d is the last", id)
					}
					return err
				}
				for i := range int64(2) {
					in := &incoming{job: s.part(i * rangeSize), shared: true, at: i * rangeSize}
					in.id = uint32(i)
					r.jobs[in.id] = in
					must(t, r.sums(&decoder{b: new(encoder).uint(uint64(i)).int(in.from).b}))
					if i >= parts {
						must(t, r.write(in, in.from, []byte("differs")))
					}
					must(t, r.completePart(in.id, in, old))
				}
				if written {
					patch(t, name, 5, []byte("by another program"))
				}
				f, err := decodeFinish(s.finish().encode())
				must(t, err)
				err = r.finish(f)
				if written {
					checkErrorIs(t, err, errBasisChanged)
				} else {
					must(t, err)
				}
				must(t, errors.Join(r.close(), tree.close()))
			})
		}
	}
}

// TestInspectLargeFile: parts come concurrently, and each byte once.
func TestInspectLargeFile(t *testing.T) {
	t.Parallel()
	from, to := t.TempDir(), t.TempDir()
	content := largeContent(1)
	write(t, from, "large", content)
	r := &recorder{}
	var asked atomic.Int32
	_, err := Push(t.Context(), newFarEnds(t).dial, from, to, Options{Inspect: func(Entry) Inspector { asked.Add(1); return r }})
	must(t, err)
	if asked.Load() != 1 || r.done != 1 || !bytes.Equal(r.content, content) {
		t.Errorf("got asked %d times, done %d times and %d bytes seen, want 1, 1 and all %d", asked.Load(), r.done, r.seen, len(content))
	}
}

// TestResume cuts a copy of a large file and looks at what the next one sends.
func TestResume(t *testing.T) {
	t.Parallel()
	cut := errors.New("cut here")
	for _, c := range copiers {
		for _, size := range []int{40 << 20, 2*rangeSize + 5} {
			t.Run(fmt.Sprintf("%s/%d", c.name, size>>20), func(t *testing.T) {
				from, to := t.TempDir(), t.TempDir()
				write(t, from, "large", bytes.Repeat(noise(1, 1<<20), size>>20+1)[:size])
				write(t, to, "large", noise(2, 5*blockSize))
				write(t, to, tempName("other"), []byte("of a file that is no more"))
				far := newFarEnds(t)
				dial := func(ctx context.Context) (io.ReadWriteCloser, error) {
					rw, err := far.dial(ctx)
					return &tripwire{ReadWriteCloser: rw, left: size * 9 / 10, trip: func() error { _ = rw.Close(); return cut }}, err
				}
				o := Options{Streams: 1, Compress: CompressNone}
				if _, err := c.copy(t.Context(), dial, from, to, o); err == nil {
					t.Fatal("got no error from the copy that was cut")
				}
				far.wait.Wait()
				checkContent(t, to, "large", noise(2, 5*blockSize))
				s, err := c.copy(t.Context(), newFarEnds(t).dial, from, to, o)
				must(t, err)
				checkSame(t, to, from)
				checkNoTemps(t, to)
				if s.Literal > int64(size)/5 {
					t.Errorf("got %d bytes sent by the copy that went on, want about a tenth of %d", s.Literal, size)
				}
			})
		}
	}
}

// TestResumeTrustsNothing: what was left under the temporary name is compared,
// whatever is in it.
func TestResumeTrustsNothing(t *testing.T) {
	t.Parallel()
	for _, left := range []int{1, blockSize + 1, 3 << 20, 20 << 20} {
		bothWays(t, func(t *testing.T, run func(from, to string, o Options) (Summary, error)) {
			from, to := t.TempDir(), t.TempDir()
			content := noise(1, 9<<20)
			clear(content[4<<20 : 5<<20])
			write(t, from, "f", content)
			write(t, to, "f", append(bytes.Clone(content[:6<<20]), noise(3, 100)...))
			write(t, to, tempName("f"), noise(2, left))
			_, err := run(from, to, Options{})
			must(t, err)
			checkSame(t, to, from)
			checkNoTemps(t, to)
		})
	}
}

// TestForeignLeftovers: a link or a file with another name is not written
// through.
func TestForeignLeftovers(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, run func(from, to string, o Options) (Summary, error)) {
		a := newArena(t)
		from := t.TempDir()
		for _, name := range []string{"one", "two", "three"} {
			write(t, from, name, noise(1, 3<<20))
		}
		must(t, os.Symlink("../secret", filepath.Join(a.root, tempName("one"))))
		must(t, os.Link(filepath.Join(a.dir, "outside/file"), filepath.Join(a.root, tempName("two"))))
		must(t, syscall.Mkfifo(filepath.Join(a.root, tempName("three")), 0o600))
		_, err := run(from, a.root, Options{Delete: true})
		must(t, err)
		checkSame(t, a.root, from)
		a.check(t)
	})
}

// TestHoles: zeros are not sent and take no room on the target.
func TestHoles(t *testing.T) {
	t.Parallel()
	for _, sparse := range []bool{false, true} {
		for _, inPlace := range []bool{false, true} {
			for _, basis := range []bool{false, true} {
				t.Run(fmt.Sprintf("sparse=%v,inplace=%v,basis=%v", sparse, inPlace, basis), func(t *testing.T) {
					bothWays(t, func(t *testing.T, run func(from, to string, o Options) (Summary, error)) {
						from, to := t.TempDir(), t.TempDir()
						write(t, from, "f", noise(1, 1<<20))
						name := filepath.Join(from, "f")
						if sparse {
							must(t, os.Truncate(name, 30<<20))
							must(t, os.Chtimes(name, old, old))
						} else {
							write(t, from, "f", append(noise(1, 1<<20), make([]byte, 29<<20)...))
						}
						if basis {
							write(t, to, "f", noise(2, 20<<20))
						}
						s, err := run(from, to, Options{InPlace: inPlace})
						must(t, err)
						checkSame(t, to, from)
						if s.Literal > 1<<20 || s.Sent+s.Received > 2<<20 {
							t.Errorf("got %d bytes of content, %d on the wire, want no zeros sent", s.Literal, s.Sent+s.Received)
						}
						info, err := os.Stat(filepath.Join(to, "f"))
						must(t, err)
						if used := info.Sys().(*syscall.Stat_t).Blocks * 512; used > 2<<20 {
							t.Errorf("got %d bytes taken on the target, want holes", used)
						}
					})
				})
			}
		}
	}
}

// TestHolesOfTheBasis stay holes in the copy that takes its place.
func TestHolesOfTheBasis(t *testing.T) {
	t.Parallel()
	from, to := t.TempDir(), t.TempDir()
	for _, root := range []string{from, to} {
		write(t, root, "f", noise(1, 1<<20))
		must(t, os.Truncate(filepath.Join(root, "f"), 30<<20))
	}
	patch(t, filepath.Join(from, "f"), 25<<20, []byte("changed"))
	_, err := Push(t.Context(), newFarEnds(t).dial, from, to, Options{})
	must(t, err)
	checkSame(t, to, from)
	info, err := os.Stat(filepath.Join(to, "f"))
	must(t, err)
	if used := info.Sys().(*syscall.Stat_t).Blocks * 512; used > 2<<20 {
		t.Errorf("got %d bytes taken on the target, want holes", used)
	}
}

// TestCompression: content that packs well does.
func TestCompression(t *testing.T) {
	t.Parallel()
	for _, how := range []Compression{"", CompressNone, CompressS2, CompressZstd} {
		bothWays(t, func(t *testing.T, run func(from, to string, o Options) (Summary, error)) {
			from, to := t.TempDir(), t.TempDir()
			write(t, from, "text", bytes.Repeat([]byte("to be or not to be "), 200_000))
			write(t, from, "note", bytes.Repeat([]byte("to be or not to be "), 200))
			write(t, from, "noise", noise(1, 1<<20))
			s, err := run(from, to, Options{Compress: how})
			must(t, err)
			checkSame(t, to, from)
			if packs := s.Sent+s.Received < s.TotalSize/2; packs != (how != CompressNone) {
				t.Errorf("%q: got %d bytes on the wire for %d", how, s.Sent+s.Received, s.TotalSize)
			}
		})
	}
	_, err := Push(t.Context(), newFarEnds(t).dial, t.TempDir(), t.TempDir(), Options{Compress: "gzip"})
	if err == nil {
		t.Error("got no error for a compression that there is not")
	}
}
