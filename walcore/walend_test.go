package walcore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRecordEnd(t *testing.T) {
	b := newWAL(4)
	small := b.other(10)
	smallEnd := b.at
	long := b.other(3 << 20)
	longEnd := b.at
	b.fill(24, false)
	last := b.other(0)
	lastEnd := b.at // with its page

	tests := []struct{ at, want LSN }{{small, smallEnd}, {long, longEnd}, {last, lastEnd}, {b.base, smallEnd}}
	for _, tt := range tests {
		got, err := RecordEnd(b.open, tt.at, 1, b.size)
		if err != nil || got != tt.want {
			t.Errorf("RecordEnd(%s): got %s, %v, want %s", tt.at, got, err, tt.want)
		}
	}
	for _, at := range []LSN{b.at, b.base + 8, small + 8, long + 3, b.base + LSN(b.block) + shortHeaderSize, 0, 1 << 40} {
		if got, err := RecordEnd(b.open, at, 1, b.size); err == nil {
			t.Errorf("RecordEnd(%s): got %s, want an error", at, got)
		}
	}
	if _, err := RecordEnd(b.open, 1<<40, 1, b.size); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no such segment: got %v, want fs.ErrNotExist", err)
	}
}

func TestShutdownEnd(t *testing.T) {
	tests := []struct {
		name  string
		build func(b *walBuilder)
	}{
		{"first in its segment", func(b *walBuilder) { b.switchSegment() }},
		{"in a page", func(b *walBuilder) { b.other(10) }},
		{"over a page", func(b *walBuilder) { b.fill(64, false) }},
		{"over a segment", func(b *walBuilder) { b.fill(64, true) }},
		{"up to a page's end", func(b *walBuilder) { b.fill(120, false) }},
		{"up to a segment's end", func(b *walBuilder) { b.fill(120, true) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newWAL(4)
			tt.build(b)
			at := b.shutdown()
			dir := b.save(t)
			for _, f := range []func(string, ControlFile) (LSN, SegmentName, error){ShutdownEnd, EndOfWAL} {
				got, segment, err := f(dir, b.control(at, StateShutDown))
				if want := SegmentAt(1, b.at-1, b.size); err != nil || got != b.at || segment != want {
					t.Errorf("got %s in %s, %v, want %s in %s", got, segment, err, b.at, want)
				}
			}
		})
	}
}

