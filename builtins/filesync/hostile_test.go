package filesync

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// arena is a root with something beside it that nobody may touch.
type arena struct {
	dir, root string
	before    map[string]string
}

func newArena(t *testing.T) *arena {
	t.Helper()
	dir := t.TempDir()
	a := &arena{dir: dir, root: filepath.Join(dir, "root")}
	write(t, dir, "secret", []byte("do not read this"))
	write(t, dir, "outside/file", []byte("do not write this"))
	must(t, os.Mkdir(a.root, 0o755))
	write(t, a.root, "f", noise(1, 3*blockSize))
	write(t, a.root, "sub/g", []byte("g"))
	must(t, os.Symlink("../outside", filepath.Join(a.root, "way-out")))
	must(t, os.Symlink("../secret", filepath.Join(a.root, "peek")))
	must(t, os.Symlink("sub", filepath.Join(a.root, "inner")))
	a.before = a.outside(t)
	return a
}

// outside describes everything but the root, which may hold huge sparse files.
func (a *arena) outside(t *testing.T) map[string]string {
	t.Helper()
	tree := map[string]string{}
	children, err := os.ReadDir(a.dir)
	must(t, err)
	for _, child := range children {
		if child.Name() == "root" {
			continue
		}
		for name, line := range snapshot(t, filepath.Join(a.dir, child.Name())) {
			tree[filepath.Join(child.Name(), name)] = line
		}
	}
	return tree
}

// check fails if anything outside the root is not as it was.
func (a *arena) check(t *testing.T) {
	t.Helper()
	after := a.outside(t)
	for name, line := range a.before {
		if after[name] != line {
			t.Errorf("%s was %s, is %s", name, line, after[name])
		}
	}
	if len(after) != len(a.before) {
		t.Errorf("got %d entries outside the root, want %d", len(after), len(a.before))
	}
}

// talk plays the near end of a Serve: it sends frames and returns what came
// back, until the far end has nothing more to say.
func talk(t testing.TB, frames []frame) []frame {
	t.Helper()
	near, far := net.Pipe()
	var served sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	served.Go(func() {
		_ = Serve(ctx, far, ServeConfig{}) // its answers are what is looked at
		_ = far.Close()
	})
	c := newConn(near)
	served.Go(func() {
		for _, f := range frames {
			if c.send(f.t, f.payload) != nil {
				break
			}
		}
		if len(frames) > 0 && frames[len(frames)-1].t != frameSync {
			_ = c.send(frameBarrier) // so that an answer comes if nothing went wrong
		}
	})
	var answers []frame
	for {
		typ, payload, err := c.read()
		if err != nil {
			break
		}
		answers = append(answers, frame{typ, slices.Clone(payload)})
		if typ == frameFail || typ == frameDone {
			break
		}
	}
	_ = near.Close()
	served.Wait()
	if ctx.Err() != nil {
		t.Error("the far end hung")
	}
	return answers
}

type frame struct {
	t       frameType
	payload []byte
}

func hello(root string, r role) []frame {
	return []frame{
		{frameHello, greeting{Magic: magic, Version: protocolVersion}.encode()},
		{frameOpen, openRequest{Role: r, Root: root, Create: true, FollowRoot: true, Delete: true}.encode()},
	}
}

func beginFrame(id uint64, e Entry) frame {
	return frame{frameBegin, new(encoder).uint(id).job(wholeFile(e)).b}
}

// wholeFile is the job for a file of which the target has another version of
// the same size.
func wholeFile(e Entry) job {
	return job{entry: &e, to: e.Size, basis: e.Size, partial: -1}
}

// partFrame begins a part of a file.
func partFrame(id uint64, e Entry, from, to int64) frame {
	j := wholeFile(e)
	j.from, j.to = from, to
	return frame{frameBegin, new(encoder).uint(id).job(j).b}
}

func zerosFrame(id uint64, offset, n int64) frame {
	return frame{frameZeros, new(encoder).uint(id).int(offset).int(n).b}
}

func sumsFrame(id uint64, offset int64) frame {
	return frame{frameSums, new(encoder).uint(id).int(offset).b}
}

func putFrame(id uint64, e Entry, content string) frame {
	p := new(encoder).uint(id).job(wholeFile(e)).time(old).bool(false).b
	return frame{framePut, append(p, content...)}
}

func dataFrame(id uint64, offset int64, content string) frame {
	return frame{frameData, append(new(encoder).uint(id).int(offset).b, content...)}
}

func endFrame(id uint64) frame {
	return frame{frameEnd, new(encoder).uint(id).time(old).b}
}

func finishFrame(f finishRequest) frame {
	f.Stamp = old
	return frame{frameFinish, f.encode()}
}

func fileEntry(path string, size int64) Entry {
	return Entry{Path: path, Kind: File, Mode: 0o644, Size: size, ModTime: old}
}

