package packed

import (
	"bytes"
	"errors"
	"io"
	"os/exec"
	"testing"
)

// pass reads a file frame by frame.
func pass(form Form, file []byte) (frames, content []byte, err error) {
	f := NewFrames(form, bytes.NewReader(file))
	defer f.Close()
	for {
		piece, frame, err := f.Next()
		if errors.Is(err, io.EOF) {
			return frames, content, nil
		}
		if err != nil {
			return frames, content, err
		}
		frames, content = append(frames, frame...), append(content, piece...)
	}
}

func TestFrames(t *testing.T) {
	for _, form := range Forms() {
		stored, content := file(t, form)
		frames, got, err := pass(form, stored)
		if err != nil || !bytes.Equal(frames, stored) || !bytes.Equal(got, content) {
			t.Errorf("%s: got %d bytes of frames, %d of content, %v, want %d and %d", form, len(frames), len(got), err, len(stored), len(content))
		}
		for cut := 1; cut < len(stored); cut += 1 + len(stored)/97 {
			frames, _, err := pass(form, stored[:cut])
			var damaged *DamagedError
			if len(frames) != cut && !errors.As(err, &damaged) {
				t.Errorf("%s, cut at %d: got %v, want it damaged", form, cut, err)
			}
		}
		for at := 0; at < len(stored); at += 1 + len(stored)/97 {
			bad := bytes.Clone(stored)
			bad[at] ^= 1
			if _, got, err := pass(form, bad); err == nil && !bytes.Equal(got, content) {
				t.Errorf("%s, a flipped bit at %d: got other content and no error", form, at)
			}
		}
		pack := exec.Command(string(form), "-c")
		pack.Stdin = bytes.NewReader(bytes.Repeat(content, 5))
		theirs, err := pack.Output()
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := pass(form, theirs); !errors.Is(err, ErrForeign) {
			t.Errorf("%s, a file of the ordinary tool: got %v, want ErrForeign", form, err)
		}
	}
}

// FuzzFrames: no file makes the reader panic or yield anything but frames that
// stand in it.
func FuzzFrames(f *testing.F) {
	for _, form := range Forms() {
		frames, _ := file(f, form)
		f.Add(form == LZ4, frames)
		f.Add(form == LZ4, bombs(f)[form])
	}
	f.Fuzz(func(t *testing.T, isLZ4 bool, stored []byte) {
		form := Zstd
		if isLZ4 {
			form = LZ4
		}
		frames, content, err := pass(form, stored)
		if !bytes.HasPrefix(stored, frames) {
			t.Error("got frames that are not in the file")
		}
		if err != nil {
			return
		}
		if again, err := unpack(form, stored); err != nil || !bytes.Equal(again, content) {
			t.Errorf("the reader has %d bytes, %v, and the frames %d", len(again), err, len(content))
		}
	})
}
