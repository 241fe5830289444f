// Package journal is the fsynced record of a run: a file of lines that only
// grows. It does not know what the lines say.
//
// Terms:
//
//   - An entry is one line: a checksum, the entry's number from 1, and its
//     text, which holds no line break.
//   - A torn end is what a crash leaves of an entry that was being written. It
//     was never acknowledged, and is as if it were not there.
//   - A journal is held by the one process that may write it, through a kernel
//     lock that ends with the process.
package journal

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/warmrun/warmrun/walcore/atomicfile"
)

// ErrHeld is the cause where another process holds the journal.
var ErrHeld = errors.New("another process holds the journal")

// Journal is a journal that this process holds. Its methods may be called at
// the same time.
type Journal struct {
	mu     sync.Mutex
	f      *os.File
	n      int   // entries
	size   int64 // bytes of whole entries
	broken error // why nothing can be appended any more
}

// Create makes a journal that is not there yet, and its directory.
func Create(path string) (*Journal, error) {
	if err := atomicfile.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	return open(path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

// Open takes a journal to write on, and gives what it says. A torn end is cut
// off. The error is ErrHeld where another process writes it.
func Open(path string) (*Journal, [][]byte, error) {
	j, err := open(path, os.O_RDWR)
	if err != nil {
		return nil, nil, err
	}
	entries, err := j.load()
	if err != nil {
		return nil, nil, errors.Join(err, j.Close())
	}
	return j, entries, nil
}

func open(path string, flags int) (*Journal, error) {
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrHeld
		}
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	if flags&os.O_CREATE != 0 {
		if err := atomicfile.SyncDir(filepath.Dir(path)); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return &Journal{f: f}, nil
}

func (j *Journal) load() ([][]byte, error) {
	text, err := os.ReadFile(j.f.Name())
	if err != nil {
		return nil, err
	}
	entries, size, err := parse(text, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", j.f.Name(), err)
	}
	j.n, j.size = len(entries), int64(size)
	if size == len(text) {
		return entries, nil
	}
	if err := j.f.Truncate(j.size); err != nil {
		return nil, err
	}
	return entries, j.f.Sync()
}

// Read gives the entries of a journal, whoever holds it.
func Read(path string) ([][]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	entries, _, err := parse(text, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return entries, nil
}

// Held reports whether a process holds the journal. A journal that is not there
// is held by nobody.
func Held(path string) (bool, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	held := errors.Is(err, unix.EWOULDBLOCK)
	if held {
		err = nil
	}
	return held, errors.Join(err, f.Close())
}

// Append writes entries and flushes them: when it returns nil they are on disk.
// After an error nothing more can be appended, because what the disk holds is
// not known.
func (j *Journal) Append(entries ...[]byte) (lines []byte, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i, entry := range entries {
		lines = appendLine(lines, j.n+1+i, entry)
	}
	return lines, j.write(lines, len(entries))
}

// AppendLines adds lines of another copy of this journal, as Append gave them.
// They must follow on what is here.
func (j *Journal) AppendLines(lines []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	entries, size, err := parse(lines, j.n)
	switch {
	case err != nil:
		return err
	case size != len(lines) || len(entries) == 0:
		return fmt.Errorf("entry %d came damaged, or out of its turn", j.n+len(entries)+1)
	}
	return j.write(lines, len(entries))
}

func (j *Journal) write(lines []byte, entries int) error {
	if j.broken != nil {
		return j.broken
	}
	_, err := j.f.WriteAt(lines, j.size)
	if err == nil {
		err = unix.Fdatasync(int(j.f.Fd()))
	}
	if err != nil {
		j.broken = fmt.Errorf("write %s: %w", j.f.Name(), err)
		return j.broken
	}
	j.n, j.size = j.n+entries, j.size+int64(len(lines))
	return nil
}

// Lines is the whole journal, for a copy of it.
func (j *Journal) Lines() ([]byte, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	lines := make([]byte, j.size)
	_, err := j.f.ReadAt(lines, 0)
	return lines, err
}

// Close lets go of the journal. All that was appended is on disk already.
func (j *Journal) Close() error { return j.f.Close() }

// WriteCopy makes path the copy of a journal, in place of any that is there,
// and holds it.
func WriteCopy(path string, lines []byte) (*Journal, error) {
	if _, size, err := parse(lines, 0); err != nil || size != len(lines) {
		return nil, errors.Join(fmt.Errorf("the journal for %s came damaged", path), err)
	}
	if held, err := Held(path); held || err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, ErrHeld), err)
	}
	if err := atomicfile.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if err := atomicfile.WriteFile(path, lines, 0o600); err != nil {
		return nil, err
	}
	j, _, err := Open(path)
	return j, err
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendLine writes "CHECKSUM NUMBER TEXT\n".
func appendLine(to []byte, n int, entry []byte) []byte {
	rest := append(strconv.AppendInt(nil, int64(n), 10), ' ')
	rest = append(rest, entry...)
	to = fmt.Appendf(to, "%08x ", crc32.Checksum(rest, castagnoli))
	to = append(to, rest...)
	return append(to, '\n')
}

// parse reads entries that follow on entry number before, up to a torn end. A
// bad line with a good one behind it is damage, and an error.
func parse(text []byte, before int) (entries [][]byte, size int, err error) {
	for rest := text; ; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		if !whole {
			return entries, size, nil
		}
		entry, ok := parseLine(line, before+len(entries)+1)
		if !ok {
			return entries, size, damage(after, before+len(entries)+1)
		}
		entries, size, rest = append(entries, entry), size+len(line)+1, after
	}
}

// damage tells a torn end from a journal that something else has changed.
func damage(after []byte, at int) error {
	for line := range bytes.Lines(after) {
		if sum, rest, ok := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(" ")); ok && checks(sum, rest) {
			return fmt.Errorf("entry %d is damaged, and others follow it: this is not the end of a crash, but of a disk or an editor", at)
		}
	}
	return nil
}

func parseLine(line []byte, n int) (entry []byte, ok bool) {
	sum, rest, ok := bytes.Cut(line, []byte(" "))
	if !ok || !checks(sum, rest) {
		return nil, false
	}
	number, entry, ok := bytes.Cut(rest, []byte(" "))
	return entry, ok && string(number) == strconv.Itoa(n)
}

func checks(sum, rest []byte) bool {
	return string(sum) == fmt.Sprintf("%08x", crc32.Checksum(rest, castagnoli))
}

// Parse reads the entries of a whole journal, as Lines gives it.
func Parse(lines []byte) ([][]byte, error) {
	entries, size, err := parse(lines, 0)
	if err == nil && size != len(lines) {
		err = fmt.Errorf("entry %d is damaged", len(entries)+1)
	}
	return entries, err
}

// Format is Parse backwards.
func Format(entries [][]byte) (lines []byte) {
	for i, entry := range entries {
		lines = appendLine(lines, i+1, entry)
	}
	return lines
}
