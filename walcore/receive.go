package walcore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warmrun/warmrun/walcore/packed"
)

// receive reads the body. As long as it equals the copy that is already in
// the archive, nothing is written; a temporary file begins only where they
// part, so archiving the same segment twice needs no space.
func (p *put) receive(ctx context.Context) error {
	if err := p.openStored(); err != nil {
		return err
	}
	if p.packs() {
		return p.receivePacked(ctx)
	}
	body := p.Body
	if p.Provisional != 0 {
		body = &zeroTail{r: body, keep: p.validBytes()}
	}
	in := &exactReader{ctx: ctx, r: body, left: p.Size}
	buf := make([]byte, copyBuffer)
	if p.stored != nil {
		done, err := p.compare(in, buf)
		if err != nil || done {
			return err
		}
	} else if err := p.begin(); err != nil {
		return err
	}
	return copySparse(p.tmp, p.ahead, func() ([]byte, error) { return in.piece(buf) })
}

func (p *put) openStored() error {
	there, err := p.archive.find(p.Name)
	if errors.Is(err, ErrNotArchived) {
		return nil
	}
	if err != nil {
		return err
	}
	p.there, p.stored = there, there.File
	if there.form.Packs() {
		p.stored, err = p.archive.unpack(there)
	}
	var damaged *packed.DamagedError
	if errors.As(err, &damaged) {
		return p.refuse(ReasonCorrupt, fmt.Sprintf("move %s aside, and the next try stores this one", there.Name()), "the stored copy is damaged: %v", err)
	}
	return err
}

// compare reads the body beside the stored copy. At the first difference it
// begins the temporary file with what was equal so far and the bytes read.
func (p *put) compare(in *exactReader, buf []byte) (same bool, err error) {
	there := make([]byte, len(buf))
	for at := int64(0); ; {
		n, _ := io.ReadFull(in, buf) // a body that is shorter than the buffer is no error
		if in.failed != nil {
			return false, in.failed
		}
		m, err := p.stored.ReadAt(there[:n], at)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		if m < n || !bytes.Equal(buf[:n], there[:n]) {
			return false, p.depart(at, buf[:n])
		}
		at += int64(n)
		if n < len(buf) {
			break
		}
	}
	info, err := p.stored.Stat()
	if err != nil {
		return false, err
	}
	if info.Size() != p.Size {
		return false, p.depart(p.Size, nil)
	}
	p.same = true
	return true, nil
}

// depart begins the temporary file with the first equal bytes of the stored
// copy, then those that were read last.
func (p *put) depart(equal int64, last []byte) error {
	if err := p.begin(); err != nil {
		return err
	}
	if _, err := io.Copy(p.tmp, io.NewSectionReader(p.stored, 0, equal)); err != nil {
		return err
	}
	_, err := p.tmp.Write(last)
	return err
}

// begin makes the temporary file, after looking for room.
func (p *put) begin() error {
	if err := p.Step("space"); err != nil {
		return err
	}
	p.archive.sweep(time.Now())
	free, err := p.archive.checkSpace(p.Name, p.Size)
	if err != nil {
		return err
	}
	// None where that might be the last: the server may write to the same disk.
	const puts = 16 // more than there are at once
	if free >= puts*uint64(p.Size) {
		p.ahead = p.Size
	}
	if err := p.Step("write"); err != nil {
		return err
	}
	// A name of its own for each try: a leftover of a crash must never stand
	// in the way of the next one.
	tmp, err := os.CreateTemp(p.archive.state("tmp"), tempPrefix+"*")
	if err != nil {
		return err
	}
	p.tmp = tmp
	// The lock tells sweepers that the writer lives, however slow it is.
	// File systems without such locks are left to the sweepers' patience.
	if err := flock(tmp); err != nil && !errors.Is(err, unix.ENOLCK) && !errors.Is(err, unix.ENOTSUP) {
		return err
	}
	return nil
}

