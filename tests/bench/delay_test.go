package main

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// TestExchange: the addresses change places, and the checksum of the header
// stays right.
func TestExchange(t *testing.T) {
	// RFC 1071: the sum of all words, the checksum among them, is all ones.
	sum := func(header []byte) uint32 {
		total := uint32(0)
		for i := 0; i < len(header); i += 2 {
			total += uint32(binary.BigEndian.Uint16(header[i:]))
		}
		return total>>16 + total&0xffff
	}
	packet := []byte{0x45, 0, 0, 20, 0, 1, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2}
	binary.BigEndian.PutUint16(packet[10:], uint16(0xffff-sum(packet)))
	exchange(packet)
	if want := []byte{192, 0, 2, 2, 192, 0, 2, 1}; !bytes.Equal(packet[12:], want) {
		t.Errorf("the addresses are %v, want %v", packet[12:], want)
	}
	if got := sum(packet); got != 0xffff {
		t.Errorf("the header sums up to %#x, want 0xffff", got)
	}
}

// TestCutUp: each piece has the headers.
func TestCutUp(t *testing.T) {
	const headers, piece = 52, 1448
	for _, test := range []struct{ payload, piece, want int }{
		{50_000, piece, 50_000 + 35*headers},
		{piece, piece, piece + headers},
		{0, 0, headers},
		{piece, 0, piece + headers},
	} {
		content := make([]byte, vnetHeader+headers+test.payload)
		binary.NativeEndian.PutUint16(content[2:], headers)
		binary.NativeEndian.PutUint16(content[4:], uint16(test.piece))
		if got := cutUp(content); got != int64(test.want) {
			t.Errorf("%d bytes in pieces of %d are %d on the wire, want %d", test.payload, test.piece, got, test.want)
		}
	}
}