// TestServeRefusesHostileRequests sends what a correct peer never would, and
// expects a refusal and nothing touched outside the root.
func TestServeRefusesHostileRequests(t *testing.T) {
	t.Parallel()
	link := func(path, target string) frame {
		return frame{frameSymlink, encodeEntry(Entry{Path: path, Kind: Symlink, Target: target, ModTime: old})}
	}
	for _, c := range []struct {
		name   string
		role   role
		frames []frame
	}{
		{"put above the root", roleReceive, []frame{putFrame(1, fileEntry("../outside/file", 1), "x")}},
		{"put at an absolute path", roleReceive, []frame{putFrame(1, fileEntry("/tmp/warmrun-hostile", 1), "x")}},
		{"put through dots inside", roleReceive, []frame{putFrame(1, fileEntry("sub/../../outside/file", 1), "x")}},
		{"put through a link out", roleReceive, []frame{putFrame(1, fileEntry("way-out/file", 1), "x")}},
		{"put through a link just made", roleReceive, []frame{link("mine", "../outside"), putFrame(1, fileEntry("mine/file", 1), "x")}},
		{"compare through a link out", roleReceive, []frame{beginFrame(1, fileEntry("way-out/file", 17)),
			sumsFrame(1, 0)}},
		{"compare a link to a file outside", roleReceive, []frame{beginFrame(1, fileEntry("peek", 16)),
			sumsFrame(1, 0)}},
		{"remove above the root", roleReceive, []frame{{frameRemove, encodePath("../secret")}}},
		{"remove through a link", roleReceive, []frame{{frameRemove, encodePath("way-out/file")}}},
		{"remove the root", roleReceive, []frame{{frameRemove, encodePath(".")}}},
		{"mkdir above the root", roleReceive, []frame{{frameMkdir, encodeEntry(Entry{Path: "../new", Kind: Dir, Mode: 0o700})}}},
		{"mkdir through a link", roleReceive, []frame{{frameMkdir, encodeEntry(Entry{Path: "way-out/new", Kind: Dir, Mode: 0o700})}}},
		{"link through a link", roleReceive, []frame{link("way-out/new", "x")}},
		{"attributes through a link", roleReceive, []frame{{frameMeta, encodeEntry(Entry{Path: "way-out", Kind: Dir, Mode: 0o777})}}},
		{"attributes of a file outside", roleReceive, []frame{{frameMeta, encodeEntry(fileEntry("peek", 1))}}},
		{"more data than said", roleReceive, []frame{beginFrame(1, fileEntry("new", 3)), dataFrame(1, 0, "four")}},
		{"data past the end", roleReceive, []frame{beginFrame(1, fileEntry("new", 3)), dataFrame(1, 1<<40, "x")}},
		{"data before the beginning", roleReceive, []frame{beginFrame(1, fileEntry("new", 3)), dataFrame(1, -1, "x")}},
		{"less data than said", roleReceive, []frame{beginFrame(1, fileEntry("new", 3)), dataFrame(1, 0, "x"), endFrame(1)}},
		{"put of more than said", roleReceive, []frame{putFrame(1, fileEntry("new", 1), "xx")}},
		{"an end without content", roleReceive, []frame{beginFrame(1, fileEntry("new", 3)), endFrame(1)}},
		{"zeros past the end", roleReceive, []frame{beginFrame(1, fileEntry("new", 3)), zerosFrame(1, 0, 1<<40)}},
		{"fewer zeros than none", roleReceive, []frame{beginFrame(1, fileEntry("new", 3)), zerosFrame(1, 1, -1)}},
		{"content backwards", roleReceive, []frame{beginFrame(1, fileEntry("new", 3)), dataFrame(1, 2, "x"), dataFrame(1, 0, "x")}},
		{"zeros through a link", roleReceive, []frame{beginFrame(1, fileEntry("way-out/file", 17)), zerosFrame(1, 0, 17)}},
		{"a part past the end", roleReceive, []frame{partFrame(1, fileEntry("new", 3), 0, 4)}},
		{"a part that begins anywhere", roleReceive, []frame{partFrame(1, fileEntry("new", 3), 1, 3)}},
		{"a part larger than any", roleReceive, []frame{partFrame(1, fileEntry("new", 1<<40), 0, 1<<40)}},
		{"a part through a link", roleReceive, []frame{partFrame(1, fileEntry("way-out/file", 17), 0, 5), dataFrame(1, 0, "x")}},
		{"a part sent as a whole", roleReceive, []frame{{framePut, append(new(encoder).uint(1).job(
			job{entry: &Entry{Path: "new", Kind: File, Size: 3}, to: 2}).time(old).bool(false).b, "xx"...)}}},
		{"an end above the root", roleReceive, []frame{finishFrame(finishRequest{Entry: fileEntry("../outside/file", 0)})}},
		{"an end through a link", roleReceive, []frame{finishFrame(finishRequest{Entry: fileEntry("way-out/file", 17), Basis: 17, Same: []span{{0, 17}}})}},
		{"an end of nothing, gone, through a link", roleReceive, []frame{finishFrame(finishRequest{Entry: fileEntry("way-out/file", 17), Gone: true})}},
		{"a further name above the root", roleReceive, []frame{{frameLink, new(encoder).string("mine").string("../secret").b}}},
		{"a further name of a link", roleReceive, []frame{{frameLink, new(encoder).string("mine").string("peek").b}}},
		{"a further name through a link", roleReceive, []frame{{frameLink, new(encoder).string("mine").string("way-out/file").b}}},
		{"a further name beyond a link", roleReceive, []frame{{frameLink, new(encoder).string("way-out/mine").string("f").b}}},
		{"ranges past the end", roleReceive, []frame{finishFrame(finishRequest{Entry: fileEntry("f", 3), Basis: 3, Same: []span{{0, 4}}})}},
		{"data of no file", roleReceive, []frame{dataFrame(7, 0, "x")}},
		{"a file twice at once", roleReceive, []frame{beginFrame(1, fileEntry("a", 3)), beginFrame(1, fileEntry("b", 3))}},
		{"sync with a file open", roleReceive, []frame{beginFrame(1, fileEntry("a", 3)), {frameSync, nil}}},
		{"a request for the other role", roleReceive, []frame{{frameFetch, fetchRequest{Path: "f", Size: 1, To: 1, Known: -1}.encode()}}},
		{"a packed bomb", roleReceive, []frame{beginFrame(1, fileEntry("new", 1<<20)),
			{framePacked, append(new(encoder).uint(1).int(0).b, 0xff, 0xff, 0xff, 0xff, 0x0f, 0)}}},
		{"fetch above the root", roleSend, []frame{{frameFetch, fetchRequest{Path: "../secret", Size: 16, To: 16, Known: -1}.encode()}}},
		{"a write when reading", roleSend, []frame{putFrame(1, fileEntry("new", 1), "x")}},
		{"read above the root", roleLook, []frame{{frameRead, smallFile{Name: "../secret", Limit: 100}.encode()}}},
		{"read a link out", roleLook, []frame{{frameRead, smallFile{Name: "peek", Limit: 100}.encode()}}},
		{"write through a link", roleLook, []frame{{frameWrite, smallFile{Name: "way-out/file", Perm: 0o600, Data: []byte("x")}.encode()}}},
		{"nonsense", roleReceive, []frame{{200, []byte("nonsense")}}},
		{"a second root", roleReceive, []frame{{frameOpen, openRequest{Role: roleReceive, Root: "/etc"}.encode()}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newArena(t)
			answers := talk(t, append(hello(a.root, c.role), c.frames...))
			if len(answers) == 0 || answers[len(answers)-1].t != frameFail {
				t.Errorf("got answers %v, want a refusal at the end", answers)
			}
			for _, answer := range answers {
				if strings.Contains(string(answer.payload), "do not read") {
					t.Error("a secret was given away")
				}
			}
			a.check(t)
			checkNoTemps(t, a.root)
		})
	}
}

