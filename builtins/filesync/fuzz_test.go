package filesync

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// packFrames and unpackFrames let the fuzzer play with frames and not with
// their checksums: a type, a length of two bytes, a payload.
func packFrames(frames []frame) []byte {
	var b []byte
	for _, f := range frames {
		b = append(b, byte(f.t), byte(len(f.payload)>>8), byte(len(f.payload)))
		b = append(b, f.payload...)
	}
	return b
}

func unpackFrames(b []byte) []frame {
	var frames []frame
	for len(b) >= 3 && len(frames) < 64 {
		n := min(int(b[1])<<8|int(b[2]), len(b)-3)
		frames = append(frames, frame{frameType(b[0]), b[3 : 3+n]})
		b = b[3+n:]
	}
	return frames
}

// FuzzServe sends any frames to a far end whose root is fixed, and checks that
// it ends and that nothing outside the root was touched.
func FuzzServe(f *testing.F) {
	for _, r := range []role{roleReceive, roleSend, roleLook} {
		f.Add(uint8(r), packFrames([]frame{{frameList, filter{lists: [3][]string{1: {"*.log"}}}.encode()}, {frameBarrier, nil}}))
	}
	f.Add(uint8(roleReceive), packFrames([]frame{
		putFrame(1, fileEntry("new", 3), "abc"),
		beginFrame(2, fileEntry("f", 3*blockSize)), sumsFrame(2, 0),
		dataFrame(2, 8192, "changed"), endFrame(2),
		{frameMkdir, encodeEntry(Entry{Path: "d", Kind: Dir, Mode: 0o755})},
		{frameSymlink, encodeEntry(Entry{Path: "l", Kind: Symlink, Target: "../outside"})},
		{frameRemove, encodePath("sub/g")}, {frameMeta, encodeEntry(Entry{Path: "sub", Kind: Dir, Mode: 0o700})},
		{frameGone, new(encoder).uint(1).b}, {frameSync, nil},
	}))
	large := fileEntry("large", rangeSize+blockSize)
	large.Mode = 0o600
	f.Add(uint8(roleReceive), packFrames([]frame{
		partFrame(1, large, 0, rangeSize), zerosFrame(1, 0, rangeSize), endFrame(1),
		partFrame(2, large, rangeSize, rangeSize+blockSize), zerosFrame(2, rangeSize, blockSize), endFrame(2),
		finishFrame(finishRequest{ID: 2, Entry: large, Basis: -1}), {frameSync, nil},
		finishFrame(finishRequest{ID: 3, Entry: fileEntry("f", 3*blockSize), Basis: 3 * blockSize, Same: []span{{0, 3 * blockSize}}}),
		finishFrame(finishRequest{ID: 4, Entry: fileEntry("sub/g", 1), Gone: true}), {frameSync, nil},
	}))
	f.Add(uint8(roleReceive), packFrames([]frame{
		{frameBegin, new(encoder).uint(1).job(job{entry: &large, to: rangeSize, basis: -1, partial: rangeSize, sure: []span{{0, spanSize}}}).b},
		{frameNote, new(encoder).uint(1).time(old).int(0).int(0).b},
		zerosFrame(1, spanSize, spanSize), {frameNote, new(encoder).uint(1).time(old).int(spanSize).int(2 * spanSize).b},
		endFrame(1), {frameHanded, new(encoder).uint(2).job(job{entry: &large, to: rangeSize, basis: -1, partial: -1}).b}, {frameSync, nil},
	}))
	f.Add(uint8(roleSend), packFrames([]frame{
		{frameFetch, fetchRequest{ID: 1, Path: "f", Size: 3 * blockSize, To: 3 * blockSize, Known: -1}.encode()},
		{frameFetch, fetchRequest{ID: 2, Path: "sub/g", Size: 1, To: 1, Known: 1}.encode()},
		{frameHashes, append(new(encoder).uint(2).int(0).b, make([]byte, hashSize)...)}, {frameSync, nil},
	}))
	f.Add(uint8(roleLook), packFrames([]frame{
		{frameRead, smallFile{Name: "sub/g", Limit: 100}.encode()},
		{frameWrite, smallFile{Name: "sub/h", Perm: 0o600, Data: []byte("x")}.encode()},
		{frameProcess, new(encoder).uint(1).b},
	}))
	f.Fuzz(func(t *testing.T, r uint8, packed []byte) {
		a := newArena(t)
		near, far := net.Pipe()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		var served sync.WaitGroup
		served.Go(func() {
			_ = Serve(ctx, far, ServeConfig{Allow: onlyRoot(a.root)}) // any error will do
			_ = far.Close()
		})
		served.Go(func() { _, _ = io.Copy(io.Discard, near) })
		c := newConn(near)
		for _, f := range append(hello(a.root, role(r)), unpackFrames(packed)...) {
			if c.send(f.t, f.payload) != nil {
				break
			}
		}
		_ = near.Close()
		served.Wait()
		if ctx.Err() != nil {
			t.Error("the far end hung")
		}
		a.check(t)
		checkNoTemps(t, a.root)
	})
}

