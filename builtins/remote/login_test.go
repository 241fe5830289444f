package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/warmrun/warmrun/builtins/remote/sshdtest"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// withKey lets a key of the home in besides the server's own.
func withKey(t *testing.T, public string) sshdtest.Config {
	t.Helper()
	path := filepath.Join(sharedDir(t), "authorized")
	if err := os.WriteFile(path, []byte(public), 0o644); err != nil {
		t.Fatal(err)
	}
	return sshdtest.Config{ExtraConfig: "AuthorizedKeysFile " + path}
}

// bare is a node of which cluster.toml gives the host and the port only.
func bare(h *home, s *sshdtest.Server) cluster.Node {
	h.write("known_hosts", "%s\n", s.HostKeyLine)
	return cluster.Node{Name: "db2", Host: s.Host, SSH: cluster.SSH{User: s.User, Port: s.Port}}
}

func TestDefaultKey(t *testing.T) {
	h := newHome(t)
	s := sshdtest.Start(t, withKey(t, sshdtest.WriteKey(t, h.path("id_ed25519"), "")))
	dial(t, bare(h, s), h.options())
}

func TestRefusedKeys(t *testing.T) {
	h := newHome(t)
	s := sshdtest.Start(t, sshdtest.Config{})
	n := bare(h, s)
	_, err := Dial(timeout(t), n, h.options())
	wantError(t, err, "there is no key to log in with", "ssh-keygen")

	public := sshdtest.WriteKey(t, h.path("id_ed25519"), "")
	key, _, _, _, parseErr := ssh.ParseAuthorizedKey([]byte(public))
	if parseErr != nil {
		t.Fatal(parseErr)
	}
	_, err = Dial(timeout(t), n, h.options())
	copyID := fmt.Sprintf("ssh-copy-id -i %s -p %d %s@127.0.0.1", h.path("id_ed25519"), s.Port, s.User)
	wantError(t, err, ssh.FingerprintSHA256(key), copyID)
	wantError(t, err, h.path("id_ed25519"), copyID)
	if Unreachable(err) {
		t.Error("Unreachable is true for a refused key")
	}

	n.SSH.IdentityFile = "~/.ssh/missing"
	_, err = Dial(timeout(t), n, h.options())
	wantError(t, err, h.path("missing")+" does not exist", "ssh-keygen")

	if err := os.Chmod(h.path("id_ed25519"), 0o644); err != nil {
		t.Fatal(err)
	}
	n.SSH.IdentityFile = "~/.ssh/id_ed25519"
	_, err = Dial(timeout(t), n, h.options())
	wantError(t, err, "chmod 600", "ssh-keygen")
}

func TestPassphrase(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	// One round of the key derivation: the race detector makes it slow.
	out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-a", "1", "-N", "open sesame", "-f", h.path("id_ed25519")).CombinedOutput()
	if err != nil {
		t.Fatalf("ssh-keygen: %v: %s", err, out)
	}
	public, err := os.ReadFile(h.path("id_ed25519.pub"))
	if err != nil {
		t.Fatal(err)
	}
	s := sshdtest.Start(t, withKey(t, string(public)))
	n := bare(h, s)
	_, err = Dial(timeout(t), n, h.options())
	wantError(t, err, "needs a passphrase", "")

	var asked []string
	answers := []string{"wrong", "open sesame"}
	o := h.options()
	o.ConnectTimeout = time.Second
	o.Prompt = func(question string) (string, error) {
		asked = append(asked, question)
		<-time.After(700 * time.Millisecond) // longer than the time for connecting, in all
		return answers[len(asked)-1], nil
	}
	dial(t, n, o)
	if len(asked) != 2 || !strings.Contains(asked[0], h.path("id_ed25519")) {
		t.Errorf("asked %q, want two questions for the key's passphrase", asked)
	}

	no := errors.New("no answer")
	o.Prompt = func(string) (string, error) { return "", no }
	if _, err = Dial(timeout(t), n, o); !errors.Is(err, no) {
		t.Errorf("Dial = %v, want %v", err, no)
	}
	o.Prompt = func(string) (string, error) { return "wrong", nil }
	_, err = Dial(timeout(t), n, o)
	wantError(t, err, "wrong three times", "")

	// A key that the server does not want is not asked for.
	other := sshdtest.Start(t, sshdtest.Config{})
	o.Prompt = func(question string) (string, error) {
		t.Errorf("asked %q", question)
		return "", no
	}
	_, err = Dial(timeout(t), bare(h, other), o)
	wantError(t, err, "none of the keys was accepted", "ssh-copy-id")
}

