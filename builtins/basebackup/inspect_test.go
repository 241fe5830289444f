package basebackup

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/warmrun/warmrun/builtins/basebackup/manifest"
	"github.com/warmrun/warmrun/builtins/basebackup/page"
	"github.com/warmrun/warmrun/builtins/filesync"
	"github.com/warmrun/warmrun/walcore"
)

const (
	pageSize    = 8192
	backupStart = walcore.LSN(0x2000028)
)

func testInspection() *inspection {
	return &inspection{control: walcore.ControlFile{BlockSize: pageSize, RelationBlocks: 131072, ChecksumVersion: 1}, start: backupStart}
}

// goodPage is a page as a server writes it.
func goodPage(block uint32, lsn walcore.LSN, fill byte) []byte {
	p := bytes.Repeat([]byte{fill}, pageSize)
	binary.NativeEndian.PutUint32(p, uint32(lsn>>32))
	binary.NativeEndian.PutUint32(p[4:], uint32(lsn))
	binary.NativeEndian.PutUint16(p[8:], page.Checksum(p, block))
	return p
}

// torn has the first half of one page and the second half of another.
func torn(first, second []byte) []byte {
	return append(bytes.Clone(first[:pageSize/2]), second[pageSize/2:]...)
}

// source is a file whose pages read differently each time.
type source struct {
	reads atomic.Int64
	read  func(n int64) ([]byte, error)
}

func (s *source) ReadAt(p []byte, _ int64) (int, error) {
	content, err := s.read(s.reads.Add(1))
	return copy(p, content), err
}

// TestTornPage: a page that looks bad is read again before it is called so.
func TestTornPage(t *testing.T) {
	t.Parallel()
	const block = 131072 + 1 // the second page of the relation's second file
	old, young := goodPage(block, backupStart-8, 1), goodPage(block, backupStart+8, 2)
	rewritten := goodPage(block, backupStart-8, 3) // a hint bit, as servers without wal_log_hints write it
	for name, c := range map[string]struct {
		first []byte
		again func(n int64) ([]byte, error)
		want  []byte // what the copy gets; nil: the page is bad
		reads int64
	}{
		"whole":                     {old, nil, old, 0},
		"torn, then whole":          {torn(old, rewritten), func(int64) ([]byte, error) { return rewritten, nil }, rewritten, 1},
		"torn, then changed by WAL": {torn(old, young), func(int64) ([]byte, error) { return young, nil }, young, 1},
		"torn twice": {torn(old, rewritten), func(n int64) ([]byte, error) {
			if n < 2 {
				return torn(old, rewritten), nil
			}
			return rewritten, nil
		}, rewritten, 2},
		"truncated meanwhile":        {torn(old, young), func(int64) ([]byte, error) { return nil, io.EOF }, make([]byte, pageSize), 1},
		"truncated within":           {torn(old, young), func(int64) ([]byte, error) { return old[:100], io.EOF }, append(bytes.Clone(old[:100]), make([]byte, pageSize-100)...), 1},
		"the last page of the file":  {torn(old, young), func(int64) ([]byte, error) { return young, io.EOF }, young, 1},
		"bad, however often":         {torn(old, rewritten), func(int64) ([]byte, error) { return torn(old, rewritten), nil }, nil, int64(len(rereads))},
		"in another page's place":    {goodPage(block+1, backupStart-8, 1), func(int64) ([]byte, error) { return goodPage(block+1, backupStart-8, 1), nil }, nil, int64(len(rereads))},
		"torn, and WAL has the rest": {torn(young, old), nil, torn(young, old), 0},
	} {
		n := testInspection()
		f := n.tree("")(filesync.Entry{Path: "base/5/16384.1", Kind: filesync.File})
		s := &source{read: c.again}
		stretch := append(goodPage(block-1, 8, 7), c.first...)
		err := f.Block(0, stretch, s)
		if s.reads.Load() != c.reads {
			t.Errorf("%s: read again %d times, want %d", name, s.reads.Load(), c.reads)
		}
		if c.want == nil {
			want := BadPage{Path: "base/5/16384.1", Block: block, Stored: page.Stored(c.first), Computed: page.Checksum(c.first, block)}
			if !errors.Is(err, errBadPage) || n.bad.count != 1 || n.bad.list[0] != want {
				t.Errorf("%s: got %v and %+v, want %+v", name, err, n.bad, want)
			}
			continue
		}
		if err != nil || n.bad.count > 0 || !bytes.Equal(stretch[pageSize:], c.want) {
			t.Errorf("%s: got %v and %+v, or the copy gets another page", name, err, n.bad)
		}
		must(t, f.Done(2*pageSize))
		if got, want := slices.Collect(n.files.files())[0].Checksum, manifest.CRCBytes(crc32.Checksum(stretch, manifest.Castagnoli)); !bytes.Equal(got, want) {
			t.Errorf("%s: got checksum %x, want that of what the copy gets, %x", name, got, want)
		}
		if n.pages != 2 {
			t.Errorf("%s: got %d pages judged, want 2", name, n.pages)
		}
	}
}