// TestFetchOfALinkGetsNothing: a pull that asks for what has become a link is
// told that the file is gone.
func TestFetchOfALinkGetsNothing(t *testing.T) {
	t.Parallel()
	a := newArena(t)
	answers := talk(t, append(hello(a.root, roleSend),
		frame{frameFetch, fetchRequest{ID: 1, Path: "peek", Size: 16, To: 16, Known: -1}.encode()}, frame{frameSync, nil}))
	var types []frameType
	for _, answer := range answers {
		types = append(types, answer.t)
	}
	want := []frameType{frameWelcome, frameOpened, frameChanged, frameBegin, frameGone, frameDone}
	if !slices.Equal(types, want) {
		t.Errorf("got frames %v, want %v", types, want)
	}
}

// hostileSource is a dialer to a far end that answers a pull with what it
// likes.
func hostileSource(t testing.TB, answers []frame) Dialer {
	return func(context.Context) (io.ReadWriteCloser, error) {
		near, far := net.Pipe()
		c := newConn(far)
		go func() {
			defer func() { _ = far.Close() }()
			_ = c.send(frameWelcome, greeting{Magic: magic, Version: protocolVersion}.encode())
			_ = c.send(frameOpened, openReply{}.encode())
			for _, f := range answers {
				if c.send(f.t, f.payload) != nil {
					return
				}
			}
			_ = c.send(frameDone)
			_, _ = io.Copy(io.Discard, far)
		}()
		discard := newDrain(near)
		t.Cleanup(func() { _ = near.Close() })
		return discard, nil
	}
}

