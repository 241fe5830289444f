// Package sshdtest starts a real OpenSSH server for a test, with a host key, a
// client key and a known_hosts file made on the spot. Only tests import it.
//
// The server listens on a loopback address, on a port that was free, and runs
// as the user who is to be logged in to, so it needs neither PAM nor anything
// below /etc/ssh. Started by root it switches to that user first.
package sshdtest

import (
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/walcore/cluster"
)

// Config says what server to start. The zero value is a server on 127.0.0.1
// that lets the user postgres in.
type Config struct {
	// Addr is the address to listen on; empty means 127.0.0.1.
	Addr string
	// Port is the port to listen on; 0 means one that is free.
	Port int
	// User is who sshd runs as and who can log in. Empty means postgres where
	// the test runs as root, and the test's own user otherwise.
	User string
	// Dir keeps the keys and the configuration. Empty means a directory of
	// its own, removed when the test ends. A server started again with the
	// same Dir has the same keys.
	Dir string
	// ClientKey is the path of a private key that is to be let in, so that one
	// key opens several servers. Empty means a key of the server's own.
	ClientKey string
	// ExtraConfig is put in front of the configuration, so that it wins.
	ExtraConfig string
	// Env is set in every session, as "NAME=value".
	Env []string
}

// Server is a running sshd.
type Server struct {
	Host string
	Port int
	User string
	// HostKeyLine is the server's line of a known_hosts file.
	HostKeyLine string
	// HostKeyPath is the server's private key; its public half has .pub added.
	HostKeyPath string
	// ClientKeyPath is a private key that the server lets in.
	ClientKeyPath string
	// KnownHostsPath is a known_hosts file that holds HostKeyLine.
	KnownHostsPath string

	process *process
}

// Start runs a server until the test ends, and fails the test when it cannot.
// The server accepts connections when Start returns.
func Start(t testing.TB, c Config) *Server {
	t.Helper()
	account := lookUp(t, &c)
	if c.Addr == "" {
		c.Addr = "127.0.0.1"
	}
	if c.Dir == "" {
		c.Dir = tempDir(t)
	}
	s := &Server{Host: c.Addr, Port: c.Port, User: c.User}
	s.HostKeyPath = filepath.Join(c.Dir, "host_key")
	s.ClientKeyPath = c.ClientKey
	s.KnownHostsPath = filepath.Join(c.Dir, "known_hosts")
	hostKey := ensureKey(t, s.HostKeyPath, account)
	if s.ClientKeyPath == "" {
		s.ClientKeyPath = filepath.Join(c.Dir, "client_key")
	}
	clientKey := ensureKey(t, s.ClientKeyPath, account)
	write(t, filepath.Join(c.Dir, "authorized_keys"), clientKey, account)

	s.run(t, c, account)
	t.Cleanup(func() {
		s.Stop()
		if t.Failed() {
			t.Logf("sshd on %s:%d said:\n%s", s.Host, s.Port, s.Log())
		}
	})
	s.HostKeyLine = hostPattern(s.Host, s.Port) + " " + strings.TrimSpace(hostKey)
	write(t, s.KnownHostsPath, s.HostKeyLine+"\n", account)
	return s
}

// run starts the process, on another port where the first was taken between
// finding it and listening on it.
func (s *Server) run(t testing.TB, c Config, account *user.User) {
	t.Helper()
	for try := 1; ; try++ {
		if c.Port == 0 {
			s.Port = freePort(t, c.Addr)
		}
		path := filepath.Join(c.Dir, "sshd_config")
		write(t, path, s.config(c), account)
		p, err := startProcess(path, account)
		if err == nil {
			s.process = p
			return
		}
		if c.Port != 0 || try == 5 {
			t.Fatalf("start sshd on %s:%d: %v", s.Host, s.Port, err)
		}
	}
}

func (s *Server) config(c Config) string {
	var b strings.Builder
	fmt.Fprintln(&b, c.ExtraConfig)
	lines := []string{
		"ListenAddress " + c.Addr,
		"Port " + strconv.Itoa(s.Port),
		"HostKey " + s.HostKeyPath,
		"AuthorizedKeysFile " + filepath.Join(c.Dir, "authorized_keys"),
		"PidFile none",
		"UsePAM no",
		"StrictModes no",
		"PermitRootLogin yes",
		"PasswordAuthentication no",
		"KbdInteractiveAuthentication no",
		"UseDNS no",
		"LogLevel VERBOSE",
		"MaxStartups 100",
	}
	for _, line := range lines {
		fmt.Fprintln(&b, line)
	}
	if len(c.Env) > 0 {
		// Only the first SetEnv counts, so everything is on one line.
		b.WriteString("SetEnv")
		for _, v := range c.Env {
			fmt.Fprintf(&b, " %q", v)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// SSH is how cluster.toml would describe the way to this server.
func (s *Server) SSH() cluster.SSH {
	return cluster.SSH{User: s.User, Port: s.Port, IdentityFile: s.ClientKeyPath, KnownHosts: s.KnownHostsPath}
}

// Stop ends the server and cuts every connection to it, as a host does that
// goes down. Commands that sessions have started are left to notice it.
func (s *Server) Stop() { s.process.stop() }

// Log is what the server has said so far.
func (s *Server) Log() string { return s.process.log.String() }

// lookUp finds the account to run as, and fills in c.User.
func lookUp(t testing.TB, c *Config) *user.User {
	t.Helper()
	self, err := user.LookupId(strconv.Itoa(os.Geteuid()))
	if err != nil {
		t.Fatalf("look up the user of this test: %v", err)
	}
	switch {
	case c.User == "" && os.Geteuid() == 0:
		c.User = "postgres"
	case c.User == "":
		c.User = self.Username
	}
	if c.User == self.Username {
		return self
	}
	if os.Geteuid() != 0 {
		t.Fatalf("only root can start sshd for %s; this test runs as %s", c.User, self.Username)
	}
	account, err := user.Lookup(c.User)
	if err != nil {
		t.Fatalf("look up the user %s (install the PostgreSQL server, or create the user): %v", c.User, err)
	}
	return account
}

// tempDir makes a directory that every user can enter, which t.TempDir does
// not promise.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sshdtest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove %s: %v", dir, err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func freePort(t testing.TB, addr string) int {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
	if err != nil {
		t.Fatalf("find a free port: %v", err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return port
}

func hostPattern(host string, port int) string {
	if port == 22 {
		return host
	}
	return fmt.Sprintf("[%s]:%d", host, port)
}

// environ is this process's environment without what would change how sshd
// starts.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "SSH_") || strings.HasPrefix(v, "NOTIFY_SOCKET=")
	})
}