// onlyRoot keeps the fuzzer's own requests to open a root within the arena.
func onlyRoot(root string) func(string, bool) error {
	return func(asked string, _ bool) error {
		if asked != root {
			return os.ErrPermission
		}
		return nil
	}
}

// FuzzPull answers a pull with any frames.
func FuzzPull(f *testing.F) {
	dot := Entry{Path: ".", Kind: Dir, Mode: 0o755, ModTime: old}
	f.Add(packFrames([]frame{
		entriesFrame(dot, fileEntry("a", 1), fileEntry("f", 3*blockSize), Entry{Path: "l", Kind: Symlink, Target: "../outside"}),
		{frameListed, nil},
		{framePut, append(new(encoder).uint(0).time(old).bool(false).b, 'x')},
		{frameBegin, new(encoder).uint(1).b}, sumsFrame(1, 0),
		dataFrame(1, 0, "new content"), endFrame(1), {frameDone, nil},
	}))
	f.Add(packFrames([]frame{entriesFrame(dot), {frameListed, nil}, {frameFail, encodeFailure(os.ErrNotExist)}}))
	f.Fuzz(func(t *testing.T, packed []byte) {
		a := newArena(t)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, err := Pull(ctx, hostileSource(t, unpackFrames(packed)), "/anything", a.root,
			Options{Streams: 1, Delete: true, Checksum: true, OnChange: func(string, Change) error { return nil }})
		if ctx.Err() != nil {
			t.Errorf("the copy hung: %v", err)
		}
		a.check(t)
		checkNoTemps(t, a.root)
	})
}

// FuzzFrames reads frames from any bytes.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("SSH-2.0-OpenSSH_9.2 this is not what you want"))
	f.Fuzz(func(t *testing.T, b []byte) {
		near, far := net.Pipe()
		go func() {
			_, _ = far.Write(b)
			_ = far.Close()
		}()
		defer func() { _ = near.Close() }()
		c := newConn(near)
		for {
			if _, _, err := c.read(); err != nil {
				return
			}
		}
	})
}

// TestFrames is the way there and back of what frames hold.
func TestFrames(t *testing.T) {
	t.Parallel()
	e := Entry{Path: "a/b", Kind: File, Mode: 0o640, Size: 1 << 40, ModTime: old, UID: 26, GID: 1 << 31, User: "postgres", Group: "dba"}
	got, err := decodeEntry(encodeEntry(e))
	must(t, err)
	if !got.ModTime.Equal(e.ModTime) {
		t.Errorf("got time %v, want %v", got.ModTime, e.ModTime)
	}
	if got.ModTime = e.ModTime; got != e {
		t.Errorf("got %+v, want %+v", got, e)
	}
	o := openRequest{Role: roleSend, Root: filepath.Clean("/x"), Create: true, InPlace: true, Same: identity{1, 2}}
	if got, err := decodeOpen(o.encode()); err != nil || got != o {
		t.Errorf("got %+v, %v, want %+v", got, err, o)
	}
	for n := range len(encodeEntry(e)) {
		if _, err := decodeEntry(encodeEntry(e)[:n]); err == nil {
			t.Errorf("got no error for the first %d bytes of an entry", n)
		}
	}
}
