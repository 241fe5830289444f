package remote

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/warmrun/warmrun/builtins/remote/sshdtest"
)

// echoServer sends back what it gets, at a unix socket.
func echoServer(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o777); err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				_, _ = io.Copy(conn, conn)
				conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		work.Wait()
	})
}

func TestDialUnix(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Config{})
	c := dial(t, node(s), newHome(t).options())
	path := filepath.Join(sharedDir(t), "echo")
	echoServer(t, path)
	conn, err := c.DialUnix(timeout(t), path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := conn.RemoteAddr(); got.Network() != "unix" || got.String() != path {
		t.Errorf("remote address is %s %s, want unix %s", got.Network(), got, path)
	}
	data := bytes.Repeat([]byte("echo"), 1<<16)
	go func() {
		if _, err := conn.Write(data); err != nil {
			t.Errorf("Write = %v", err)
		}
	}()
	got := make([]byte, len(data))
	if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, data) {
		t.Errorf("Read = %v, equal %v", err, bytes.Equal(got, data))
	}
	if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(got); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read past the deadline = %v, want %v", err, os.ErrDeadlineExceeded)
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("more")); err != nil {
		t.Fatal(err)
	}
	if n, err := io.ReadFull(conn, got[:4]); err != nil || string(got[:n]) != "more" {
		t.Errorf("Read after a deadline = %q, %v", got[:n], err)
	}
}

func TestDialUnixRefused(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Config{})
	c := dial(t, node(s), newHome(t).options())
	dir := sharedDir(t)
	stale := filepath.Join(dir, "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(stale, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	private := filepath.Join(dir, "private")
	if err := os.Mkdir(private, 0o700); err != nil {
		t.Fatal(err)
	}
	echoServer(t, filepath.Join(private, "echo"))
	closed := filepath.Join(dir, "it's closed")
	echoServer(t, closed)
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		path string
		want syscall.Errno
	}{
		{filepath.Join(dir, "missing"), syscall.ENOENT},
		{filepath.Join(dir, "no", "dir"), syscall.ENOENT},
		{stale, syscall.ECONNREFUSED},
		{file, syscall.ENOTSOCK},
		{filepath.Join(private, "echo"), syscall.EACCES},
		{closed, syscall.EACCES},
	} {
		if os.Geteuid() != 0 && test.want == syscall.EACCES {
			continue // this user may
		}
		_, err := c.DialUnix(timeout(t), test.path)
		if !errors.Is(err, test.want) {
			t.Errorf("DialUnix(%s) = %v, want %v", test.path, err, test.want)
		}
		if Unreachable(err) {
			t.Errorf("DialUnix(%s): Unreachable is true", test.path)
		}
	}
}

func TestDialUnixForbidden(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Config{ExtraConfig: "AllowStreamLocalForwarding no"})
	c := dial(t, node(s), newHome(t).options())
	path := filepath.Join(sharedDir(t), "echo")
	echoServer(t, path)
	_, err := c.DialUnix(timeout(t), path)
	wantError(t, err, "does not forward unix sockets", "AllowStreamLocalForwarding yes")
}

func TestTooManySessions(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Config{ExtraConfig: "MaxSessions 1"})
	c := dial(t, node(s), newHome(t).options())
	stream, err := c.Start(timeout(t), "cat")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	_, err = c.Output(timeout(t), "true", nil)
	wantError(t, err, "opens no session", "MaxSessions")
	if Unreachable(err) {
		t.Error("Unreachable is true for a server that limits sessions")
	}
}
