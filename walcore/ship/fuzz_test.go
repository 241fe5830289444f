package ship

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/warmrun/warmrun/walcore"
)

// FuzzFrames: no bytes make the reader panic, take much memory or yield a
// frame whose checksum is wrong.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{})
	f.Add(frameOf(f, frameData, "hello"))
	f.Add(append(frameOf(f, frameRequest, `{"op":"ping"}`), 0, 0, 0))
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := newFrames(pipe{bytes.NewReader(stream), nil})
		for {
			got, err := r.read(nil)
			if err != nil {
				return
			}
			var again bytes.Buffer
			if err := newFrames(pipe{nil, &again}).send(got.kind, got.request, got.payload); err != nil || !bytes.Contains(stream, again.Bytes()) {
				t.Errorf("got a frame that is not in the stream: %q %d %q (%v)", got.kind, got.request, got.payload, err)
			}
		}
	})
}

// FuzzServe: no client can make an agent panic, hang, or touch anything but
// WAL files of its archive.
func FuzzServe(f *testing.F) {
	hello := append([]byte(preface), frameOf(f, frameHello, `{"protocol":2}`)...)
	say := func(frames ...[]byte) []byte { return append(slices.Clone(hello), bytes.Join(frames, nil)...) }
	request := func(text string) []byte { return frameOf(f, frameRequest, text) }
	f.Add([]byte{})
	f.Add(hello)
	for _, op := range []string{"get", "list", "digest", "stamp", "fence", "raise_fence", "lower_fence", "chain", "watermark", "set_watermark", "provisionals", "ping", "x"} {
		f.Add(say(request(`{"op":"`+op+`","name":"000000010000000000000001","segment":"000000010000000000000001","cut":{"timeline":1,"lsn":"0/8"}}`), request(`{"op":"ping"}`)))
	}
	history := "1\t0/180000\tx\n"
	f.Add(say(request(`{"op":"put","name":"00000002.history","size":13}`), frameOf(f, frameData, history), frameOf(f, frameEnd, "x")))
	f.Add(say(request(`{"op":"put","name":"../../outside","size":13}`), frameOf(f, frameData, history)))
	f.Add(say(request(`{"op":"put","name":"000000010000000000000001","size":1048576,"provisional":"0/100010"}`), frameOf(f, frameAbort, "why")))
	f.Fuzz(func(t *testing.T, stream []byte) {
		parent := t.TempDir()
		dir := filepath.Join(parent, "archive")
		a, err := walcore.CreateArchive(dir)
		if err != nil {
			t.Fatal(err)
		}
		mustPut(t, a, "00000009.history", []byte("1\t0/180000\tx\n"), 0)
		for _, data := range [][]byte{stream, append(slices.Clone(hello), reframed(t, stream)...)} {
			_ = Serve(t.Context(), pipe{bytes.NewReader(data), io.Discard}, AgentConfig{Archive: dir})
		}
		checkOnly(t, parent, dir)
	})
}

// reframed turns arbitrary bytes into frames with right checksums, so that the
// fuzzer gets past them: type, length, payload.
func reframed(t *testing.T, stream []byte) []byte {
	var out []byte
	kinds := []byte{frameHello, frameRequest, frameReply, frameError, frameData, frameS2, frameZstd, frameZeros, frameEnd, frameAbort}
	for len(stream) > 2 {
		n := min(int(stream[1])*4, len(stream)-2)
		out = append(out, frameOf(t, kinds[int(stream[0])%len(kinds)], string(stream[2:2+n]))...)
		stream = stream[2+n:]
	}
	return out
}

// checkOnly looks for files that an agent must not make.
func checkOnly(t *testing.T, parent, dir string) {
	for _, d := range []string{parent, dir} {
		entries, err := os.ReadDir(d)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			name := entry.Name()
			if _, err := walcore.ParseFileName(name); err != nil && name != "archive" && name != ".warmrun" {
				t.Errorf("the agent made %s in %s", name, d)
			}
		}
	}
}
