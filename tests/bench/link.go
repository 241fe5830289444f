package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// link is the way to "the other node" for one contestant: an OpenSSH server of
// its own, and something in front of it that counts.
type link struct {
	b     *bench
	dir   string
	log   string
	host  string // where clients connect
	port  int
	bytes func() int64 // what has passed so far, both ways
}

// newLink starts a server on loopback, with a proxy in front. They end with the
// bench.
func (b *bench) newLink(ctx context.Context) (*link, error) {
	l, port, err := b.serveSSH(ctx, "127.0.0.1")
	if err != nil {
		return nil, err
	}
	p, err := startProxy(net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	b.proxies = append(b.proxies, p)
	l.host, l.port, l.bytes = "127.0.0.1", p.port(), p.bytes
	return l, l.writeClient()
}

// newSlowLink starts a server that is reached through the delay. Nothing
// stands in front of it, so TCP goes from end to end.
func (b *bench) newSlowLink(ctx context.Context, d *delay) (*link, error) {
	l, port, err := b.serveSSH(ctx, delayHere)
	if err != nil {
		return nil, err
	}
	l.host, l.port, l.bytes = delayThere, port, d.bytes.Load
	return l, l.writeClient()
}

// serveSSH makes the keys and starts the server.
func (b *bench) serveSSH(ctx context.Context, address string) (*link, int, error) {
	b.links++
	l := &link{b: b, dir: b.path(fmt.Sprintf("ssh%d", b.links))}
	l.log = filepath.Join(l.dir, "sshd.log")
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return nil, 0, err
	}
	for _, key := range []string{"host_key", "key"} {
		if _, err := b.output(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(l.dir, key)); err != nil {
			return nil, 0, err
		}
	}
	port, err := freePort()
	if err != nil {
		return nil, 0, err
	}
	return l, port, l.startSSHD(ctx, address, port)
}

// writeClient writes what clients need to know of the server.
func (l *link) writeClient() error {
	key, err := os.ReadFile(filepath.Join(l.dir, "host_key.pub"))
	if err != nil {
		return err
	}
	known := fmt.Sprintf("[%s]:%d %s", l.host, l.port, key)
	return errors.Join(
		write(l.knownHosts(), known, 0o600),
		write(l.clientConfig(), l.config(""), 0o600))
}

func (l *link) key() string          { return filepath.Join(l.dir, "key") }
func (l *link) knownHosts() string   { return filepath.Join(l.dir, "known_hosts") }
func (l *link) clientConfig() string { return filepath.Join(l.dir, "ssh_config") }

// config is an ssh_config for OpenSSH's client; the node is called "peer".
func (l *link) config(more string) string {
	return fmt.Sprintf("Host *\nHostName %s\nPort %d\nUser %s\nIdentityFile %s\nIdentitiesOnly yes\nUserKnownHostsFile %s\nBatchMode yes\nLogLevel ERROR\n%s\n",
		l.host, l.port, l.b.user, l.key(), l.knownHosts(), more)
}

// bestSettings are OpenSSH's fastest: a cheap key exchange, and the cipher that
// processors have instructions for.
const bestSettings = "KexAlgorithms curve25519-sha256\nCiphers aes128-gcm@openssh.com"

// startSSHD runs the server as this ordinary user, so it needs neither PAM nor
// root. DEBUG1 makes it say which cipher was agreed upon, at about 60 lines for
// a connection.
func (l *link) startSSHD(ctx context.Context, address string, port int) error {
	config := fmt.Sprintf("ListenAddress %s\nPort %d\nHostKey %s\nAuthorizedKeysFile %s.pub\nPidFile none\nUsePAM no\nStrictModes no\n"+
		"PasswordAuthentication no\nKbdInteractiveAuthentication no\nUseDNS no\nLogLevel DEBUG1\nMaxStartups 100\n",
		address, port, filepath.Join(l.dir, "host_key"), l.key())
	path := filepath.Join(l.dir, "sshd_config")
	if err := write(path, config, 0o600); err != nil {
		return err
	}
	sshd, err := findSSHD()
	if err != nil {
		return err
	}
	if err := l.b.daemon(ctx, l.log, l.b.dir, sshd, "-D", "-e", "-f", path); err != nil {
		return err
	}
	for range 1000 {
		conn, err := net.Dial("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
		if err == nil {
			return conn.Close()
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	said, err := tail(l.log, 0)
	return errors.Join(fmt.Errorf("sshd does not listen:\n%s", said), err)
}

// daemon starts a program that runs until the bench ends.
func (b *bench) daemon(ctx context.Context, log, dir string, argv ...string) error {
	out, err := os.OpenFile(log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := b.command(ctx, argv...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	if err := b.procs.start(cmd); err != nil {
		return err
	}
	go func() { _ = b.procs.wait(cmd) }() // its log says why it ended
	return nil
}

// agreed matches what sshd says of a key exchange. The second one is from the
// client to the server, which is the way that WAL takes.
var agreed = regexp.MustCompile(`kex: client->server cipher: (\S+) MAC: \S+ compression: (\S+)`)

// cipher is what the last connection agreed upon.
func (l *link) cipher() string {
	if l == nil {
		return "-"
	}
	data, err := os.ReadFile(l.log)
	if err != nil {
		return "unknown"
	}
	found := agreed.FindAllStringSubmatch(string(data), -1)
	if len(found) == 0 {
		return "unknown"
	}
	last := found[len(found)-1]
	name, _, _ := strings.Cut(last[1], "@")
	if last[2] != "none" {
		name += "+" + last[2]
	}
	return name
}

func (l *link) wire() int64 {
	if l == nil {
		return 0
	}
	return l.bytes()
}

// findSSHD is the absolute path, without which sshd cannot execute itself
// again for a connection.
func findSSHD() (string, error) {
	for _, path := range []string{"/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"} {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no sshd found: install the OpenSSH server (openssh-server)")
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}
