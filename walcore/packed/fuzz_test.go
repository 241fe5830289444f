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

// FuzzPack: whatever is packed comes back, from the unpacker and from the
// reader of whole files.
func FuzzPack(f *testing.F) {
	for _, piece := range samples() {
		f.Add(piece, uint16(1))
		f.Add(piece[:min(len(piece), 100)], uint16(900))
	}
	packers := map[Form]*Packer{Zstd: packer(f, Zstd), LZ4: packer(f, LZ4)}
	f.Fuzz(func(t *testing.T, seed []byte, times uint16) {
		piece := bytes.Repeat(seed, int(times))
		piece = piece[:min(len(piece), PieceSize)]
		for form, p := range packers {
			frame := bytes.Clone(p.Pack(piece))
			var u Unpacker
			if got, err := u.Unpack(form, frame); err != nil || !bytes.Equal(got, piece) {
				t.Errorf("%s: got %d bytes back, %v, want %d", form, len(got), err, len(piece))
			}
			u.Close()
			if got, err := unpack(form, frame); err != nil || !bytes.Equal(got, piece) {
				t.Errorf("%s: the reader has %d bytes, %v, want %d", form, len(got), err, len(piece))
			}
		}
	})
}

// TestFarCopies: matches from further away than lz4 reaches, long ones, and
// such as come close to the end.
func TestFarCopies(t *testing.T) {
	noise := samples()["noise"]
	p, u := packer(t, LZ4), &Unpacker{}
	defer u.Close()
	for _, distance := range []int{1, 4, 15, 255, 1 << 11, 65535, 65536, 65537, 100_000} {
		for _, length := range []int{4, 12, 18, 64, 65, 300, 5000} {
			for tail := range 14 {
				piece := bytes.Clone(noise[:distance])
				for range length {
					piece = append(piece, piece[len(piece)-distance])
				}
				piece = append(piece, noise[200_000:200_000+tail]...)
				frame := p.Pack(piece)
				if got, err := u.Unpack(LZ4, frame); err != nil || !bytes.Equal(got, piece) {
					t.Errorf("%d bytes from %d before, %d behind them: got %d bytes, %v", length, distance, tail, len(got), err)
				}
				if got, err := unpack(LZ4, frame); err != nil || !bytes.Equal(got, piece) {
					t.Errorf("%d bytes from %d before, %d behind them: the reader has %d bytes, %v", length, distance, tail, len(got), err)
				}
			}
		}
	}
}
