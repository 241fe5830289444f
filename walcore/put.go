package walcore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/packed"
)

// PutRequest is one file on its way into an archive.
type PutRequest struct {
	Name FileName
	// Size is the file's size in bytes. Body must hold exactly that many; a
	// Body that ends early, goes on or fails leaves nothing behind.
	Size int64
	Body io.Reader
	// Form is how the file is stored, where it is a whole segment that is not
	// there yet; everything else is stored plain. Empty is as the archive was
	// told (Storing). A Body that is a PieceBody is not packed again.
	Form packed.Form
	// Provisional, when not 0, says that the segment is valid up to this LSN
	// and that nothing has been written beyond. What Body holds beyond it is
	// stored as zeros.
	Provisional LSN
	// Turn, when set, is called once the file has been flushed, before it gets
	// its name, and may wait there for files that come before it. An error it
	// returns fails the Put.
	Turn func(ctx context.Context) error
	// Step, when set, is called before each step with its name, one of
	// PutSteps. An error it returns fails the Put at that step.
	Step func(step string) error
}

// PutResult says what a successful Put did.
type PutResult struct {
	// Identical: the archive already had what was offered, and kept it: the
	// same bytes, the same records up to their valid end, or more of a
	// segment that was offered provisionally.
	Identical bool `json:"identical"`
	// Replaced: a provisional segment gave way to this one.
	Replaced bool `json:"replaced"`
	// Bytes is how much was stored, 0 when Identical.
	Bytes int64 `json:"bytes"`
}

// PutSteps are the names of the steps of Put, in their order. "stamp" comes
// only with the first segment of an archive, "sidecar" and "unsidecar" with
// provisional segments.
func PutSteps() []string {
	return []string{"space", "write", "fsync", "stamp", "sidecar", "rename", "fsync-dir", "unsidecar"}
}

// Put stores a file under its name, whole or not at all. When it returns nil,
// the bytes and the directory entry have been flushed to disk.
//
// A name that is already there is never overwritten. The same bytes again are
// a success, before any fence is looked at. Other bytes are a success only
// where both copies hold the same records to the same end, and that end is an
// XLOG_SWITCH, a shutdown checkpoint or the segment's last byte. A provisional
// segment gives way to one that begins with the same bytes and goes on.
// Everything else is a *RefusedError.
//
// A segment must be whole, of the cluster that the archive's stamp names, and
// must not go past a cut of the fence. .partial files need the size and the
// cluster only. History files need to be histories. Any number of writers may
// put the same name at once.
func (a *Archive) Put(ctx context.Context, r PutRequest) (result PutResult, err error) {
	if r.Step == nil {
		r.Step = func(string) error { return nil }
	}
	p := &put{archive: a, PutRequest: r}
	defer func() {
		err = errors.Join(err, p.close())
		if err != nil {
			result, err = PutResult{}, a.explainSpace(err, r.Name, r.Size)
		}
	}()
	if err := a.prepare(); err != nil {
		return PutResult{}, err
	}
	if err := p.check(); err != nil {
		return PutResult{}, err
	}
	if err := p.receive(ctx); err != nil {
		return PutResult{}, fmt.Errorf("store %s in %s: %w", r.Name, a.dir, err)
	}
	if p.same {
		return p.settle()
	}
	if err := p.inspect(); err != nil {
		return PutResult{}, err
	}
	if err := p.flush(); err != nil {
		return PutResult{}, fmt.Errorf("store %s in %s: %w", r.Name, a.dir, err)
	}
	if r.Turn != nil {
		if err := r.Turn(ctx); err != nil {
			return PutResult{}, err
		}
	}
	return p.install(ctx)
}