func TestShutdownEndRefuses(t *testing.T) {
	b := newWAL(4)
	other := b.other(10)
	at := b.shutdown()
	dir := b.save(t)
	foreign := b.control(at, StateShutDown)
	foreign.SystemID++
	tests := []struct {
		name    string
		control ControlFile
		want    string
	}{
		{"killed", b.control(at, StateInProduction), `its control file says "in production"`},
		{"a standby", b.control(at, StateShutDownInRecovery), `its control file says "shut down in recovery"`},
		{"another record", b.control(other, StateShutDown), "is no shutdown checkpoint"},
		{"no record", b.control(b.at, StateShutDown), "a record of length 0"},
		{"no segment", b.control(at+10<<20, StateShutDown), "there is no segment"},
		{"another cluster", foreign, "system identifier"},
	}
	for _, tt := range tests {
		_, _, err := ShutdownEnd(dir, tt.control)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

// crashed is WAL of several segments after a checkpoint.
func crashed() (b *walBuilder, checkpoint LSN) {
	b = newWAL(4)
	b.other(10)
	checkpoint = b.add(rmgrXLOG, 0x10, 90)
	for range 5 {
		b.other(700000)
	}
	return b, checkpoint
}

func TestEndOfWAL(t *testing.T) {
	b, checkpoint := crashed()
	whole := b.at
	b.other(2 << 20)
	partly := b.segments()

	t.Run("all there", func(t *testing.T) {
		checkEnd(t, b.save(t), b.control(checkpoint, StateInProduction), b.at)
	})
	t.Run("the last segment of a record is missing", func(t *testing.T) {
		dir := b.save(t)
		if err := os.Remove(filepath.Join(dir, string(b.name(partly-1)))); err != nil {
			t.Fatal(err)
		}
		checkEnd(t, dir, b.control(checkpoint, StateInProduction), whole)
	})
	t.Run("a recycled segment instead", func(t *testing.T) {
		dir := b.save(t)
		writeFile(t, filepath.Join(dir, string(b.name(partly-1))), b.segment(0))
		writeFile(t, filepath.Join(dir, string(b.name(partly))), b.segment(1))
		checkEnd(t, dir, b.control(checkpoint, StateInProduction), whole)
	})
	t.Run("an empty segment instead", func(t *testing.T) {
		dir := b.save(t)
		writeFile(t, filepath.Join(dir, string(b.name(partly-1))), make([]byte, b.size))
		checkEnd(t, dir, b.control(checkpoint, StateInProduction), whole)
	})
	t.Run("redo before the checkpoint", func(t *testing.T) {
		c := b.control(checkpoint, StateInProduction)
		c.Redo = b.base + longHeaderSize
		checkEnd(t, b.save(t), c, b.at)
	})
}

func checkEnd(t *testing.T, dir string, c ControlFile, want LSN) {
	t.Helper()
	got, segment, err := EndOfWAL(dir, c)
	if wantSegment := SegmentAt(c.Timeline, want-1, c.SegmentSize); err != nil || got != want || segment != wantSegment {
		t.Errorf("got %s in %s, %v, want %s in %s", got, segment, err, want, wantSegment)
	}
}

// TestEndOfWALChain has a segment that is valid by itself, but whose first
// record does not point back to the last one of the segment before.
func TestEndOfWALChain(t *testing.T) {
	b, checkpoint := crashed()
	b.fill(24, true)
	b.other(0) // with its segment
	whole := b.at
	b.prev -= 32
	b.other(100)
	if e := mustScan(t, b.segment(b.segments()-1), b.name(b.segments()-1)); e.Records != 1 {
		t.Fatalf("got %d records in the last segment, want 1", e.Records)
	}
	checkEnd(t, b.save(t), b.control(checkpoint, StateInProduction), whole)
}

func TestEndOfWALSwitch(t *testing.T) {
	b, checkpoint := crashed()
	b.switchSegment()
	checkEnd(t, b.save(t), b.control(checkpoint, StateInProduction), b.at)
	b.switchSegment() // a segment that holds nothing else
	checkEnd(t, b.save(t), b.control(checkpoint, StateInProduction), b.at)
}

// TestEndOfWALPromoted is a standby that was promoted and killed before its
// first checkpoint: the control file's checkpoint is of the old timeline.
func TestEndOfWALPromoted(t *testing.T) {
	b, checkpoint := crashed()
	dir := b.save(t)
	fork, copied := b.at, b.segments()-1
	old := *b
	old.buf = append([]byte(nil), b.buf...)
	old.other(2000) // the old primary's, after the fork
	writeFile(t, filepath.Join(dir, string(old.name(copied))), old.segment(copied))

	b.timeline = 2
	b.add(rmgrXLOG, 0x90, 20)
	for range 3 {
		b.other(700000)
	}
	for i := copied; i < b.segments(); i++ {
		writeFile(t, filepath.Join(dir, string(b.name(i))), b.segment(i))
	}
	writeFile(t, filepath.Join(dir, "00000002.history"), []byte("1\t"+fork.String()+"\tno recovery target specified\n"))
	// Not of this history: the new timeline had not begun there.
	writeFile(t, filepath.Join(dir, string(old.name(0).OnTimeline(2))), make([]byte, b.size))

	c := b.control(checkpoint, StateInProduction)
	c.Timeline, c.MinRecoveryTimeline = 1, 2
	got, segment, err := EndOfWAL(dir, c)
	if want := SegmentAt(2, b.at-1, b.size); err != nil || got != b.at || segment != want {
		t.Errorf("got %s in %s, %v, want %s in %s", got, segment, err, b.at, want)
	}
	c.MinRecoveryTimeline = 0 // as if it had never been promoted
	checkEnd(t, dir, c, old.at)
	c.Timeline, c.MinRecoveryTimeline = 3, 0
	if _, _, err := EndOfWAL(dir, c); err == nil {
		t.Error("a timeline without segments: got no error")
	}
}

// TestEndOfWALForeignTimeline has pages of a timeline that is older than the
// cluster's, but not one of its ancestors.
func TestEndOfWALForeignTimeline(t *testing.T) {
	b, checkpoint := crashed()
	dir := b.save(t)
	want := b.at
	b.timeline = 2
	b.other(9000)
	b.timeline = 1
	writeFile(t, filepath.Join(dir, string(b.name(b.segments()-1))), b.segment(b.segments()-1))
	writeFile(t, filepath.Join(dir, "00000003.history"), []byte("1\t"+(want+1<<30).String()+"\tx\n"))
	c := b.control(checkpoint, StateInProduction)
	c.MinRecoveryTimeline = 3
	checkEnd(t, dir, c, want)
}

func TestEndOfWALRefuses(t *testing.T) {
	b, checkpoint := crashed()
	tests := []struct {
		name   string
		change func(dir string, c *ControlFile)
		want   string
	}{
		{"damage before the checkpoint", func(dir string, c *ControlFile) {
			c.Redo, c.Checkpoint = b.base+longHeaderSize, b.prev
			damaged := append([]byte(nil), b.segment(0)...)
			damaged[500000] ^= 1
			writeFile(t, filepath.Join(dir, string(b.name(0))), damaged)
		}, "does not reach"},
		{"no checkpoint there", func(_ string, c *ControlFile) { c.Checkpoint = b.prev }, "does not reach"},
		{"redo after the checkpoint", func(_ string, c *ControlFile) { c.Redo = b.prev }, "lies after its checkpoint"},
		{"no segment size", func(_ string, c *ControlFile) { c.SegmentSize = 0 }, "segment size of 0"},
		{"a segment that cannot be read", func(dir string, _ *ControlFile) {
			path := filepath.Join(dir, string(b.name(2)))
			if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
				t.Fatal(err)
			}
		}, "is a directory"},
		{"a broken history", func(dir string, c *ControlFile) {
			c.MinRecoveryTimeline = 3
			writeFile(t, filepath.Join(dir, "00000003.history"), []byte("x\n"))
		}, "is not a timeline number"},
		{"a foreign timeline", func(dir string, c *ControlFile) {
			c.MinRecoveryTimeline = 3
			writeFile(t, filepath.Join(dir, "00000003.history"), []byte("2\t0/500000\treason\n"))
		}, "is not in the history"},
	}
	for _, tt := range tests {
		dir, c := b.save(t), b.control(checkpoint, StateInProduction)
		tt.change(dir, &c)
		_, _, err := EndOfWAL(dir, c)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestWALDir(t *testing.T) {
	pgdata := t.TempDir()
	for _, tt := range []struct{ make, want string }{{"", "pg_wal"}, {"pg_xlog", "pg_xlog"}, {"pg_wal", "pg_wal"}} {
		if err := os.MkdirAll(filepath.Join(pgdata, tt.make), 0o700); err != nil {
			t.Fatal(err)
		}
		if got, want := WALDir(pgdata), filepath.Join(pgdata, tt.want); got != want {
			t.Errorf("with %q made: got %s, want %s", tt.make, got, want)
		}
	}
}