// drain lets writes succeed whether or not the other side reads them.
type drain struct{ net.Conn }

func newDrain(c net.Conn) *drain { return &drain{c} }

func (d *drain) Write(b []byte) (int, error) { return len(b), nil }

func entriesFrame(entries ...Entry) frame {
	var e encoder
	for _, x := range entries {
		e.entry(x)
	}
	return frame{frameEntries, e.b}
}

// TestPullRefusesHostileSources: nothing that the other side lists or sends
// may land outside the target.
func TestPullRefusesHostileSources(t *testing.T) {
	t.Parallel()
	dot := Entry{Path: ".", Kind: Dir, Mode: 0o755, ModTime: old}
	listed := frame{frameListed, nil}
	put := func(id uint64, content string) frame {
		return frame{framePut, append(new(encoder).uint(id).time(old).bool(false).b, content...)}
	}
	linkOut := Entry{Path: "mine", Kind: Symlink, Target: "../outside", ModTime: old}
	for _, c := range []struct {
		name   string
		frames []frame
	}{
		{"lists above the root", []frame{entriesFrame(dot, fileEntry("../outside/file", 1)), listed, put(0, "x")}},
		{"lists an absolute path", []frame{entriesFrame(dot, fileEntry("/etc/passwd", 1)), listed, put(0, "x")}},
		{"lists below its own link", []frame{entriesFrame(dot, linkOut, fileEntry("mine/file", 1)), listed, put(0, "x")}},
		{"lists a file twice", []frame{entriesFrame(dot, fileEntry("a", 1), fileEntry("a", 1)), listed, put(0, "x")}},
		{"lists no root", []frame{entriesFrame(fileEntry("a", 1)), listed, put(0, "x")}},
		{"lists a link as the root", []frame{entriesFrame(Entry{Path: ".", Kind: Symlink, Target: "/"}), listed}},
		{"sends more than it said", []frame{entriesFrame(dot, fileEntry("a", 1)), listed, put(0, "xxxx")}},
		{"sends what nobody asked for", []frame{entriesFrame(dot, fileEntry("a", 1)), listed, put(9, "x")}},
		{"sends it twice", []frame{entriesFrame(dot, fileEntry("a", 1)), listed, put(0, "x"), put(0, "y")}},
		{"sends garbage", []frame{entriesFrame(dot, fileEntry("a", 1)), listed, {250, nil}}},
		{"sends half", []frame{entriesFrame(dot, fileEntry("a", 2)), listed, {frameBegin, new(encoder).uint(0).b}, dataFrame(0, 0, "x")}},
		{"is done before it was asked", []frame{entriesFrame(dot, fileEntry("a", 1)), listed}},
		{"asks for a way out", []frame{entriesFrame(dot, fileEntry("peek", 16)), listed, {frameBegin, new(encoder).uint(0).b},
			sumsFrame(0, 0)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newArena(t)
			_, err := Pull(t.Context(), hostileSource(t, c.frames), "/anything", a.root, Options{Streams: 1, Delete: true})
			if err == nil {
				t.Error("got no error")
			}
			a.check(t)
			checkNoTemps(t, a.root)
		})
	}
}

// TestLinkSwappedIn replaces a directory of the target by a link out of it
// after the target has been listed.
func TestLinkSwappedIn(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, run func(from, to string, o Options) (Summary, error)) {
		a := newArena(t)
		must(t, os.Remove(filepath.Join(a.root, "way-out")))
		must(t, os.Mkdir(filepath.Join(a.root, "way-out"), 0o755))
		from := t.TempDir()
		write(t, from, "way-out/file", []byte("from the source"))
		swapped := false
		_, err := run(from, a.root, Options{Delete: true, Verbose: writerFunc(func(b []byte) (int, error) {
			if swapped {
				return len(b), nil
			}
			swapped = true // the first line is printed after both sides were listed
			must(t, os.Remove(filepath.Join(a.root, "way-out")))
			return len(b), os.Symlink("../outside", filepath.Join(a.root, "way-out"))
		})})
		if err == nil {
			t.Error("got no error")
		}
		a.check(t)
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestAllow(t *testing.T) {
	t.Parallel()
	refusal := errors.New("only below /srv")
	far := newFarEnds(t)
	far.cfg.Allow = func(root string, write bool) error {
		if write {
			return refusal
		}
		return nil
	}
	from, to := sampleTree(t), filepath.Join(t.TempDir(), "new")
	_, err := Push(t.Context(), far.dial, from, to, Options{})
	if err == nil || !strings.Contains(err.Error(), refusal.Error()) {
		t.Errorf("got %v, want the refusal", err)
	}
	if _, err := os.Lstat(to); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want no directory made", err)
	}
	_, err = Pull(t.Context(), far.dial, from, to, Options{})
	must(t, err)
}