// startAgent serves an ssh agent with one key at a socket.
func startAgent(t *testing.T, keyPath string) string {
	t.Helper()
	ring := agent.NewKeyring()
	if keyPath != "" {
		data, err := os.ReadFile(keyPath)
		if err != nil {
			t.Fatal(err)
		}
		key, err := ssh.ParseRawPrivateKey(data)
		if err != nil {
			t.Fatal(err)
		}
		if err := ring.Add(agent.AddedKey{PrivateKey: key, Comment: "of the test"}); err != nil {
			t.Fatal(err)
		}
	}
	socket := filepath.Join(sharedDir(t), "agent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			// The client closes it; how the talk ended does not matter.
			_ = agent.ServeAgent(ring, conn)
			conn.Close()
		}
	}()
	return socket
}

func TestAgent(t *testing.T) {
	h := newHome(t)
	hidden := filepath.Join(t.TempDir(), "key")
	s := sshdtest.Start(t, withKey(t, sshdtest.WriteKey(t, hidden, "")))
	n := bare(h, s)
	socket := startAgent(t, hidden)
	h.env["SSH_AUTH_SOCK"] = socket
	dial(t, n, h.options())

	h.write("config", "IdentitiesOnly yes\n")
	_, err := Dial(timeout(t), n, h.options())
	wantError(t, err, "there is no key to log in with", "ssh-keygen")

	// The key is named by its public half, which is all that lies here.
	public, err := os.ReadFile(hidden + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	h.write("only.pub", "%s", public)
	h.write("config", "IdentitiesOnly yes\nIdentityFile ~/.ssh/only.pub\n")
	dial(t, n, h.options())

	h.env["SSH_AUTH_SOCK"] = ""
	h.env["MY_AGENT"] = socket
	h.write("config", "IdentityAgent $MY_AGENT\n")
	dial(t, n, h.options())
	h.write("config", "IdentityAgent none\n")
	_, err = Dial(timeout(t), n, h.options())
	wantError(t, err, "there is no key to log in with", "")

	h.write("config", "IdentityAgent ~/nowhere\n")
	_, err = Dial(timeout(t), n, h.options())
	wantError(t, err, "the ssh agent does not answer", "")
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	deaf, err := net.Listen("tcp", "127.0.0.1:0") // accepts and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	rude, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer rude.Close()
	go func() {
		for {
			conn, err := rude.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	port := func(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }
	for _, test := range []struct {
		what, host  string
		port        int
		text, words string
	}{
		{"refused", "127.0.0.1", port(gone), "connection refused", "sshd runs"},
		{"silent", "127.0.0.1", port(deaf), "no answer within 1s", "ssh -v"},
		{"cut", "127.0.0.1", port(rude), "cannot reach", "ssh -v"},
		{"no name", "db2..example", 22, "db2..example", "does not resolve"},
	} {
		o := h.options()
		o.ConnectTimeout = time.Second
		_, err := Dial(timeout(t), cluster.Node{Host: test.host, SSH: cluster.SSH{Port: test.port}}, o)
		if !Unreachable(err) {
			t.Errorf("%s: Unreachable(%v) = false", test.what, err)
		}
		wantError(t, err, test.text, test.words)
	}

	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	_, err = Dial(ctx, cluster.Node{Host: "127.0.0.1", SSH: cluster.SSH{Port: port(deaf)}}, h.options())
	if !errors.Is(err, context.Canceled) || Unreachable(err) {
		t.Errorf("canceled Dial = %v, Unreachable %v, want a cancellation", err, Unreachable(err))
	}
}

// TestConfigured reaches a host of which everything stands in ~/.ssh/config.
func TestConfigured(t *testing.T) {
	h := newHome(t)
	s := sshdtest.Start(t, withKey(t, sshdtest.WriteKey(t, h.path("key of mine"), "")))
	h.write("kh", "%s\n", s.HostKeyLine)
	h.write("config", "Include conf.d/*\nHost *\n\tUser nobody\n")
	if err := os.Mkdir(h.path("conf.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	h.write("conf.d/one", `Host	db?	!db9
  HostName 127.0.0.%%L
  Port = %d
  User %s
  IdentityFile "~/.ssh/key of mine"
  UserKnownHostsFile %%d/.ssh/kh
  ConnectTimeout 20
`, s.Port, s.User)
	config, err := os.ReadFile(h.path("conf.d/one"))
	if err != nil {
		t.Fatal(err)
	}
	h.write("conf.d/one", "%s", strings.ReplaceAll(string(config), "127.0.0.%L", "127.0.0.1"))
	c := dial(t, cluster.Node{Name: "db2", Host: "db2"}, h.options())
	if c.User() != s.User {
		t.Errorf("logged in as %q, want %q", c.User(), s.User)
	}
	// cluster.toml wins.
	_, err = Dial(timeout(t), cluster.Node{Host: "db2", SSH: cluster.SSH{User: "someone"}}, h.options())
	wantError(t, err, "log in to db2 (127.0.0.1:", "someone@db2")
}

func TestProxyJump(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	public := sshdtest.WriteKey(t, h.path("id_ed25519"), "")
	jump1 := sshdtest.Start(t, withKey(t, public))
	jump2 := sshdtest.Start(t, withKey(t, public))
	end := sshdtest.Start(t, withKey(t, public))
	h.write("known_hosts", "%s\n%s\n%s\n", jump1.HostKeyLine, jump2.HostKeyLine, end.HostKeyLine)
	h.write("config", "Host one\n HostName 127.0.0.1\n Port %d\n User %s\nHost via\n HostName 127.0.0.1\n Port %d\n User %s\n ProxyJump one,%s@127.0.0.1:%d\n",
		jump1.Port, jump1.User, end.Port, end.User, jump2.User, jump2.Port)
	for _, n := range []cluster.Node{
		{Host: "via"},
		{Host: "127.0.0.1", SSH: cluster.SSH{User: end.User, Port: end.Port, ProxyJump: "one"}},
		{Host: "127.0.0.1", SSH: cluster.SSH{User: end.User, Port: end.Port, ProxyJump: "ssh://" + jump2.User + "@127.0.0.1:" + fmt.Sprint(jump2.Port) + ",one"}},
		{Host: "via", SSH: cluster.SSH{ProxyJump: "none"}},
	} {
		c := dial(t, n, h.options())
		out, err := c.Output(timeout(t), `echo "$SSH_CONNECTION"`, nil)
		if err != nil || !strings.HasSuffix(strings.TrimSpace(string(out)), fmt.Sprintf(" %d", end.Port)) {
			t.Errorf("%+v: landed at %q, %v, want port %d", n, out, err, end.Port)
		}
	}
	for _, s := range []*sshdtest.Server{jump1, jump2} {
		if !strings.Contains(s.Log(), "Accepted publickey") {
			t.Error("a jump host was not used")
		}
	}

	// The host key of the jump host is checked, too.
	h.write("known_hosts", "%s\n%s\n", jump2.HostKeyLine, end.HostKeyLine)
	_, err := Dial(timeout(t), cluster.Node{Host: "via"}, h.options())
	wantError(t, err, "the host key of one (127.0.0.1:", "@one")

	h.write("config", "Host a\n ProxyJump b\nHost b\n ProxyJump a\n")
	_, err = Dial(timeout(t), cluster.Node{Host: "a"}, h.options())
	wantError(t, err, "jump hosts", "name each other")

	// A jump host that is down, and a node that is down behind it.
	h.write("known_hosts", "%s\n%s\n", jump1.HostKeyLine, end.HostKeyLine)
	way := cluster.SSH{User: end.User, Port: end.Port, ProxyJump: fmt.Sprintf("%s@127.0.0.1:%d", jump1.User, jump1.Port)}
	end.Stop()
	_, err = Dial(timeout(t), cluster.Node{Host: "127.0.0.1", SSH: way}, h.options())
	if !Unreachable(err) {
		t.Errorf("node down behind a jump host: Unreachable(%v) = false", err)
	}
	jump1.Stop()
	_, err = Dial(timeout(t), cluster.Node{Host: "127.0.0.1", SSH: way}, h.options())
	if !Unreachable(err) {
		t.Errorf("jump host down: Unreachable(%v) = false", err)
	}
}

func TestJumpHostForwardsNothing(t *testing.T) {
	jump := sshdtest.Start(t, sshdtest.Config{ExtraConfig: "AllowTcpForwarding no"})
	h := newHome(t)
	n := node(jump)
	n.SSH.ProxyJump = fmt.Sprintf("%s@127.0.0.1:%d", jump.User, jump.Port)
	_, err := Dial(timeout(t), n, h.options())
	wantError(t, err, "does not forward", "AllowTcpForwarding")
}

func TestProxyCommand(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Config{})
	h := newHome(t)
	h.write("id", "")
	h.write("config", "ProxyCommand ssh -F none -i %s -o UserKnownHostsFile=%s -p %d -W %%h:%%p %s@127.0.0.1\n",
		s.ClientKeyPath, s.KnownHostsPath, s.Port, s.User)
	c := dial(t, node(s), h.options())
	if out, err := c.Output(timeout(t), "echo through", nil); err != nil || string(out) != "through\n" {
		t.Errorf("Output = %q, %v", out, err)
	}
	h.write("config", "ProxyCommand echo no way to %%h >&2; exit 1\n")
	_, err := Dial(timeout(t), node(s), h.options())
	if !Unreachable(err) {
		t.Errorf("Unreachable(%v) = false", err)
	}
	wantError(t, err, "no way to 127.0.0.1", "")
}
