package basebackup

import (
	"errors"
	"io"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"github.com/warmrun/warmrun/builtins/basebackup/manifest"
	"github.com/warmrun/warmrun/builtins/basebackup/page"
	"github.com/warmrun/warmrun/builtins/filesync"
	"github.com/warmrun/warmrun/walcore"
)

// inspection looks at all files of a base copy while their bytes pass: it adds
// up the checksums for the manifest, and judges the pages of relations where
// the cluster has data_checksums on.
type inspection struct {
	control walcore.ControlFile
	start   walcore.LSN // where the backup began
	goOn    bool        // past bad pages

	mu    sync.Mutex
	files passed
	pages int64 // judged
	bad   badPages
}

// tree is for a tree that lies at each of the prefixes in the data directory.
// "" is the data directory itself.
func (n *inspection) tree(prefixes ...string) func(filesync.Entry) filesync.Inspector {
	return func(e filesync.Entry) filesync.Inspector {
		f := &fileInspection{inspection: n, modified: e.ModTime}
		for _, prefix := range prefixes {
			f.names = append(f.names, path.Join(prefix, e.Path))
		}
		if segment, ok := checksummed(f.names[0]); ok && n.control.ChecksumVersion != 0 {
			f.judged, f.first = true, segment*n.control.RelationBlocks
		}
		return f
	}
}

// add lists a file that the copy gets in another way.
func (n *inspection) add(name string, content []byte) {
	h := manifest.CRC32C.New()
	h.Write(content) //nolint:errcheck // a hash takes everything
	n.list(name, int64(len(content)), time.Now(), h.Sum(nil))
}

func (n *inspection) list(name string, size int64, modified time.Time, sum []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.files.add(manifest.File{Path: name, Size: size, ModTime: modified, Algorithm: manifest.CRC32C, Checksum: sum})
}

// count adds what was found in a file.
func (n *inspection) count(pages int64, bad ...BadPage) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pages += pages
	for _, b := range bad {
		n.bad.add(b)
	}
}

// checksummed reports whether a file in the data directory is one whose pages
// have checksums: of a relation, in a database or shared (sendFile in
// backup/basebackup.c of 17, which looks at no others). segment is which of the
// files of its fork it is.
func checksummed(name string) (segment uint32, ok bool) {
	if !inDatabase(name) && path.Dir(name) != "global" {
		return 0, false
	}
	r, ok := parseRelation(path.Base(name))
	return r.segment, ok
}

// fileInspection looks at one file.
type fileInspection struct {
	*inspection
	names    []string // in the data directory; the file may be reached in two ways
	modified time.Time
	judged   bool   // its pages have checksums
	first    uint32 // block number of its first page
	sum      manifest.Pieces
	passed   atomic.Int64 // pages that were judged

	mu    sync.Mutex
	found []BadPage // that were gone past
}

// errBadPage ends a copy at the first page that is bad.
var errBadPage = errors.New("a page is bad")

// Block judges the pages in a stretch of the file. Only then is it added up:
// a page that was read again is in the copy as it was read last.
func (f *fileInspection) Block(offset int64, p []byte, file io.ReaderAt) error {
	if f.judged {
		if err := f.judge(offset, p, file); err != nil {
			return err
		}
	}
	f.sum.Add(offset, p)
	return nil
}

// Done lists the file in the manifest. What was found counts only now: a file
// may be looked at twice, and is done once.
func (f *fileInspection) Done(size int64) error {
	sum, err := f.sum.Sum(size)
	if err != nil {
		return err
	}
	for _, name := range f.names {
		f.list(name, size, f.modified, sum)
	}
	f.inspection.count(f.passed.Load(), f.found...)
	return nil
}

// judge looks at every whole page. What a file has beyond its last whole page
// was cut or is being written, and WAL mends it.
func (f *fileInspection) judge(offset int64, p []byte, file io.ReaderAt) error {
	size := int(f.control.BlockSize)
	block := f.first + uint32(offset/int64(size))
	judged := int64(len(p) / size)
	for ; len(p) >= size; p, offset, block = p[size:], offset+int64(size), block+1 {
		if page.Good(p[:size], block, f.start) {
			continue
		}
		good, err := f.readAgain(p[:size], block, offset, file)
		if err != nil {
			return err
		}
		if good {
			continue
		}
		bad := BadPage{Path: f.names[0], Block: block, Stored: page.Stored(p), Computed: page.Checksum(p[:size], block)}
		if !f.goOn {
			f.inspection.count(0, bad)
			return errBadPage
		}
		f.note(bad)
	}
	f.passed.Add(judged)
	return nil
}

// note remembers a page that is gone past.
func (f *fileInspection) note(bad BadPage) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.found = append(f.found, bad)
}

// rereads are the pauses before a page that looks bad is read again: a server
// that was writing it is done soon.
var rereads = [...]time.Duration{0, time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond}

// readAgain reads a page that looks bad again, a few times. It becomes good
// when it was torn: either it is whole then, or its LSN says that WAL has it.
func (f *fileInspection) readAgain(p []byte, block uint32, offset int64, file io.ReaderAt) (good bool, err error) {
	for _, pause := range rereads {
		timer := time.NewTimer(pause)
		<-timer.C
		n, err := file.ReadAt(p, offset)
		if errors.Is(err, io.EOF) && n < len(p) {
			clear(p[n:]) // the relation was truncated, which WAL will repeat
			return true, nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		if page.Good(p, block, f.start) {
			return true, nil
		}
	}
	return false, nil
}
