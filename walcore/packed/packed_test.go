package packed

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// samples are contents of all sorts: nothing, crumbs, zeros, text, noise.
func samples() map[string][]byte {
	noise := make([]byte, PieceSize)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	text := bytes.Repeat([]byte("INSERT INTO pgbench_history "), PieceSize/28)
	return map[string][]byte{
		"nothing": {}, "a byte": {7}, "twelve bytes": []byte("abcdabcdabcd"),
		"zeros": make([]byte, PieceSize), "text": text, "noise": noise,
		"a large piece": append(append(bytes.Clone(text), noise...), text...),
		"half and half": append(bytes.Clone(noise[:PieceSize/2]), text[:PieceSize/3]...),
	}
}

func packer(t testing.TB, form Form) *Packer {
	t.Helper()
	p, err := NewPacker(form)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPackAndUnpack(t *testing.T) {
	for _, form := range Forms() {
		p, u := packer(t, form), &Unpacker{}
		defer u.Close()
		for name, piece := range samples() {
			frame := p.Pack(piece)
			if most := MaxStored(int64(len(piece))); int64(len(frame)) > most {
				t.Errorf("%s, %s: got a frame of %d bytes, want %d at most", form, name, len(frame), most)
			}
			got, err := u.Unpack(form, frame)
			if err != nil || !bytes.Equal(got, piece) {
				t.Errorf("%s, %s: got %d bytes back, %v, want the %d bytes", form, name, len(got), err, len(piece))
			}
		}
		if got, err := u.Unpack(form, p.PackZeros(1000)); err != nil || !bytes.Equal(got, make([]byte, 1000)) {
			t.Errorf("%s, a thousand zeros: got %d bytes, %v", form, len(got), err)
		}
		if got, err := u.Unpack(form, p.PackZeros(PieceSize)); err != nil || !bytes.Equal(got, make([]byte, PieceSize)) {
			t.Errorf("%s, a piece of zeros: got %d bytes, %v", form, len(got), err)
		}
	}
}

// file is samples as frames one behind the other, and their content.
func file(t testing.TB, form Form) (frames, content []byte) {
	p := packer(t, form)
	all := samples()
	for _, name := range []string{"text", "zeros", "noise", "half and half"} {
		frames, content = append(frames, p.Pack(all[name])...), append(content, all[name]...)
	}
	return frames, content
}

func unpack(form Form, frames []byte) ([]byte, error) {
	r, err := NewReader(form, bytes.NewReader(frames))
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(r)
	return content, errors.Join(err, r.Close())
}

func TestReader(t *testing.T) {
	for _, form := range Forms() {
		frames, content := file(t, form)
		got, err := unpack(form, frames)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: got %d bytes, %v, want %d", form, len(got), err, len(content))
		}
		failed := errors.New("the disk is on fire")
		r, err := NewReader(form, io.MultiReader(bytes.NewReader(frames[:5000]), failing{failed}))
		if err != nil {
			t.Fatal(err)
		}
		var damaged *DamagedError
		if _, err := io.ReadAll(r); !errors.Is(err, failed) || errors.As(err, &damaged) {
			t.Errorf("%s: a failing read: got %v, want it as it is", form, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

type failing struct{ error }

func (f failing) Read([]byte) (int, error) { return 0, f.error }

// TestDamage: a flipped bit and a cut are found, but for a cut between two
// frames, which leaves fewer bytes.
func TestDamage(t *testing.T) {
	for _, form := range Forms() {
		frames, content := file(t, form)
		first := len(packer(t, form).Pack(samples()["text"]))
		for cut := 1; cut < len(frames); cut += 1 + len(frames)/97 {
			got, err := unpack(form, frames[:cut])
			var damaged *DamagedError
			if cut != first && !errors.As(err, &damaged) {
				t.Errorf("%s, cut at %d of %d: got %d bytes, %v, want it damaged", form, cut, len(frames), len(got), err)
			}
		}
		if got, err := unpack(form, frames[:first]); err != nil || len(got) >= len(content) {
			t.Errorf("%s, cut between two frames: got %d bytes, %v, want fewer than %d", form, len(got), err, len(content))
		}
		for at := 0; at < len(frames); at += 1 + len(frames)/97 {
			bad := bytes.Clone(frames)
			bad[at] ^= 0x10
			if got, err := unpack(form, bad); err == nil && bytes.Equal(got, content) == false {
				t.Errorf("%s, a flipped bit at %d: got other content and no error", form, at)
			}
		}
	}
}

// TestTools: the ordinary programs unpack what is stored, and what they have
// packed is understood.
func TestTools(t *testing.T) {
	for _, form := range Forms() {
		tool, err := exec.LookPath(string(form))
		if err != nil {
			t.Fatalf("%s is not here; install it (apt-get install %s, dnf install %s)", form, form, form)
		}
		frames, content := file(t, form)
		path := filepath.Join(t.TempDir(), "segment"+form.Suffix())
		if err := os.WriteFile(path, frames, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := exec.Command(tool, "-dc", path).Output()
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s -dc: got %d bytes, %v, want the %d that were packed", tool, len(got), err, len(content))
		}
		pack := exec.Command(tool, "-c", "-9")
		pack.Stdin = bytes.NewReader(content)
		theirs, err := pack.Output()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := unpack(form, theirs); err != nil || !bytes.Equal(got, content) {
			t.Errorf("what %s has packed: got %d bytes, %v, want %d", tool, len(got), err, len(content))
		}
	}
}

func TestSplit(t *testing.T) {
	tests := []struct {
		file, name string
		form       Form
	}{
		{"000000010000000000000001", "000000010000000000000001", Plain},
		{"000000010000000000000001.zst", "000000010000000000000001", Zstd},
		{"000000010000000000000001.lz4", "000000010000000000000001", LZ4},
		{".zst", "", Zstd},
		{"", "", Plain},
	}
	for _, tt := range tests {
		if name, form := Split(tt.file); name != tt.name || form != tt.form {
			t.Errorf("%q: got %q, %s, want %q, %s", tt.file, name, form, tt.name, tt.form)
		}
		if back := tt.name + tt.form.Suffix(); back != tt.file {
			t.Errorf("%q: got %q back", tt.file, back)
		}
	}
}

func TestCheck(t *testing.T) {
	for form, good := range map[Form]bool{"": true, "none": true, "zstd": true, "lz4": true, "gzip": false, "Zstd": false} {
		if err := form.Check(); (err == nil) != good {
			t.Errorf("%q: got %v", form, err)
		}
		if good && form != "" && form.Packs() == (form == "none") {
			t.Errorf("%q: got packs=%v", form, form.Packs())
		}
	}
}

func TestXXH32(t *testing.T) {
	// The check values of the specification's own program (xxhsum -H0).
	for text, want := range map[string]uint32{
		"": 0x02CC5D05, "a": 0x550D7456, "abc": 0x32D153FF,
		"Nobody inspects the spammish repetition": 0xE2293B2F,
	} {
		if got := xxh32([]byte(text)); got != want {
			t.Errorf("%q: got %08X, want %08X", text, got, want)
		}
	}
}
