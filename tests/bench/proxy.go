package main

import (
	"errors"
	"io"
	"net"
	"sync"

	"golang.org/x/sys/unix"
)

// proxy stands in front of an sshd and counts what passes, in both directions:
// the bytes on the wire of whoever connects through it, without the headers of
// TCP and IP.
//
// It must cost next to nothing, as only those who use the network pay for it:
// the bytes are spliced within the kernel (io.Copy between two TCP connections
// does that), and the kernel's own counters are read.
type proxy struct {
	listener net.Listener
	target   string
	done     sync.WaitGroup

	mu     sync.Mutex
	closed int64 // bytes of connections that have ended
	open   map[*net.TCPConn]bool
}

func startProxy(target string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: l, target: target, open: map[*net.TCPConn]bool{}}
	p.done.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			p.done.Go(func() { p.serve(conn.(*net.TCPConn)) })
		}
	})
	return p, nil
}

func (p *proxy) port() int { return p.listener.Addr().(*net.TCPAddr).Port }

func (p *proxy) serve(client *net.TCPConn) {
	conn, err := net.Dial("tcp", p.target)
	if err != nil {
		_ = client.Close() // the client sees it
		return
	}
	server := conn.(*net.TCPConn)
	p.mu.Lock()
	p.open[client], p.open[server] = true, true
	p.mu.Unlock()
	var both sync.WaitGroup
	var up, down int64
	both.Go(func() { up = forward(server, client) })
	both.Go(func() { down = forward(client, server) })
	both.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed += up + down
	for _, ended := range []*net.TCPConn{client, server} {
		delete(p.open, ended)
		_ = ended.Close() // both directions have ended already
	}
}

// forward copies one direction and passes its end on. A broken connection
// shows at whoever uses it.
func forward(to, from *net.TCPConn) int64 {
	bytes, _ := io.Copy(to, from)
	_ = to.CloseWrite()
	_ = from.CloseRead()
	return bytes
}

// bytes is what has passed so far, both ways.
func (p *proxy) bytes() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	total := p.closed
	for conn := range p.open {
		total += received(conn)
	}
	return total
}

// received is tcpi_bytes_received (tcp(7)), which counts the end of the stream
// as one more; 0 for a socket that is gone.
func received(conn *net.TCPConn) int64 {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0
	}
	var bytes uint64
	err = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			bytes = info.Bytes_received
		}
	})
	if err != nil {
		return 0
	}
	return int64(bytes)
}

func (p *proxy) stop() error {
	err := p.listener.Close()
	p.mu.Lock()
	for conn := range p.open {
		// Ends the copying; one whose other side has gone is ending anyway.
		_ = errors.Join(conn.CloseWrite(), conn.CloseRead())
	}
	p.mu.Unlock()
	p.done.Wait()
	return err
}
