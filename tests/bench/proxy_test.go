package main

import (
	"io"
	"net"
	"strconv"
	"testing"
)

// TestProxyCounts sends a known number of bytes each way, and counts them while
// the connection is open and after it has ended.
func TestProxyCounts(t *testing.T) {
	const up, down = 3_000_000, 70_000
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if _, err := io.CopyN(io.Discard, conn, up); err == nil {
			_, _ = conn.Write(make([]byte, down))
		}
		_, _ = io.Copy(io.Discard, conn) // until the client has gone
	}()
	p, err := startProxy(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port())))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(make([]byte, up)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, down)); err != nil {
		t.Fatal(err)
	}
	if got := p.bytes(); got != up+down {
		t.Errorf("%d bytes while it is open, want %d", got, up+down)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	if got := p.bytes(); got != up+down {
		t.Errorf("%d bytes after it has ended, want %d", got, up+down)
	}
}
