package basebackup

import (
	"bytes"
	"encoding/binary"
	"iter"
	"slices"
	"time"

	"github.com/warmrun/warmrun/builtins/basebackup/manifest"
)

// passed holds the files that have passed by, for the manifest, in some forty
// bytes each and their paths: a cluster may have millions.
type passed struct {
	pages [][]byte
	at    []uint64 // where the records begin: the page, and the offset in it
}

const passedPage = 1 << 20 // far more than the longest record

// add appends a file whose checksum is a CRC-32C.
func (l *passed) add(f manifest.File) {
	record := binary.AppendUvarint(nil, uint64(len(f.Path)))
	record = append(record, f.Path...)
	record = binary.AppendVarint(record, f.Size)
	record = binary.AppendVarint(record, f.ModTime.Unix()) // a manifest has no more of it
	record = append(record, f.Checksum...)
	n := len(l.pages) - 1
	if n < 0 || len(l.pages[n])+len(record) > passedPage {
		l.pages = append(l.pages, make([]byte, 0, passedPage))
		n++
	}
	l.at = append(l.at, uint64(n)*passedPage+uint64(len(l.pages[n])))
	l.pages[n] = append(l.pages[n], record...)
}

// path is the path of the record at a place, and what follows it.
func (l *passed) path(at uint64) (path, rest []byte) {
	b := l.pages[at/passedPage][at%passedPage:]
	length, n := binary.Uvarint(b)
	return b[n : n+int(length)], b[n+int(length):]
}

// files yields the files by their paths.
func (l *passed) files() iter.Seq[manifest.File] {
	slices.SortFunc(l.at, func(a, b uint64) int {
		left, _ := l.path(a)
		right, _ := l.path(b)
		return bytes.Compare(left, right)
	})
	return func(yield func(manifest.File) bool) {
		for _, at := range l.at {
			path, rest := l.path(at)
			size, n := binary.Varint(rest)
			modified, m := binary.Varint(rest[n:])
			sum := rest[n+m:][:crcSize]
			if !yield(manifest.File{Path: string(path), Size: size, ModTime: time.Unix(modified, 0), Algorithm: manifest.CRC32C, Checksum: sum}) {
				return
			}
		}
	}
}

// crcSize is the length of a CRC-32C.
const crcSize = 4
