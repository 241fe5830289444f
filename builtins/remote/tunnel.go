package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"

	"golang.org/x/crypto/ssh"

	"github.com/warmrun/warmrun/walcore/hint"
)

// DialUnix connects to a unix socket on the node, through sshd
// (direct-streamlocal@openssh.com; OpenSSH 6.7 and later). The far side sees
// the user that is logged in, so PostgreSQL's peer authentication works. The
// connection has deadlines, and outlives ctx.
//
// sshd gives no reason for a refusal, so it is looked for: the error is
// syscall.ENOENT where there is no such socket, EACCES where the user may not
// open it and ECONNREFUSED where nobody listens on it. A server that does not
// forward sockets at all is an error that names AllowStreamLocalForwarding.
func (c *Client) DialUnix(ctx context.Context, path string) (net.Conn, error) {
	conn, err := c.last().client.DialContext(ctx, "unix", path)
	if err == nil {
		return c.newTunnel(conn, path), nil
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("connect to %s on %s: %w", path, c.last().target, context.Cause(ctx))
	}
	var refused *ssh.OpenChannelError
	if !errors.As(err, &refused) {
		return nil, c.last().lostBy(err)
	}
	return nil, c.explainSocket(ctx, path, err)
}

// The exit statuses of socketProbe.
const (
	probeListening = 10 + iota
	probeMissing
	probeNoSocket
	probeNoAccess
	probeDeaf
)

// socketProbe says what keeps a user from connecting to a socket. The listening
// ones stand in /proc/net/unix with the flag 00010000 (SO_ACCEPTCON) and under
// the path they were bound to, which for PostgreSQL is the one in
// unix_socket_directories; other systems than Linux have no such list.
const socketProbe = `p=%s
d=$(dirname "$p")
test -e "$p" || { test -d "$d" && ! test -x "$d" && exit 13; exit 11; }
test -S "$p" || exit 12
test -w "$p" || exit 13
test -r /proc/net/unix || exit 10
while read -r num ref proto flags type st inode path; do
  test "$flags" = 00010000 && test "$path" -ef "$p" && exit 10
done < /proc/net/unix
exit 14`

// explainSocket finds out why a socket could not be opened.
func (c *Client) explainSocket(ctx context.Context, path string, cause error) error {
	t := c.last().target
	about := func(format string, err error) error {
		return fmt.Errorf("connect to %s on %s: "+format+": %w", path, t, err)
	}
	err := c.Run(ctx, "sh -c "+Quote(fmt.Sprintf(socketProbe, Quote(path))), Streams{})
	var exit *ExitError
	if !errors.As(err, &exit) {
		if err == nil {
			err = cause
		}
		return about("sshd refused", err)
	}
	switch exit.Status {
	case probeMissing:
		return about("no such socket", syscall.ENOENT)
	case probeNoSocket:
		return about("this is no socket", syscall.ENOTSOCK)
	case probeNoAccess:
		return hint.Wrap(about("user "+t.User+" may not open it", syscall.EACCES), "log in as a user who may: set ssh.user of the node, or unix_socket_permissions of the server")
	case probeDeaf:
		return about("nobody listens on it", syscall.ECONNREFUSED)
	}
	return hint.Wrap(about("sshd does not forward unix sockets", cause),
		"set AllowStreamLocalForwarding yes in sshd_config on %s (and DisableForwarding no), and see that authorized_keys does not restrict the key", t.Alias)
}

// tunnel gives an ssh channel the deadlines that it lacks, by a pipe in
// between.
type tunnel struct {
	net.Conn // our end of the pipe
	path     string
	close    func() error
}

func (c *Client) newTunnel(channel net.Conn, path string) *tunnel {
	ours, theirs := net.Pipe()
	t := &tunnel{Conn: ours, path: path}
	t.close = sync.OnceValue(func() error {
		err := errors.Join(ours.Close(), theirs.Close())
		// Closed in the background: a far side that has stopped answering
		// must not hold up the caller.
		c.spawn(func() { _ = channel.Close() })
		return err
	})
	c.spawn(func() {
		// Errors show as the end of the stream at the other end.
		_, _ = io.Copy(channel, theirs)
		_ = channel.Close()
	})
	c.spawn(func() {
		_, _ = io.Copy(theirs, channel)
		_ = theirs.Close()
	})
	return t
}

// Close closes the connection.
func (t *tunnel) Close() error { return t.close() }

// LocalAddr is nameless, as that of a client usually is.
func (t *tunnel) LocalAddr() net.Addr { return &net.UnixAddr{Net: "unix"} }

// RemoteAddr is the socket's path on the node.
func (t *tunnel) RemoteAddr() net.Addr { return &net.UnixAddr{Name: t.path, Net: "unix"} }
