package ship

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/packed"
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
			if held := cap(got.payload); held > maxPayload {
				t.Fatalf("the reader holds %d bytes, want %d at most", held, maxPayload)
			}
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
	hello := append([]byte(preface), frameOf(f, frameHello, `{"protocol":3}`)...)
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
	for _, form := range packed.Forms() {
		pack, err := newStoringPacker(form)
		if err != nil {
			f.Fatal(err)
		}
		kind, frame := pack([]byte("no WAL at all, but packed"))
		f.Add(say(request(`{"op":"put","name":"000000010000000000000001","size":1048576,"form":"`+string(form)+`"}`), frameOf(f, kind, string(frame)), frameOf(f, frameZeros, "\x00\x0f\xff\xe7")))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		parent := t.TempDir()
		dir := filepath.Join(parent, "archive")
		a, err := walcore.CreateArchive(dir)
		if err != nil {
			t.Fatal(err)
		}
		mustPut(t, a, "00000009.history", []byte("1\t0/180000\tx\n"), 0)
		for i, data := range [][]byte{stream, append(slices.Clone(hello), reframed(t, stream)...)} {
			checkMemory(t, data, func() {
				_ = Serve(t.Context(), pipe{bytes.NewReader(data), io.Discard}, AgentConfig{Archive: dir, Restricted: i == 0})
			})
		}
		checkOnly(t, parent, dir)
	})
}

// FuzzClient: no agent can make a client panic, hang, take much memory, or
// write anything but WAL files into its own archive.
func FuzzClient(f *testing.F) {
	hello := append([]byte(preface), frameOf(f, frameHello, `{"protocol":3}`)...)
	say := func(frames ...[]byte) []byte { return append(slices.Clone(hello), bytes.Join(frames, nil)...) }
	reply := func(text string) []byte { return frameOf(f, frameReply, text) }
	f.Add([]byte{})
	f.Add(hello)
	f.Add(say(reply(`{"send":true,"size":13,"segment":"../x","noted":true,"last":"0","segments":1,"segment_size":0}`), reply(`{"identical":true}`)))
	f.Add(say(reply(`{"first":"000000010000000000000001","last":"000000010000000000000001","newest":"0","gaps":[{"after":"","want":"x"}]}`)))
	f.Add(say(reply(`{"size":13}`), frameOf(f, frameData, "1\t0/180000\tx\n"), frameOf(f, frameEnd, "x")))
	f.Add(say(reply(`{}`), frameOf(f, frameData, "000000010000000000000001\n../../outside\n"), frameOf(f, frameEnd, "x")))
	f.Add(say(frameOf(f, frameError, `{"kind":"refused","message":"\u001b[2J","refused":{"name":"\n"}}`)))
	f.Fuzz(func(t *testing.T, stream []byte) {
		parent := t.TempDir()
		own, err := walcore.CreateArchive(filepath.Join(parent, "archive"))
		if err != nil {
			t.Fatal(err)
		}
		mustPut(t, own, "00000009.history", []byte("1\t0/180000\tx\n"), 0)
		for _, data := range [][]byte{stream, append(slices.Clone(hello), reframed(t, stream)...)} {
			for _, ask := range questions(own) {
				checkMemory(t, data, func() {
					c, err := Connect(t.Context(), func(context.Context) (io.ReadWriteCloser, error) {
						return closer{pipe{bytes.NewReader(data), io.Discard}, nil}, nil
					})
					if err != nil {
						return
					}
					if err := ask(t.Context(), c); err != nil && strings.ContainsAny(err.Error(), "\x1b\x00") {
						t.Errorf("an error that is not fit for a log: %q", err)
					}
				})
			}
		}
		checkOnly(t, parent, own.Dir())
	})
}

// questions is everything that a client asks an agent.
func questions(own *walcore.Archive) []func(context.Context, *Client) error {
	return []func(context.Context, *Client) error{
		func(ctx context.Context, c *Client) error { return c.Ping(ctx) },
		func(ctx context.Context, c *Client) error { return c.Relay(ctx, own, "00000009.history") },
		func(ctx context.Context, c *Client) error { return c.Fetch(ctx, own, "00000002.history") },
		func(ctx context.Context, c *Client) error { _, err := c.List(ctx); return err },
		func(ctx context.Context, c *Client) error { _, _, err := c.Digest(ctx, "00000002.history"); return err },
		func(ctx context.Context, c *Client) error { _, _, err := c.Stamp(ctx); return err },
		func(ctx context.Context, c *Client) error { _, err := c.Fence(ctx); return err },
		func(ctx context.Context, c *Client) error { _, _, err := c.Watermark(ctx); return err },
		func(ctx context.Context, c *Client) error {
			r := &relay{RelayRequest: RelayRequest{From: own, To: c, Out: io.Discard}, oldest: seg1, goal: Known{Chain: walcore.Chain{Newest: seg2}}}
			return r.check(ctx)
		},
		func(ctx context.Context, c *Client) error {
			_, err := RelayAll(ctx, RelayRequest{From: own, To: c, Out: io.Discard})
			return err
		},
	}
}

// checkMemory fails the test when f takes more than what is said to it can
// account for: some buffers for each message, whatever the message claims.
func checkMemory(t *testing.T, said []byte, f func()) {
	t.Helper()
	const base, perMessage = 16 << 20, 2 << 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	most := uint64(base + perMessage*(len(said)/frameHeader))
	if took := after.TotalAlloc - before.TotalAlloc; took > most {
		t.Errorf("%d bytes of memory were taken for %d bytes that were said, want %d at most", took, len(said), most)
	}
}

// reframed turns arbitrary bytes into frames with right checksums, so that the
// fuzzer gets past them: type, length, payload.
func reframed(t *testing.T, stream []byte) []byte {
	var out []byte
	kinds := []byte{frameHello, frameRequest, frameReply, frameError, frameData, frameS2, frameZstd, frameLZ4, frameZeros, frameEnd, frameAbort}
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
