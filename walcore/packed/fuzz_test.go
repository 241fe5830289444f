package packed

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// bombs are small frames with a large content.
func bombs(t testing.TB) map[Form][]byte {
	zeros := make([]byte, 64<<20)
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	lz4 := packer(t, LZ4).Pack(zeros[:MaxPiece+1])
	return map[Form][]byte{Zstd: encoder.EncodeAll(zeros, nil), LZ4: lz4}
}

// TestBombs: a frame that holds more than a piece may is refused, and costs no
// memory.
func TestBombs(t *testing.T) {
	for form, bomb := range bombs(t) {
		took := memory(func() {
			var u Unpacker
			defer u.Close()
			if piece, err := u.Unpack(form, bomb); err == nil {
				t.Errorf("%s: got %d bytes of a frame of %d", form, len(piece), len(bomb))
			}
		})
		if took > 8<<20 {
			t.Errorf("%s: %d bytes of memory were taken", form, took)
		}
	}
}

func memory(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// FuzzUnpack: no frame makes an unpacker panic, take much memory or yield more
// than a piece, and what it takes, the reader of whole files reads the same.
func FuzzUnpack(f *testing.F) {
	for _, form := range Forms() {
		p := packer(f, form)
		f.Add(form == LZ4, []byte{})
		for _, piece := range samples() {
			f.Add(form == LZ4, bytes.Clone(p.Pack(piece)))
		}
		f.Add(form == LZ4, bombs(f)[form])
	}
	f.Fuzz(func(t *testing.T, isLZ4 bool, frame []byte) {
		form := Zstd
		if isLZ4 {
			form = LZ4
		}
		var u Unpacker
		defer u.Close()
		var piece []byte
		var err error
		took := memory(func() { piece, err = u.Unpack(form, frame) })
		if took > 16<<20 {
			t.Errorf("%d bytes of memory were taken for a frame of %d", took, len(frame))
		}
		if err != nil {
			return
		}
		if len(piece) > MaxPiece {
			t.Fatalf("got %d bytes, want %d at most", len(piece), MaxPiece)
		}
		if again, err := unpack(form, frame); err != nil || !bytes.Equal(again, piece) {
			t.Errorf("the reader has %d bytes, %v, and the unpacker %d", len(again), err, len(piece))
		}
	})
}

// FuzzReader: no file makes the reader panic, take much memory, or end with
// another error than that it is damaged.
func FuzzReader(f *testing.F) {
	for _, form := range Forms() {
		frames, _ := file(f, form)
		f.Add(form == LZ4, frames)
		f.Add(form == LZ4, bombs(f)[form])
	}
	f.Fuzz(func(t *testing.T, isLZ4 bool, frames []byte) {
		form := Zstd
		if isLZ4 {
			form = LZ4
		}
		took := memory(func() {
			r, err := NewReader(form, bytes.NewReader(frames))
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.CopyN(io.Discard, r, 4<<20)
			var damaged *DamagedError
			if err != nil && !errors.Is(err, io.EOF) && !errors.As(err, &damaged) {
				t.Errorf("got %v, want it damaged", err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
		if most := uint64(64<<20 + 1024*len(frames)); took > most {
			t.Errorf("%d bytes of memory were taken, want %d at most", took, most)
		}
	})
}
