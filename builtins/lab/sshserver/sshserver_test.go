package sshserver

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// site is one running server and what it takes to log in.
type site struct {
	server *Server
	key    ssh.Signer
	pem    []byte
	host   ssh.Signer
}

func newSite(t *testing.T) *site {
	t.Helper()
	host, _, err := NewKey("host")
	if err != nil {
		t.Fatal(err)
	}
	key, pem, err := NewKey("client")
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	server := Start(t.Context(), listener, Config{
		HostKey: host, User: "operator", ClientKey: key.PublicKey(), Dir: dir,
		Env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir},
	})
	t.Cleanup(server.Close)
	return &site{server: server, key: key, pem: pem, host: host}
}

func (s *site) dial(t *testing.T) *ssh.Client {
	t.Helper()
	client, err := ssh.Dial("tcp", s.server.Addr().String(), &ssh.ClientConfig{
		User: "operator", Auth: []ssh.AuthMethod{ssh.PublicKeys(s.key)},
		HostKeyCallback: ssh.FixedHostKey(s.host.PublicKey()),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func newSession(t *testing.T, client *ssh.Client) *ssh.Session {
	t.Helper()
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	return session
}

func TestCommands(t *testing.T) {
	site := newSite(t)
	client := site.dial(t)
	for _, test := range []struct {
		command, stdin, stdout, stderr string
		status                         int
		signal                         string
	}{
		{command: "echo out; echo err >&2", stdout: "out\n", stderr: "err\n"},
		{command: "exit 7", status: 7},
		{command: "cat", stdin: "through", stdout: "through"},
		{command: `printf '%s' "$SECRET"`, stdout: ""},
		{command: "kill -TERM $$", signal: "TERM"},
		{command: "test \"$(pwd)\" = \"$HOME\""},
		{command: "no-such-program-here", status: 127, stderr: "not found"},
	} {
		session := newSession(t, client)
		// The server says no to it, which is what the test wants.
		_ = session.Setenv("SECRET", "from the client")
		var stdout, stderr bytes.Buffer
		session.Stdin, session.Stdout, session.Stderr = strings.NewReader(test.stdin), &stdout, &stderr
		err := session.Run(test.command)
		var exit *ssh.ExitError
		if errors.As(err, &exit) {
			if exit.ExitStatus() != test.status && test.signal == "" || exit.Signal() != test.signal {
				t.Errorf("%s: status %d signal %q, want %d %q", test.command, exit.ExitStatus(), exit.Signal(), test.status, test.signal)
			}
		} else if err != nil || test.status != 0 || test.signal != "" {
			t.Errorf("%s: got %v, want status %d signal %q", test.command, err, test.status, test.signal)
		}
		if stdout.String() != test.stdout {
			t.Errorf("%s: stdout %q, want %q", test.command, stdout.String(), test.stdout)
		}
		if !strings.Contains(stderr.String(), test.stderr) {
			t.Errorf("%s: stderr %q, want %q in it", test.command, stderr.String(), test.stderr)
		}
	}
}

func TestMuchDataBothWays(t *testing.T) {
	session := newSession(t, newSite(t).dial(t))
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MB
	session.Stdin = bytes.NewReader(want)
	got, err := session.Output("cat")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes came back changed, want the %d that were sent", len(got), len(want))
	}
}

func TestSignal(t *testing.T) {
	session := newSession(t, newSite(t).dial(t))
	stdout, err := session.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	// A child that has been forked but does not sleep yet can miss a signal to
	// the group, so none sleeps long.
	if err := session.Start("trap 'echo caught; exit 3' TERM; echo ready; while :; do sleep 0.1; done"); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stdout)
	if line, err := lines.ReadString('\n'); line != "ready\n" {
		t.Fatalf("got %q, %v, want ready", line, err)
	}
	if err := session.Signal(ssh.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if line, err := lines.ReadString('\n'); line != "caught\n" {
		t.Errorf("got %q, %v, want caught", line, err)
	}
	var exit *ssh.ExitError
	if err := session.Wait(); !errors.As(err, &exit) || exit.ExitStatus() != 3 {
		t.Errorf("got %v, want exit status 3", err)
	}
}

func TestRefusals(t *testing.T) {
	site := newSite(t)
	other, _, err := NewKey("stranger")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, user string
		key        ssh.Signer
	}{{"another key", "operator", other}, {"another user", "root", site.key}} {
		_, err := ssh.Dial("tcp", site.server.Addr().String(), &ssh.ClientConfig{
			User: test.user, Auth: []ssh.AuthMethod{ssh.PublicKeys(test.key)},
			HostKeyCallback: ssh.FixedHostKey(site.host.PublicKey()),
		})
		if err == nil {
			t.Errorf("%s: logged in, want a refusal", test.name)
		}
	}
	client := site.dial(t)
	if _, err := client.Dial("tcp", site.server.Addr().String()); err == nil {
		t.Error("TCP was forwarded, want a refusal")
	}
	session := newSession(t, client)
	if err := session.Shell(); err == nil {
		t.Error("a shell was started, want a refusal")
	}
	if _, _, err := client.SendRequest("keepalive@openssh.com", true, nil); err != nil {
		t.Errorf("keepalive got no answer: %v", err)
	}
}

func TestForwardToUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		got, _ := io.ReadAll(conn) // ends with the client's half-close
		_, _ = conn.Write(append([]byte("heard "), got...))
		_ = conn.Close()
	}()
	client := newSite(t).dial(t)
	conn, err := client.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != "heard hello" {
		t.Errorf("got %q, %v, want %q", got, err, "heard hello")
	}
	if _, err := client.Dial("unix", path+".missing"); err == nil {
		t.Error("a missing socket was forwarded to, want an error")
	}
}