// PutFile is Put of a file of this machine.
func (a *Archive) PutFile(ctx context.Context, name FileName, path string, provisional LSN) (PutResult, error) {
	f, err := os.Open(path)
	if err != nil {
		return PutResult{}, err
	}
	info, err := f.Stat()
	if err != nil {
		return PutResult{}, errors.Join(err, f.Close())
	}
	result, err := a.Put(ctx, PutRequest{Name: name, Size: info.Size(), Body: f, Provisional: provisional})
	return result, errors.Join(err, f.Close())
}

// put is one Put under way.
type put struct {
	PutRequest
	archive *Archive
	path    string      // of the final name, were it plain
	stored  *os.File    // what was under that name when it was looked at, nil for nothing
	there   *storedFile // the same as it lies there
	same    bool        // stored holds the bytes that were offered
	tmp     *os.File    // what was offered, where it is not the same
	named   bool        // tmp has got the final name
	ahead   int64       // how much space to allocate for tmp before it is known to be needed
	header  PageHeader

	form  packed.Form // of tmp
	head  []byte      // the first bytes of what tmp unpacks to, where that is packed
	plain *os.File    // what tmp unpacks to, once that was asked for
}

// check refuses what can be refused before a byte is read.
func (p *put) check() error {
	path, err := p.archive.file(p.Name)
	if err != nil {
		return p.refuse(ReasonName, "only files that PostgreSQL hands to archive_command belong into an archive", "%v", err)
	}
	p.path = path
	if p.Name.Kind() != KindSegment && p.Provisional != 0 {
		return fmt.Errorf("%s is not a segment and cannot be provisional", p.Name)
	}
	if err := p.archive.checkSize(p.PutRequest); err != nil {
		return err
	}
	if p.Provisional != 0 && p.validBytes() == p.Size {
		p.Provisional = 0 // valid to its last byte: a whole segment
	}
	return nil
}

// inspect looks at what was received: it must be what its name says.
func (p *put) inspect() error {
	switch p.Name.Kind() {
	case KindSegment, KindPartial:
		return p.inspectSegment()
	case KindHistory:
		if _, err := ParseHistory(io.NewSectionReader(p.tmp, 0, p.Size), p.Name.Timeline()); err != nil {
			return p.refuse(ReasonCorrupt, "look at the file in the server's pg_wal: it was damaged after the promotion that wrote it", "it is no timeline history: %v", err)
		}
	}
	return nil
}

func (p *put) flush() error {
	if err := p.Step("fsync"); err != nil {
		return err
	}
	return p.tmp.Sync()
}

// settle makes sure that what is there already is on disk: it may be from a
// writer that was killed before it flushed, or from another program.
func (p *put) settle() (PutResult, error) {
	if err := p.Step("fsync"); err != nil {
		return PutResult{}, err
	}
	if err := p.there.Sync(); err != nil {
		return PutResult{}, err
	}
	if err := p.syncDir(); err != nil {
		return PutResult{}, err
	}
	looked, err := p.there.Stat()
	if err != nil {
		return PutResult{}, err
	}
	if now, err := os.Stat(p.there.Name()); err != nil || !os.SameFile(looked, now) {
		return PutResult{}, fmt.Errorf("%s was replaced or removed while it was compared, try again", p.there.Name())
	}
	return PutResult{Identical: true}, nil
}

func (p *put) syncDir() error {
	if err := p.Step("fsync-dir"); err != nil {
		return err
	}
	return atomicfile.SyncDir(p.archive.dir)
}

func (p *put) close() error {
	err := p.closeStored()
	if p.plain != nil {
		err = errors.Join(err, p.plain.Close())
	}
	if p.tmp == nil {
		return err
	}
	if !p.named {
		if gone := os.Remove(p.tmp.Name()); !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}
	return errors.Join(err, p.tmp.Close())
}

// closeStored forgets what was under the name.
func (p *put) closeStored() error {
	var err error
	if p.stored != nil && (p.there == nil || p.stored != p.there.File) {
		err = p.stored.Close()
	}
	if p.there != nil {
		err = errors.Join(err, p.there.Close())
	}
	p.stored, p.there = nil, nil
	return err
}
