package filesync

import (
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"slices"
	"time"
)

// notesName is a file in the target's root in which a copy notes what it has
// completed of large files, while it is under way. The copy that goes on with it
// need not read that again, on either side.
//
// A note is written when what it tells of is on disk. It holds for a file of the
// source that still has the size and the time that it had when it was read, and
// the sender has nothing noted that was written to less than two seconds
// before it was read: whatever is written to it later gives it another time then,
// also on a file system with a coarse clock. The number of the file's inode tells
// that the target's file is still the one that was written.
const notesName = ".warmrun-sync-notes"

// note says that the target has a stretch of a file.
type note struct {
	path  string // its final name
	inode uint64 // of what was written, under whatever name
	size  int64  // of the source's file, and its time
	stamp time.Time
	// The stretch. An empty one only says that from here on what is written to
	// the file is of that size and time, which makes notes of others void; with
	// a zero time it is of none.
	from, to int64
}

// encode makes a record of a note: its length, itself, and a checksum of both.
func (n note) encode() []byte {
	var e encoder
	e.string(n.path).uint(n.inode).int(n.size).time(n.stamp).int(n.from).int(n.to)
	record := append(binary.AppendUvarint(nil, uint64(len(e.b))), e.b...)
	return binary.BigEndian.AppendUint32(record, checksum(record))
}

// decodeNotes takes records apart, up to the first that is damaged: the last one
// before a crash may be.
func decodeNotes(b []byte) []note {
	var notes []note
	for {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > maxPayload || uint64(len(b)) < uint64(n)+size+4 {
			return notes
		}
		end := n + int(size)
		d := decoder{b: b[n:end]}
		one := note{path: d.string(), inode: d.uint(), size: d.int(), stamp: d.time(), from: d.int(), to: d.int()}
		if checksum(b[:end]) != binary.BigEndian.Uint32(b[end:]) || d.finish() != nil || checkPath(one.path) != nil || one.from < 0 || one.from > one.to {
			return notes
		}
		notes, b = append(notes, one), b[end+4:]
	}
}

// maxSpans is how many stretches of one file are told of, so that they fit in a
// frame. The rest is compared.
const maxSpans = 50_000

// noted is all that the target has of one file.
type noted struct {
	note        // without a stretch
	done []span // in order; no two of them touch
	// named is whether the copy that noted it had the same Options.Resume as the
	// one that is under way.
	named  bool
	usable bool // by the copy that is under way
}

// gather puts the notes of each file together.
func gather(notes []note) map[string]*noted {
	all := map[string]*noted{}
	for _, n := range notes {
		about := n
		about.from, about.to = 0, 0
		f := all[n.path]
		if f == nil || !f.of(about) {
			f = &noted{note: about}
			all[n.path] = f
		}
		if n.from < n.to {
			f.done = append(f.done, span{n.from, n.to})
		}
	}
	for _, f := range all {
		f.done = joined(f.done)
		f.done = f.done[:min(len(f.done), maxSpans)]
	}
	return all
}

// of reports whether two notes are about the same state of a file.
func (n note) of(o note) bool {
	return n.path == o.path && n.inode == o.inode && n.size == o.size && n.stamp.Equal(o.stamp)
}

// joined sorts stretches and makes one of those that touch.
func joined(all []span) []span {
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	kept := all[:0]
	for _, s := range all {
		if n := len(kept); n > 0 && s.from <= kept[n-1].to {
			kept[n-1].to = max(kept[n-1].to, s.to)
			continue
		}
		kept = append(kept, s)
	}
	return kept
}

// takeNotes returns what earlier copies have noted and still holds, and forgets the
// rest, so that a file that is made anew is not taken for an old one.
func (r *receiver) takeNotes() ([]noted, error) {
	content, err := r.readNotes()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var good []noted
	var records []byte
	if err == nil {
		for _, f := range gather(decodeNotes(content)) {
			if r.holds(f) {
				f.named = !r.begun.IsZero()
				good = append(good, *f)
				for _, s := range f.done {
					n := f.note
					n.from, n.to = s.from, s.to
					records = append(records, n.encode()...)
				}
			}
		}
	}
	if len(good) == 0 { // also where they are somebody else's
		return nil, errors.Join(r.removeEntry(notesName), syncDir(r.tree.root, "."))
	}
	return good, r.writeSmall(smallFile{Name: notesName, Perm: 0o600, Data: records})
}

func (r *receiver) readNotes() (_ []byte, err error) {
	f, _, err := openRegular(r.tree.root, notesName)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(f)
}

// holds reports whether the target's file is the one that was noted. What is
// under a final name may be anybody's, but for that of a copy which goes on with
// one of the same name.
func (r *receiver) holds(f *noted) bool {
	name := tempName(f.path)
	if r.inPlace {
		name = f.path
	}
	info, err := r.tree.root.Lstat(name)
	if err != nil || f.stamp.IsZero() || len(f.done) == 0 || identityOf(info).Inode != f.inode {
		return false
	}
	if r.inPlace {
		return !r.begun.IsZero() && info.Mode().IsRegular()
	}
	return resumable(info)
}

// encode is what the other side is told.
func (f noted) encode() []byte {
	return new(encoder).string(f.path).int(f.size).time(f.stamp).bool(f.named).spans(f.done).b
}

func decodeNoted(payload []byte) (noted, error) {
	d := decoder{b: payload}
	var f noted
	f.path, f.size, f.stamp, f.named, f.done = d.string(), d.int(), d.time(), d.bool(), d.spans()
	return f, errors.Join(d.finish(), checkPath(f.path))
}