// TestUnreadablePage: an error of the disk is not a bad page.
func TestUnreadablePage(t *testing.T) {
	t.Parallel()
	broken := errors.New("input/output error")
	n := testInspection()
	f := n.tree("")(filesync.Entry{Path: "base/5/16384", Kind: filesync.File})
	s := &source{read: func(int64) ([]byte, error) { return nil, broken }}
	if err := f.Block(0, torn(goodPage(0, 8, 1), goodPage(0, 8, 2)), s); !errors.Is(err, broken) || n.bad.count > 0 {
		t.Errorf("got %v and %+v, want the disk's error", err, n.bad)
	}
}

// TestGoOn: past bad pages, the copy gets them as they are.
func TestGoOn(t *testing.T) {
	t.Parallel()
	n := testInspection()
	n.goOn = true
	f := n.tree("")(filesync.Entry{Path: "global/1262", Kind: filesync.File})
	bad := torn(goodPage(0, 8, 1), goodPage(0, 8, 2))
	s := &source{read: func(int64) ([]byte, error) { return bad, nil }}
	stretch := bytes.Repeat(bad, 2)
	again := n.tree("")(filesync.Entry{Path: "global/1262", Kind: filesync.File})
	must(t, again.Block(0, bytes.Clone(stretch), s)) // and never done
	must(t, f.Block(0, stretch, s))
	must(t, f.Done(int64(len(stretch))))
	if n.bad.count != 2 || n.bad.list[1].Block != 1 || !bytes.Equal(stretch, bytes.Repeat(bad, 2)) {
		t.Errorf("got %+v, want both pages and nothing changed", n.bad)
	}
	for range maxBadPages {
		n.bad.add(BadPage{})
	}
	if n.bad.count != maxBadPages+2 || len(n.bad.list) != maxBadPages {
		t.Errorf("got %d of %d in the list, want %d", len(n.bad.list), n.bad.count, maxBadPages)
	}
}

// TestJudged: only pages of relations are judged, and only where the cluster has
// checksums; what a file has beyond its last whole page is let pass.
func TestJudged(t *testing.T) {
	t.Parallel()
	bad := torn(goodPage(0, 8, 1), goodPage(0, 8, 2))
	s := &source{read: func(int64) ([]byte, error) { return bad, nil }}
	for name, judged := range map[string]bool{
		"base/1/1259": true, "base/1/1259_vm": true, "base/1/1259_fsm.1": true, "base/5/16384_init": true, "global/1262": true,
		"pg_tblspc/16500/PG_15_202209061/5/16501": true,
		"global/pg_filenode.map":                  false, "base/1/PG_VERSION": false, "PG_VERSION": false, "pg_xact/0000": false, "pg_multixact/offsets/0000": false,
		"base/pgsql_tmp/1259": false, "global/pg_control": false,
	} {
		for _, version := range []uint32{0, 1} {
			n := testInspection()
			n.control.ChecksumVersion = version
			err := n.tree("")(filesync.Entry{Path: name, Kind: filesync.File}).Block(0, bad, s)
			if want := judged && version != 0; errors.Is(err, errBadPage) != want {
				t.Errorf("%s, checksum version %d: got %v, want judged %v", name, version, err, want)
			}
		}
	}
	n := testInspection()
	f := n.tree("pg_tblspc/16500", "inner space")(filesync.Entry{Path: "PG_15_202209061/5/16501", Kind: filesync.File, ModTime: time.Unix(5, 0)})
	must(t, f.Block(0, append(goodPage(0, 8, 1), bad[:100]...), s))
	must(t, f.Done(pageSize+100))
	files := slices.Collect(n.files.files())
	if len(files) != 2 || files[0].Path != "inner space/PG_15_202209061/5/16501" || files[1].Path != "pg_tblspc/16500/PG_15_202209061/5/16501" {
		t.Errorf("got %+v, want the file by both its names", files)
	}
}

func TestPlaceOf(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]place{
		"global/1262":       {globalTablespace, "", "1262"},
		"base/5/16384_fsm":  {defaultTablespace, "5", "16384"},
		"base/5/16384.12":   {defaultTablespace, "5", "16384"},
		"pg_xact/0000":      {},
		"base/5/PG_VERSION": {},
		"pg_tblspc/16500/PG_15_202209061/5/16501.1": {"16500", "5", "16501"},
	} {
		if got, ok := placeOf(name); got != want || ok != (want != place{}) {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, ok, want)
		}
	}
}

// BenchmarkInspect is what looking at a relation's file costs the sender.
func BenchmarkInspect(b *testing.B) {
	stretch := make([]byte, 0, 1<<20)
	for block := uint32(0); len(stretch) < 1<<20; block++ {
		stretch = append(stretch, goodPage(block, 8, 7)...)
	}
	b.SetBytes(int64(len(stretch)))
	for b.Loop() {
		f := testInspection().tree("")(filesync.Entry{Path: "base/5/16384", Kind: filesync.File})
		if err := f.Block(0, stretch, nil); err != nil {
			b.Fatal(err)
		}
	}
}
