package walcore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Offer is a file that a sender has, before it sends it.
type Offer struct {
	Name        FileName
	Size        int64
	Digest      [32]byte // BLAKE3 of what would be sent
	Provisional LSN      // as in PutRequest
}

// Offer says whether the archive needs a file that a sender has. True means
// that the same bytes are there already and are now known to be on disk: the
// file need not be sent. False means that it may be sent to Put. What Put would
// refuse by its name, its size or its place past a cut, or has no room for, is
// refused here with the same errors, before it is sent.
func (a *Archive) Offer(ctx context.Context, o Offer) (identical bool, err error) {
	p := &put{archive: a, PutRequest: PutRequest{Name: o.Name, Size: o.Size, Provisional: o.Provisional}}
	p.Step = func(string) error { return ctx.Err() }
	defer func() { err = errors.Join(err, p.close()) }()
	if err := a.prepare(); err != nil {
		return false, a.explainSpace(err, o.Name, o.Size)
	}
	if err := p.check(); err != nil {
		return false, err
	}
	if err := p.openStored(); err != nil {
		return false, err
	}
	same, err := p.holds(o)
	if err != nil {
		return false, fmt.Errorf("compare the offered %s with %s: %w", o.Name, p.path, err)
	}
	if same {
		_, err := p.settle()
		return err == nil, err
	}
	if _, _, err := p.timelineEnd(); err != nil {
		return false, err
	}
	_, err = a.checkSpace(o.Name, o.Size)
	return false, err
}

// Knows reports whether there is a file of that name and size, whatever is in
// it; a packed one has any size. Where that cannot be told, Offer says why.
func (a *Archive) Knows(name FileName, size int64) bool {
	path, err := a.file(name)
	if err != nil {
		return false
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		there, err := a.Has(name)
		return there && err == nil
	}
	return err == nil && info.Mode().IsRegular() && info.Size() == size
}

// holds reports whether the stored copy is what is offered.
func (p *put) holds(o Offer) (bool, error) {
	if p.stored == nil {
		return false, nil
	}
	info, err := p.stored.Stat()
	if err != nil || info.Size() != o.Size {
		return false, err
	}
	digest, _, err := DigestOf(p.stored)
	return digest == o.Digest, err
}
