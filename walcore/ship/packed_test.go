package ship

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/packed"
	"github.com/warmrun/warmrun/walcore/storetest"
)

// mixed is a segment with pieces of WAL and of zeros.
func mixed(name walcore.SegmentName) []byte {
	return segment(storetest.Segment{Name: name, Ending: storetest.Switch, Until: 300_000})
}

// storedFile is the bytes of a file as they lie in an archive.
func storedFile(t *testing.T, a *walcore.Archive, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(a.Dir(), file))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestStoredAsSent: a segment is stored as the frames that a packer makes of its
// pieces, whether they came packed, plain, in another form or as zeros.
func TestStoredAsSent(t *testing.T) {
	data := mixed(seg1)
	for _, form := range packed.Forms() {
		p, err := packed.NewPacker(form)
		if err != nil {
			t.Fatal(err)
		}
		var want []byte
		for at := 0; at < len(data); at += packed.PieceSize {
			want = append(want, p.Pack(data[at:at+packed.PieceSize])...)
		}
		for _, wire := range []string{"the same", "none", "s2", "zstd"} {
			a := newArchive(t)
			c := connectStoring(t, a, form)
			if wire != "the same" {
				// The agent is asked for the form, and gets pieces of another one.
				pack, err := newPacker(cluster.Compression(wire))
				if err != nil {
					t.Fatal(err)
				}
				c.packers.give(form, pack)
			}
			result, err := c.PutFrom(t.Context(), walcore.FileName(seg1), bytes.NewReader(data), int64(len(data)), PutOptions{})
			if err != nil || result.Bytes != int64(len(data)) {
				t.Fatalf("%s, %s on the wire: got %+v, %v", form, wire, result, err)
			}
			if got := storedFile(t, a, string(seg1)+form.Suffix()); !bytes.Equal(got, want) {
				t.Errorf("%s, %s on the wire: got %d bytes stored, want the %d of the frames", form, wire, len(got), len(want))
			}
		}
	}
}

// TestRelayAndFetchPacked: what moves between archives is stored as the site
// wants it now, however it lay at its source.
func TestRelayAndFetchPacked(t *testing.T) {
	forms := append(packed.Forms(), packed.Plain)
	data := mixed(seg1)
	for _, from := range forms {
		for _, to := range forms {
			source, relayed, fetched := newArchive(t), newArchive(t), newArchive(t)
			mustPut(t, source.Storing(from), walcore.FileName(seg1), data, 0)
			if _, err := RelayAll(t.Context(), RelayRequest{From: source, To: connectStoring(t, relayed, to), Out: io.Discard}); err != nil {
				t.Errorf("relay from %s to %s: %v", from, to, err)
			}
			if err := connectTo(t, source).Fetch(t.Context(), fetched.Storing(to), walcore.FileName(seg1)); err != nil {
				t.Errorf("fetch from %s to %s: %v", from, to, err)
			}
			for how, a := range map[string]*walcore.Archive{"relay": relayed, "fetch": fetched} {
				if len(storedFile(t, a, string(seg1)+to.Suffix())) == 0 {
					t.Errorf("%s from %s to %s: it is empty", how, from, to)
				}
				sum, size, err := a.Digest(walcore.FileName(seg1))
				if want, _, _ := walcore.DigestOf(bytes.NewReader(data)); err != nil || sum != want || size != int64(len(data)) {
					t.Errorf("%s from %s to %s: got other content, %d bytes, %v", how, from, to, size, err)
				}
			}
		}
	}
}

// TestRelayedAsStored: frames are sent on as they lie, and what cannot be is
// packed anew or told.
func TestRelayedAsStored(t *testing.T) {
	data, name := mixed(seg1), walcore.FileName(seg1)
	for _, form := range packed.Forms() {
		from := newArchive(t)
		mustPut(t, from.Storing(form), name, data, 0)
		path := filepath.Join(from.Dir(), string(seg1)+form.Suffix())
		ours := storedFile(t, from, string(seg1)+form.Suffix())
		// Other frames than this program would make of the same pieces.
		theirs := append(ours[:len(ours):len(ours)], skippable()...)
		for what, stored := range map[string][]byte{"our frames": ours, "other frames": theirs} {
			writeFile(t, path, stored)
			to := newArchive(t)
			c := connectStoring(t, to, form)
			result, err := c.relay(t.Context(), from, name, nil)
			if err != nil || result.Bytes != int64(len(data)) {
				t.Fatalf("%s, %s: got %+v, %v", form, what, result, err)
			}
			if got := storedFile(t, to, string(seg1)+form.Suffix()); !bytes.Equal(got, ours) {
				t.Errorf("%s, %s: got %d bytes stored, want %d", form, what, len(got), len(ours))
			}
			if result, err := c.relay(t.Context(), from, name, nil); err != nil || !result.Identical {
				t.Errorf("%s, %s, again: got %+v, %v, want identical", form, what, result, err)
			}
		}
		flipped := bytes.Clone(ours)
		flipped[len(flipped)-20] ^= 1
		for what, stored := range map[string][]byte{"flipped": flipped, "cut": ours[:len(ours)/2]} {
			writeFile(t, path, stored)
			to := newArchive(t)
			c := connectStoring(t, to, form)
			var damaged *packed.DamagedError
			if _, err := c.relay(t.Context(), from, name, nil); !errors.As(err, &damaged) {
				t.Errorf("%s, %s: got %v, want it damaged", form, what, err)
			}
			if err := c.Ping(t.Context()); err != nil || listed(t, to) != "" {
				t.Errorf("%s, %s: the connection says %v, and %q is stored", form, what, err, listed(t, to))
			}
		}
	}
}

