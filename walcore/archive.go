package walcore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/hint"
	"github.com/warmrun/warmrun/walcore/packed"
	"github.com/zeebo/blake3"
)

// ErrNoArchive says that the archive directory is not there, so nothing can be
// said about its files: it is "cannot tell", never "not there".
var ErrNoArchive = errors.New("the archive directory is not there")

// ErrNotArchived says that the archive was looked at and lacks the file.
var ErrNotArchived = errors.New("not in the archive")

// Archive is a directory of WAL files under the names PostgreSQL gave them.
// What warmrun has to remember about them lies in its one dot directory,
// .warmrun: the stamp, the fence, the ends of provisional segments, what
// servers wait for, the relay's watermark, the lock and temporary files.
//
// Any number of processes may use one archive at the same time. An Archive
// holds no open file and may be used by many goroutines.
type Archive struct {
	dir string
	// form is how whole segments are stored from now on.
	form packed.Form
}

// OpenArchive is the archive in dir, which must be there; otherwise the error
// is ErrNoArchive. Nothing is created and nothing is written.
func OpenArchive(dir string) (*Archive, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	a := &Archive{dir: abs}
	if err := a.present(); err != nil {
		return nil, err
	}
	return a, nil
}

// CreateArchive is OpenArchive after making the directory, and those above it,
// where they are not there. What it makes is flushed to disk.
func CreateArchive(dir string) (*Archive, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := atomicfile.MkdirAll(abs, 0o700); err != nil {
		return nil, fmt.Errorf("create archive directory %s: %w", abs, err)
	}
	return OpenArchive(abs)
}

// Storing is the same archive, with Put storing whole segments in a form unless
// its request says otherwise. What is stored already stays as it is.
func (a *Archive) Storing(form packed.Form) *Archive { return &Archive{dir: a.dir, form: form} }

// Dir is the archive's directory, an absolute path.
func (a *Archive) Dir() string { return a.dir }

// Open opens a file for reading. A packed segment is unpacked into a file
// without a name, so that what is read is plain in every case; one that is
// damaged is a *packed.DamagedError. A file that is not there is ErrNotArchived;
// where the directory itself is not there it is ErrNoArchive.
func (a *Archive) Open(name FileName) (*os.File, error) {
	stored, err := a.find(name)
	if err != nil {
		return nil, err
	}
	return a.plain(stored)
}

// OpenWithEnd is Open together with Provisional of the very file that was
// opened, also when it is being replaced at that moment. The LSN is 0 for a
// whole segment and for every other kind of file.
func (a *Archive) OpenWithEnd(name FileName) (*os.File, LSN, error) {
	if name.Kind() != KindSegment {
		f, err := a.Open(name)
		return f, 0, err
	}
	segment := name.Segment()
	// Read on both sides of the open: the note is written before a provisional
	// segment appears and removed after it has been replaced.
	before, err := a.readSidecar(segment)
	if err != nil {
		return nil, 0, err
	}
	f, err := a.Open(name)
	if err != nil {
		return nil, 0, err
	}
	after, err := a.readSidecar(segment)
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	end, err := provisionalEnd(f, segment, append(before.Ends, after.Ends...))
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, end, nil
}

// List is the names of all WAL files in the archive, sorted, a packed segment
// under its own name. Files of other names are left out. Its cost grows with
// the archive.
func (a *Archive) List() ([]FileName, error) {
	d, err := os.Open(a.dir)
	if err != nil {
		return nil, a.missing(err)
	}
	entries, err := d.Readdirnames(-1)
	if err := errors.Join(err, d.Close()); err != nil {
		return nil, a.missing(err)
	}
	names := make([]FileName, 0, len(entries))
	for _, entry := range entries {
		if name, _, err := parseStored(entry); err == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Digest is the BLAKE3 hash of a file's bytes, and its size in bytes.
func (a *Archive) Digest(name FileName) ([32]byte, int64, error) {
	f, err := a.Open(name)
	if err != nil {
		return [32]byte{}, 0, err
	}
	digest, size, err := DigestOf(f)
	return digest, size, errors.Join(err, f.Close())
}

// DigestOf is the BLAKE3 hash of all that r holds, and how many bytes that was.
func DigestOf(r io.Reader) (digest [32]byte, size int64, err error) {
	h := blake3.New()
	size, err = io.CopyBuffer(h, struct{ io.Reader }{r}, make([]byte, copyBuffer))
	h.Sum(digest[:0])
	return digest, size, err
}

// copyBuffer is how much of a file is held in memory while it is copied.
const copyBuffer = 256 << 10

// file is the path of a WAL file. Names that are none never reach the file
// system, whatever a caller converted to a FileName.
func (a *Archive) file(name FileName) (string, error) {
	if _, err := ParseFileName(string(name)); err != nil {
		return "", err
	}
	return filepath.Join(a.dir, string(name)), nil
}

// present tells a missing directory from one that cannot be looked at.
func (a *Archive) present() error {
	info, err := os.Stat(a.dir)
	if err != nil {
		return a.missing(err)
	}
	if !info.IsDir() {
		return a.noArchive(fmt.Errorf("%s is not a directory", a.dir))
	}
	return nil
}

func (a *Archive) missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return a.noArchive(err)
	}
	return err
}

func (a *Archive) noArchive(cause error) error {
	return hint.Wrap(fmt.Errorf("%w (%w)", ErrNoArchive, cause),
		"mount its file system, or create the directory if this node is meant to hold an archive: %s", a.dir)
}