// TestDroppedConnection shows what becomes of a session's processes when the
// link breaks: the command goes, a daemon that left the session stays.
func TestDroppedConnection(t *testing.T) {
	site := newSite(t)
	client := site.dial(t)
	session := newSession(t, client)
	stdout, err := session.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Start("setsid sleep 300 & echo $!; sleep 301 & echo $!; wait"); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stdout)
	daemon, child := readPID(t, lines), readPID(t, lines)
	t.Cleanup(func() { _ = syscall.Kill(daemon, syscall.SIGKILL) })
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for alive(child) {
		if time.Now().After(deadline) {
			t.Fatal("the command outlived its connection by 10 s")
		}
		wait(t, 20*time.Millisecond)
	}
	if !alive(daemon) {
		t.Error("the daemon died with the connection, want it to live")
	}
}

// TestDaemonDoesNotDelayTheStatus: the exit status arrives while a server that
// the command started still holds its output.
func TestDaemonDoesNotDelayTheStatus(t *testing.T) {
	site := newSite(t)
	client := site.dial(t)
	channel, requests, err := client.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	ok, err := channel.SendRequest("exec", true, ssh.Marshal(struct{ Command string }{"setsid sleep 300 & echo $!; exit 5"}))
	if err != nil || !ok {
		t.Fatalf("exec: %v %v", ok, err)
	}
	daemon := readPID(t, bufio.NewReader(channel))
	t.Cleanup(func() { _ = syscall.Kill(daemon, syscall.SIGKILL) })
	select {
	case request := <-requests:
		if request.Type != "exit-status" || request.Payload[3] != 5 {
			t.Errorf("got %s %v, want exit-status 5", request.Type, request.Payload)
		}
	case <-time.After(10 * time.Second):
		t.Error("no exit status within 10 s")
	}
}

// TestOpenSSHClient logs in as people do.
func TestOpenSSHClient(t *testing.T) {
	ssh, err := exec.LookPath("ssh")
	if err != nil {
		t.Fatalf("%v: install the OpenSSH client (make install-test)", err)
	}
	site := newSite(t)
	identity := filepath.Join(t.TempDir(), "id")
	if err := os.WriteFile(identity, site.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(site.server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, ssh, "-F", "none", "-i", identity, "-p", port, "-o", "StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "operator@127.0.0.1", "cat; exit 9")
	cmd.Stdin = strings.NewReader("by OpenSSH")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	got, err := cmd.Output()
	var exit *exec.ExitError
	if string(got) != "by OpenSSH" || !errors.As(err, &exit) || exit.ExitCode() != 9 {
		t.Errorf("got %q, %v, want %q and status 9\n%s", got, err, "by OpenSSH", stderr.String())
	}
}

func readPID(t *testing.T, lines *bufio.Reader) int {
	t.Helper()
	line, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// alive is false for a zombie too: whether somebody reaps it is not the
// server's affair.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func wait(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-t.Context().Done():
	case <-time.After(d):
	}
}
