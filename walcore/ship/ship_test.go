package ship

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/packed"
	"github.com/warmrun/warmrun/walcore/storetest"
)

const (
	seg1 walcore.SegmentName = "000000010000000000000001"
	seg2 walcore.SegmentName = "000000010000000000000002"
	seg3 walcore.SegmentName = "000000010000000000000003"
	seg4 walcore.SegmentName = "000000010000000000000004"
	tli2 walcore.FileName    = "00000002.history"
)

// agentEnv makes the test binary an agent for the archive it names, archiveEnv
// an archive_command.
const agentEnv = "WARMRUN_TEST_AGENT"

func TestMain(m *testing.M) {
	var err error
	if dir := os.Getenv(agentEnv); dir != "" {
		err = errors.Join(Serve(context.Background(), stdio{}, AgentConfig{Archive: dir}), writePeak(os.Getenv(peakEnv)))
	} else if dir := os.Getenv(archiveEnv); dir != "" && len(os.Args) == 3 {
		err = archiveCommand(dir, os.Args[1], os.Args[2])
	} else {
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type stdio struct{}

func (stdio) Read(b []byte) (int, error)  { return os.Stdin.Read(b) }
func (stdio) Write(b []byte) (int, error) { return os.Stdout.Write(b) }

// inProcess is a dialer to agents that run in this process and are waited for
// when the test ends.
func inProcess(t testing.TB, cfg AgentConfig) Dialer {
	var wait sync.WaitGroup
	t.Cleanup(wait.Wait)
	return func(context.Context) (io.ReadWriteCloser, error) {
		here, there := net.Pipe()
		wait.Go(func() {
			defer there.Close()
			_ = Serve(context.Background(), there, cfg) // the client sees what comes of it
		})
		return here, nil
	}
}

func newArchive(t testing.TB) *walcore.Archive {
	t.Helper()
	a, err := walcore.CreateArchive(filepath.Join(t.TempDir(), "archive"))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func connect(t testing.TB, dial Dialer) *Client {
	t.Helper()
	return connectWith(t, dial, Options{})
}

// connectStoring is a connection to an agent that stores segments in a form.
func connectStoring(t testing.TB, a *walcore.Archive, form packed.Form) *Client {
	t.Helper()
	return connectWith(t, inProcess(t, AgentConfig{Archive: a.Dir()}), Options{Store: form})
}

func connectWith(t testing.TB, dial Dialer, o Options) *Client {
	t.Helper()
	c, err := ConnectWith(t.Context(), dial, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func connectTo(t testing.TB, a *walcore.Archive) *Client {
	t.Helper()
	return connect(t, inProcess(t, AgentConfig{Archive: a.Dir()}))
}

func segment(s storetest.Segment) []byte {
	data, _ := s.Build()
	return data
}

func writeFile(t testing.TB, path string, data []byte) string {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, data, 0o600)); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustPut(t testing.TB, a *walcore.Archive, name walcore.FileName, data []byte, provisional walcore.LSN) {
	t.Helper()
	_, err := a.Put(t.Context(), walcore.PutRequest{Name: name, Size: int64(len(data)), Body: bytes.NewReader(data), Provisional: provisional})
	if err != nil {
		t.Fatal(err)
	}
}

// listed is the names in an archive, for messages.
func listed(t testing.TB, a *walcore.Archive) string {
	t.Helper()
	names, err := a.List()
	if err != nil {
		t.Fatal(err)
	}
	text := make([]string, len(names))
	for i, name := range names {
		text[i] = string(name)
	}
	return strings.Join(text, " ")
}

func join(names ...string) string { return strings.Join(names, " ") }

// remote is an archive behind an agent as a store.
type remote struct{ c *Client }

func (r remote) Put(ctx context.Context, p walcore.PutRequest) (walcore.PutResult, error) {
	data, err := io.ReadAll(p.Body)
	if err != nil {
		return walcore.PutResult{}, err
	}
	return r.c.PutFrom(ctx, p.Name, bytes.NewReader(data), p.Size, PutOptions{Provisional: p.Provisional})
}

func (r remote) Open(ctx context.Context, name walcore.FileName) (io.ReadCloser, walcore.LSN, error) {
	var data bytes.Buffer
	end, err := r.c.Get(ctx, name, &data)
	return io.NopCloser(&data), end, err
}

func (r remote) List(ctx context.Context) ([]walcore.FileName, error) { return r.c.List(ctx) }

func (r remote) RaiseFence(ctx context.Context, cut walcore.Cut) error {
	return r.c.RaiseFence(ctx, cut)
}

func TestClientIsAStore(t *testing.T) {
	for _, form := range []packed.Form{packed.Plain, packed.Zstd, packed.LZ4} {
		t.Run(form.String(), func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) storetest.Store { return remote{connectStoring(t, newArchive(t), form)} })
		})
	}
}
