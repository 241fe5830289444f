// Package packed is compression at rest: WAL segments as standard zstd and lz4
// frames, which zstd -d and lz4 -d unpack to the segment.
//
// Terms:
//
//   - form: how a segment lies in an archive: plain, zstd or lz4.
//   - piece: a stretch of a segment, packed for itself as one complete frame.
//     Frames one behind the other are a valid file to either tool, so a segment
//     can be stored as the frames in which it was sent.
package packed

import (
	"fmt"
	"strings"
)

// Form is how segments are stored. The zero Form is Plain, too.
type Form string

// The forms.
const (
	Plain Form = "none" // as the server wrote them
	Zstd  Form = "zstd" // Zstandard frames (RFC 8878), NAME.zst
	LZ4   Form = "lz4"  // lz4 frames (lz4_Frame_format.md), NAME.lz4
)

// Forms are those that pack, in the order in which they are looked for.
func Forms() []Form { return []Form{Zstd, LZ4} }

// Packs reports whether it is one of Forms.
func (f Form) Packs() bool { return f == Zstd || f == LZ4 }

// Check refuses what is no form.
func (f Form) Check() error {
	if f == "" || f == Plain || f.Packs() {
		return nil
	}
	return fmt.Errorf("unknown compression %q (want none, zstd or lz4)", f)
}

// String is the form's word in cluster.toml.
func (f Form) String() string {
	if f == "" {
		return string(Plain)
	}
	return string(f)
}

// Suffix is what the form adds to a file's name.
func (f Form) Suffix() string {
	switch f {
	case Zstd:
		return ".zst"
	case LZ4:
		return ".lz4"
	}
	return ""
}

// Split takes the suffix of a form off a file's name; the name of a plain file
// comes back as it is.
func Split(file string) (name string, form Form) {
	for _, form := range Forms() {
		if name, ok := strings.CutSuffix(file, form.Suffix()); ok {
			return name, form
		}
	}
	return file, Plain
}

const (
	// PieceSize is how large the pieces of a segment are, but for its last.
	PieceSize = 256 << 10
	// MaxPiece bounds every piece, packed or not, that comes from elsewhere.
	MaxPiece = 1 << 20
)

// MaxStored bounds what a file of size bytes may take as frames. Pieces that
// cannot be made smaller grow by some twenty bytes each; who sends more than
// this packs crumbs.
func MaxStored(size int64) int64 { return size + size/16 + 4096 }
