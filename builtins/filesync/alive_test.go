package filesync

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// opened opens a root for writing through a far end that runs in this process.
func opened(t *testing.T, d Dialer, r openRequest) *stream {
	t.Helper()
	s, err := dial(t.Context(), d)
	must(t, err)
	r.Role = roleReceive
	_, err = s.open(t.Context(), r)
	must(t, err)
	return s
}

// TestSilentLinkIsGivenUp: the far end of a link that was cut without a word
// lets go of the target before the next copy gives up waiting for it.
func TestSilentLinkIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		root := t.TempDir()
		ended := make(chan error, 1)
		s := opened(t, func(context.Context) (io.ReadWriteCloser, error) {
			near, far := net.Pipe()
			go func() { ended <- Serve(context.Background(), far, ServeConfig{}) }()
			return near, nil
		}, openRequest{Root: root, Lock: true, Copy: 7})
		time.Sleep(time.Hour) // of the test's own clock
		select {
		case err := <-ended:
			t.Fatalf("got %v, want a far end that stays while the near one is there", err)
		default:
		}
		s.stop() // from now on it sends nothing, and closes nothing
		s.alive.Wait()
		next, err := openTree(t.Context(), root, treeOptions{exclude: true})
		must(t, err)
		must(t, next.close())
		checkErrorIs(t, <-ended, errSilent)
		must(t, s.close())
	})
}

// TestUnreadAnswersAreGivenUp: the same where the far end has something to say.
func TestUnreadAnswersAreGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		ended := make(chan error, 1)
		go func() { ended <- Serve(t.Context(), far, ServeConfig{}) }()
		c := newConn(near)
		must(t, c.send(frameHello, greeting{Magic: magic, Version: protocolVersion}.encode()))
		checkErrorIs(t, <-ended, errSilent)
		must(t, near.Close())
	})
}

// TestLateStream: a stream of a copy that was cut does not share the lock of the
// next one.
func TestLateStream(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "root")
	far := newFarEnds(t)
	first := opened(t, far.dial, openRequest{Root: root, Create: true, Lock: true, Copy: 7})
	further := opened(t, far.dial, openRequest{Root: root, Copy: 7})
	must(t, errors.Join(first.close(), further.close()))
	next := opened(t, far.dial, openRequest{Root: root, Lock: true, Copy: 8})
	late, err := dial(t.Context(), far.dial)
	must(t, err)
	if _, err := late.open(t.Context(), openRequest{Role: roleReceive, Root: root, Copy: 7}); err == nil {
		t.Error("a late stream of another copy was let in")
	}
	must(t, errors.Join(late.close(), opened(t, far.dial, openRequest{Root: root, Copy: 8}).close(), next.close()))
}
