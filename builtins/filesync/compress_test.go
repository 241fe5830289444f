package filesync

import (
	"bytes"
	"crypto/rand"
	"testing"
)

// Content that does not get smaller is tried ever more rarely, and what comes
// after it is packed again before long.
func TestPackerGivesUpOnNoise(t *testing.T) {
	noise := make([]byte, readSize)
	rand.Read(noise)
	text := bytes.Repeat([]byte("a row of a table, "), readSize/18)
	for _, how := range []Compression{CompressS2, CompressZstd} {
		p := &packer{how: how}
		tried := 0
		for range 1000 {
			if p.skip == 0 {
				tried++
			}
			if packed, pays := p.pack(noise); pays {
				t.Fatalf("%s: noise of %d bytes was packed into %d", how, len(noise), len(packed))
			}
		}
		if tried < 1000/(maxSkip+1) || tried > 50 {
			t.Errorf("%s: %d of 1000 pieces of noise were tried", how, tried)
		}
		first := -1
		for i := range 100 {
			if _, pays := p.pack(text); pays {
				first = i
				break
			}
		}
		if first < 0 || first > maxSkip {
			t.Errorf("%s: text after noise was packed from piece %d on", how, first)
		}
		for range 100 {
			if _, pays := p.pack(text); !pays {
				t.Fatalf("%s: text after text was not packed", how)
			}
		}
	}
}
