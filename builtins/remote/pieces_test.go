package remote

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestPacketInOnePiece: what ssh writes of a packet first goes with the rest of it,
// and all of it goes where nothing follows.
func TestPacketInOnePiece(t *testing.T) {
	t.Parallel()
	client, server := connected(t)
	const packets, rest = 100, 3000
	received := make(chan []byte)
	go func() {
		all, _ := io.ReadAll(server) // what is missing shows
		received <- all
	}()
	conn := &watchedConn{Conn: client}
	var sent []byte
	for i := range 2*packets + 1 {
		piece := bytes.Repeat([]byte{byte(i)}, sshBuffer)
		if i%2 == 1 {
			piece = piece[:rest]
		}
		if n, err := conn.Write(piece); n != len(piece) || err != nil {
			t.Fatalf("wrote %d bytes of %d: %v", n, len(piece), err)
		}
		sent = append(sent, piece...)
	}
	if n := segments(t, client); n > 3*packets/2 {
		t.Errorf("%d packets went in %d segments", packets, n)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(<-received, sent) {
		t.Error("something else was received")
	}
}

// TestPieceThatWaits: where the other side does not read, a piece waits until its
// deadline, goes on once there is room, and is cut off with the connection.
func TestPieceThatWaits(t *testing.T) {
	t.Parallel()
	client, server := connected(t)
	conn := &watchedConn{Conn: client}
	piece := make([]byte, sshBuffer)
	written, err := int64(0), conn.SetWriteDeadline(time.Now().Add(100*time.Millisecond))
	for err == nil {
		var n int
		n, err = conn.Write(piece)
		written += int64(n)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %v, want %v", err, os.ErrDeadlineExceeded)
	}
	if err := conn.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() {
		for {
			if _, err := conn.Write(piece); err != nil {
				failed <- err
				return
			}
		}
	}()
	if read, err := io.CopyN(io.Discard, server, written+1); err != nil {
		t.Fatalf("only %d bytes came: %v", read, err)
	}
	conn.cut(errors.New("the test cuts it"))
	if err := <-failed; !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want %v", err, net.ErrClosed)
	}
}

// connected is a connection on loopback.
func connected(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	one, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	other, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = one.Close(), other.Close() }) // a test may have closed them
	return one.(*net.TCPConn), other.(*net.TCPConn)
}

// segments is how many segments with data a connection has sent (tcp(7)).
func segments(t *testing.T, conn *net.TCPConn) uint32 {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var n uint32
	err = raw.Control(func(fd uintptr) {
		info, infoErr := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if infoErr != nil {
			t.Error(infoErr)
			return
		}
		n = info.Data_segs_out
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
