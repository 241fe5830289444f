// Package page judges the checksums of PostgreSQL's data pages, as a server
// with data_checksums writes them.
//
// Terms:
//
//   - page: what a relation's file is made of, 8 kB unless the server was built
//     otherwise. It begins with a header: the LSN of the last WAL record that
//     changed the page, its checksum, and where its free space lies
//     (PageHeaderData in storage/bufpage.h).
//   - block number: where a page is in its relation, counted over all files of
//     a fork. It goes into the checksum, so that a page in a wrong place shows.
//   - new page: one that a relation was extended by and that was never written.
//     It is all zeros and has no checksum.
//   - torn page: one that was read while the server was writing it, half old
//     and half new.
package page

import (
	"encoding/binary"

	"github.com/warmrun/warmrun/walcore"
)

// Offsets in the header of a page (PageHeaderData).
const (
	checksumAt = 8  // pd_checksum
	upperAt    = 14 // pd_upper; zero in a new page only (PageIsNew)
)

// The algorithm is FNV-1a with a shift, over 32 columns of 32 bits side by
// side (storage/checksum_impl.h).
const (
	columns = 32
	rowSize = 4 * columns
	prime   = 16777619
)

// bases are what the columns begin with.
var bases = [columns]uint32{
	0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C,
	0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
	0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
	0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756,
}

// Checksum is the checksum that a page has at a block number
// (pg_checksum_page). The page's length is a multiple of 128 bytes; the
// checksum that it holds is not looked at.
func Checksum(p []byte, block uint32) uint16 {
	var first [rowSize]byte
	copy(first[:], p)
	first[checksumAt], first[checksumAt+1] = 0, 0
	sums := bases
	mixRows(&sums, first[:])
	mixRows(&sums, p[rowSize:])
	var sum uint32
	for _, s := range sums {
		sum ^= last(s)
	}
	return uint16((sum^block)%65535 + 1)
}

// stripe is how many columns are taken at a time: as many as the processor has
// registers for.
const stripe = 8

// mixStripes takes rows into the sums of all columns.
func mixStripes(sums *[columns]uint32, rows []byte) {
	for column := 0; column < columns; column += stripe {
		s := (*[stripe]uint32)(sums[column:])
		a, b, c, d, e, f, g, h := s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]
		for at := 4 * column; at < len(rows); at += rowSize {
			row := (*[4 * stripe]byte)(rows[at:])
			a = mix(a, binary.NativeEndian.Uint32(row[0:]))
			b = mix(b, binary.NativeEndian.Uint32(row[4:]))
			c = mix(c, binary.NativeEndian.Uint32(row[8:]))
			d = mix(d, binary.NativeEndian.Uint32(row[12:]))
			e = mix(e, binary.NativeEndian.Uint32(row[16:]))
			f = mix(f, binary.NativeEndian.Uint32(row[20:]))
			g = mix(g, binary.NativeEndian.Uint32(row[24:]))
			h = mix(h, binary.NativeEndian.Uint32(row[28:]))
		}
		*s = [stripe]uint32{a, b, c, d, e, f, g, h}
	}
}

// mix takes one more value into a column's sum (CHECKSUM_COMP).
func mix(sum, value uint32) uint32 {
	sum ^= value
	return sum*prime ^ sum>>17
}

// last ends a column with two rounds of zeros.
func last(sum uint32) uint32 { return mix(mix(sum, 0), 0) }

// Good reports whether there is nothing wrong with a page as a base backup
// that began at start finds it (sendFile in backup/basebackup.c). A page that
// was changed since then is not judged: it may be torn, and WAL has it whole. A
// new page is good; one that only looks new in its header is not, and a server
// would refuse to read it (PageIsVerified in storage/page/bufpage.c).
func Good(p []byte, block uint32, start walcore.LSN) bool {
	if LSN(p) >= start {
		return true
	}
	if binary.NativeEndian.Uint16(p[upperAt:]) == 0 {
		return zero(p)
	}
	return Stored(p) == Checksum(p, block)
}

// Stored is the checksum that a page holds.
func Stored(p []byte) uint16 { return binary.NativeEndian.Uint16(p[checksumAt:]) }

// LSN is the end of the last WAL record that changed a page, kept as two
// halves, the high one first.
func LSN(p []byte) walcore.LSN {
	return walcore.LSN(binary.NativeEndian.Uint32(p))<<32 | walcore.LSN(binary.NativeEndian.Uint32(p[4:]))
}

func zero(p []byte) bool {
	for len(p) >= 8 {
		if binary.NativeEndian.Uint64(p) != 0 {
			return false
		}
		p = p[8:]
	}
	return true
}