// skippable is a frame that every reader of zstd and lz4 skips.
func skippable() []byte { return zstdNothing() }

// TestAgentMemoryPacked: as many files at once as an agent takes, packed and to
// be packed there, and offered again, stay within what an agent may hold.
func TestAgentMemoryPacked(t *testing.T) {
	most := 64 << 10 // kilobytes
	if raced {
		most *= 2 // the race detector keeps books in memory
	}
	for _, form := range packed.Forms() {
		for _, wire := range []cluster.Compression{"", cluster.CompressS2} {
			peak := filepath.Join(t.TempDir(), "peak")
			t.Setenv(peakEnv, peak)
			a := newArchive(t)
			c := connectWith(t, func(ctx context.Context) (io.ReadWriteCloser, error) { return startAgent(ctx, a.Dir()) }, Options{Store: form})
			var wait sync.WaitGroup
			for i := range maxUploads {
				const size = 4 << 20
				name := walcore.MakeSegmentName(1, uint64(i), size)
				data := segment(storetest.Segment{Name: name, Size: size, Seed: byte(i)})
				wait.Go(func() {
					if wire != "" {
						pack, err := newPacker(wire)
						if err != nil {
							t.Error(err)
						}
						c.packers.give(form, pack)
					}
					for range 2 {
						if _, err := c.PutFrom(t.Context(), walcore.FileName(name), bytes.NewReader(data), int64(len(data)), PutOptions{}); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wait.Wait()
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(peak)
			kilobytes, parseErr := strconv.Atoi(string(text))
			if err := errors.Join(err, parseErr); err != nil {
				t.Fatal(err)
			}
			t.Logf("%s, %q on the wire: %d kB", form, wire, kilobytes)
			if kilobytes > most {
				t.Errorf("%s, %q on the wire: the agent held %d kB, want %d at most", form, wire, kilobytes, most)
			}
		}
	}
}

// TestAgentThatCannotPack: an agent of before the forms stores plain.
func TestAgentThatCannotPack(t *testing.T) {
	a := newArchive(t)
	dial := func(ctx context.Context) (io.ReadWriteCloser, error) {
		stream, err := inProcess(t, AgentConfig{Archive: a.Dir()})(ctx)
		return &forgetful{stream: stream}, err
	}
	c := connectWith(t, dial, Options{Store: packed.LZ4})
	data := mixed(seg1)
	if _, err := c.PutFrom(t.Context(), walcore.FileName(seg1), bytes.NewReader(data), int64(len(data)), PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := storedFile(t, a, string(seg1)); !bytes.Equal(got, data) {
		t.Errorf("got %d bytes, want the plain segment", len(got))
	}
}

// forgetful replaces the agent's greeting by one that names no forms.
type forgetful struct {
	stream io.ReadWriteCloser
	said   io.Reader
}

func (f *forgetful) Write(b []byte) (int, error) { return f.stream.Write(b) }
func (f *forgetful) Close() error                { return f.stream.Close() }

func (f *forgetful) Read(b []byte) (int, error) {
	if f.said == nil {
		var old bytes.Buffer
		theirs := newFrames(f.stream)
		if _, err := theirs.greeting(); err != nil {
			return 0, err
		}
		if err := newFrames(pipe{nil, &old}).greet(hello{Program: "v0"}); err != nil {
			return 0, err
		}
		f.said = io.MultiReader(&old, theirs.in)
	}
	return f.said.Read(b)
}

// TestUnknownForm: a form of the future is refused, and the session goes on.
func TestUnknownForm(t *testing.T) {
	a := newArchive(t)
	c := connectTo(t, a)
	c.store = "brotli"
	data := mixed(seg1)
	err := c.call(t.Context(), func(x *exchange) error {
		var offer offerReply
		return x.ask(request{Op: opPut, Name: walcore.FileName(seg1), Size: int64(len(data)), Form: "brotli"}, &offer)
	})
	if err == nil || !strings.Contains(err.Error(), "brotli") || errors.Is(err, errProtocol) {
		t.Errorf("got %v, want the form named, and no end of the session", err)
	}
	if err := c.Ping(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestCrumbs: frames that take more room than their content are not stored
// without end.
func TestCrumbs(t *testing.T) {
	a := newArchive(t)
	here, there := net.Pipe()
	served := make(chan error, 1)
	go func() {
		served <- Serve(context.Background(), there, AgentConfig{Archive: a.Dir()})
		_ = there.Close()
	}()
	f := newFrames(here)
	if err := f.greet(hello{}); err != nil {
		t.Fatal(err)
	}
	said := make(chan error, 1)
	go func() {
		said <- func() error {
			p, err := packed.NewPacker(packed.Zstd)
			if err != nil {
				return err
			}
			err = f.sendJSON(frameRequest, 1, request{Op: opPut, Name: walcore.FileName(seg1), Size: 1 << 20, Form: packed.Zstd})
			crumb := p.Pack([]byte{7})
			for n := 0; n < 1<<20 && err == nil; n++ {
				err = f.send(frameZstd, 1, crumb)
			}
			return err
		}()
	}()
	if _, err := f.greeting(); err != nil {
		t.Fatal(err)
	}
	for {
		got, err := f.read(nil)
		if err != nil {
			t.Fatal(err)
		}
		if got.kind == frameError {
			if !bytes.Contains(got.payload, []byte("its frames take more than")) {
				t.Errorf("got %s", got.payload)
			}
			break
		}
	}
	_ = here.Close() // the rest is of no interest
	<-said
	<-served
	if got := listed(t, a); got != "" {
		t.Errorf("got %s stored, want nothing", got)
	}
}