// Temporary files of Put, and when those of dead writers are removed. A live
// writer has its file locked; only the instant between making and locking it
// needs the minute. Where no locks exist, a day must do.
const (
	tempPrefix    = "put-"
	staleUnlocked = time.Minute
	staleAnyway   = 24 * time.Hour
)

// sweep removes the temporary files that killed writers left: those of Put,
// and those of the small files of the archive's state (see atomicfile). One that
// cannot be removed must not keep WAL out of the archive, so no error is told.
func (a *Archive) sweep(now time.Time) {
	state := func(_ string, age time.Duration) bool { return age > staleAnyway }
	sweepDir(a.state("tmp"), tempPrefix, now, abandoned)
	sweepDir(a.state(), ".warmrun-", now, state)
	sweepDir(a.state("provisional"), ".warmrun-", now, state)
}

func sweepDir(dir, prefix string, now time.Time, stale func(path string, age time.Duration) bool) {
	entries, _ := os.ReadDir(dir)
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || !info.Mode().IsRegular() || !strings.HasPrefix(entry.Name(), prefix) {
			continue // gone already, or none of ours
		}
		path := filepath.Join(dir, entry.Name())
		if stale(path, now.Sub(info.ModTime())) {
			_ = os.Remove(path)
		}
	}
}

// abandoned reports whether nobody has the temporary file locked.
func abandoned(path string, age time.Duration) bool {
	if age < staleUnlocked {
		return false
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return false
	}
	err = flock(f)
	if errors.Join(f.Close()) != nil {
		return false
	}
	return err == nil || !errors.Is(err, unix.EWOULDBLOCK) && age > staleAnyway
}

// exactReader yields a known number of bytes and takes fewer or more, or a
// context that has ended, for an error. It remembers that error.
type exactReader struct {
	ctx    context.Context
	r      io.Reader
	left   int64
	failed error
}

var errTooLong = errors.New("it is longer than was announced")

func (e *exactReader) Read(b []byte) (int, error) {
	n, err := e.read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		e.failed = err
	}
	return n, err
}

func (e *exactReader) read(b []byte) (int, error) {
	if e.ctx.Err() != nil {
		return 0, context.Cause(e.ctx)
	}
	if e.left == 0 {
		return 0, e.end()
	}
	if int64(len(b)) > e.left {
		b = b[:e.left]
	}
	n, err := e.r.Read(b)
	e.left -= int64(n)
	if errors.Is(err, io.EOF) && e.left > 0 {
		return n, fmt.Errorf("it ended %d bytes early", e.left)
	}
	if errors.Is(err, io.EOF) {
		err = nil // the next call asks again, and looks at what follows
	}
	return n, err
}

// piece is the next stretch of the body: one of its pieces where it has such,
// otherwise what fits into buf. io.EOF may come with the last one.
func (e *exactReader) piece(buf []byte) ([]byte, error) {
	pieces, ok := e.r.(PieceBody)
	switch {
	case !ok || e.left == 0:
		n, err := Fill(e, buf)
		return buf[:n], err
	case e.ctx.Err() != nil:
		return nil, context.Cause(e.ctx)
	}
	piece, _, err := pieces.Piece(packed.Plain)
	e.left -= int64(len(piece))
	switch {
	case e.left < 0:
		return nil, errTooLong
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("it ended %d bytes early", e.left)
	}
	return piece, err
}

// end reads on to the true end, where a body may still report an error, such
// as a checksum that does not match.
func (e *exactReader) end() error {
	var next [1]byte
	n, err := io.ReadFull(e.r, next[:])
	switch {
	case n > 0:
		return errTooLong
	case err == nil || errors.Is(err, io.EOF):
		return io.EOF
	}
	return err
}

// zeroTail passes the first bytes of r on and turns all others into zeros.
type zeroTail struct {
	r    io.Reader
	keep int64
}

func (z *zeroTail) Read(b []byte) (int, error) {
	n, err := z.r.Read(b)
	kept := min(z.keep, int64(n))
	z.keep -= kept
	clear(b[kept:n])
	return n, err
}
