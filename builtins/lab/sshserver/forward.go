package sshserver

import (
	"context"
	"io"
	"net"
	"sync"

	"golang.org/x/crypto/ssh"
)

// forward joins a channel to a unix socket on this side
// (direct-streamlocal@openssh.com, OpenSSH's PROTOCOL file, section 2.4).
func forward(ctx context.Context, offered ssh.NewChannel) {
	var request struct {
		Path      string
		Reserved0 string
		Reserved1 uint32
	}
	if err := ssh.Unmarshal(offered.ExtraData(), &request); err != nil {
		_ = offered.Reject(ssh.ConnectionFailed, "malformed request")
		return
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", request.Path)
	if err != nil {
		_ = offered.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	channel, requests, err := offered.Accept()
	if err != nil {
		_ = conn.Close()
		return
	}
	var done sync.WaitGroup
	defer done.Wait()
	done.Go(func() {
		// Ends with the channel, and so does the connection behind it.
		ssh.DiscardRequests(requests)
		_ = conn.Close()
	})
	done.Go(func() {
		_, _ = io.Copy(channel, conn)
		_ = channel.Close()
	})
	// Errors here are the ends of the connection's life, told to both sides
	// by its closing.
	_, _ = io.Copy(conn, channel)
	if unix, ok := conn.(*net.UnixConn); ok {
		_ = unix.CloseWrite()
	}
}
