package filesync

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// serveMode makes the test binary the far end of a copy.
const serveMode = "WARMRUN_FILESYNC_TEST_SERVE"

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(serveMode) != "":
	case os.Getenv(driveMode) != "":
		err := errors.Join(drive(os.Args[1:]), noteMemory("near"))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	default:
		os.Exit(m.Run())
	}
	stdio := struct {
		io.Reader
		io.Writer
	}{os.Stdin, os.Stdout}
	if err := errors.Join(Serve(context.Background(), stdio, ServeConfig{}), noteMemory("far")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// farEnds is a dialer whose far ends run in this process.
type farEnds struct {
	t    *testing.T
	cfg  ServeConfig
	wrap func(io.ReadWriteCloser) io.ReadWriteCloser // of the near end; may be nil
	wait sync.WaitGroup

	mu   sync.Mutex
	errs []error
}

func newFarEnds(t *testing.T) *farEnds {
	f := &farEnds{t: t}
	t.Cleanup(f.wait.Wait)
	return f
}

func (f *farEnds) dial(context.Context) (io.ReadWriteCloser, error) {
	near, far := net.Pipe()
	f.wait.Go(func() {
		err := Serve(context.Background(), far, f.cfg)
		f.mu.Lock()
		f.errs = append(f.errs, err)
		f.mu.Unlock()
		_ = far.Close()
	})
	if f.wrap != nil {
		return f.wrap(near), nil
	}
	return near, nil
}

// processDialer starts this test binary as the far end, as ssh would start the
// program there.
func processDialer(ctx context.Context) (io.ReadWriteCloser, error) {
	return start(ctx, os.Args[0])
}

// start runs a command that ends up as the far end.
func start(ctx context.Context, name string, args ...string) (io.ReadWriteCloser, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), serveMode+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &process{cmd: cmd, in: in, Reader: out}, nil
}

type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	io.Reader
}

func (p *process) Write(b []byte) (int, error) { return p.in.Write(b) }

func (p *process) Close() error {
	_ = p.in.Close() // it may be closed already; Wait says what counts
	return p.cmd.Wait()
}

// old is a modification time long enough ago to be trusted.
var old = time.Date(2024, 5, 6, 7, 8, 9, 123456789, time.UTC)

// write makes a file, and the directories above it, with an old time.
func write(t *testing.T, root, name string, content []byte) {
	t.Helper()
	full := filepath.Join(root, name)
	must(t, os.MkdirAll(filepath.Dir(full), 0o755))
	must(t, os.WriteFile(full, content, 0o644))
	must(t, os.Chtimes(full, old, old))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	_, _ = r.Read(b) // never fails
	return b
}

// snapshot describes a tree so that two of them can be compared.
func snapshot(t *testing.T, root string) map[string]string {
	t.Helper()
	tree := map[string]string{}
	must(t, filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		line := info.Mode().String()
		switch {
		case info.Mode().IsRegular():
			content, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %v %x", info.ModTime().UTC(), sha256.Sum256(content))
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			line += " -> " + target
		}
		tree[rel] = line
		return nil
	}))
	return tree
}

// checkSame compares two trees, all but the entries named.
func checkSame(t *testing.T, got, want string, except ...string) {
	t.Helper()
	g, w := snapshot(t, got), snapshot(t, want)
	for _, name := range except {
		delete(g, name)
		delete(w, name)
	}
	for name, line := range w {
		if g[name] != line {
			t.Errorf("%s:\n got %.160s\nwant %.160s", name, g[name], line)
		}
	}
	for name := range g {
		if _, there := w[name]; !there {
			t.Errorf("%s: got it, want nothing of that name", name)
		}
	}
}

func checkNoTemps(t *testing.T, root string) {
	t.Helper()
	must(t, filepath.WalkDir(root, func(name string, _ fs.DirEntry, err error) error {
		if isTemp(name) {
			t.Errorf("%s was left behind", name)
		}
		return err
	}))
}

func checkErrorIs(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want one that is %v", err, want)
	}
}

// sampleTree makes a tree with a bit of everything.
func sampleTree(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "source")
	write(t, root, "top", []byte("hello"))
	write(t, root, "empty", nil)
	write(t, root, "dir/page", noise(1, blockSize))
	write(t, root, "dir/odd", noise(2, 3*blockSize+17))
	write(t, root, "dir/deep/er/large", noise(3, 3<<20+5))
	must(t, os.MkdirAll(filepath.Join(root, "hollow/inner"), 0o700))
	must(t, os.Symlink("dir/page", filepath.Join(root, "link")))
	must(t, os.Symlink("/nowhere/at/all", filepath.Join(root, "dir/dangling")))
	must(t, os.Chmod(filepath.Join(root, "dir/page"), 0o600))
	must(t, os.Chmod(filepath.Join(root, "dir/odd"), 0o400))
	must(t, os.Chmod(filepath.Join(root, "dir/deep"), 0o750))
	return root
}
