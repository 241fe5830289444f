package sshdtest

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestOpenSSHGetsIn logs in with OpenSSH's own client.
func TestOpenSSHGetsIn(t *testing.T) {
	s := Start(t, Config{Env: []string{"WARMRUN_TEST=a b"}})
	out, err := exec.Command("ssh", "-F", "none", "-p", strconv.Itoa(s.Port), "-i", s.ClientKeyPath,
		"-o", "UserKnownHostsFile="+s.KnownHostsPath, "-o", "BatchMode=yes",
		s.User+"@"+s.Host, `echo "$WARMRUN_TEST"; id -un`).Output()
	if err != nil {
		t.Fatalf("ssh: %v", err)
	}
	if got, want := strings.TrimSpace(string(out)), "a b\n"+s.User; got != want {
		t.Errorf("session printed %q, want %q", got, want)
	}
}

// TestSameDirectorySameKeys starts a server again after it was stopped.
func TestSameDirectorySameKeys(t *testing.T) {
	first := Start(t, Config{})
	dir := strings.TrimSuffix(first.HostKeyPath, "/host_key")
	first.Stop()
	second := Start(t, Config{Dir: dir, Port: first.Port})
	if second.HostKeyLine != first.HostKeyLine {
		t.Errorf("host key line after the restart is %q, want %q", second.HostKeyLine, first.HostKeyLine)
	}
}

// TestStopEndsOrphans stops a server while one of its processes has lost its
// parent, as one has that starts while the server is stopped.
func TestStopEndsOrphans(t *testing.T) {
	s := Start(t, Config{})
	client := exec.Command("ssh", "-F", "none", "-p", strconv.Itoa(s.Port), "-i", s.ClientKeyPath,
		"-o", "UserKnownHostsFile="+s.KnownHostsPath, "-o", "BatchMode=yes", s.User+"@"+s.Host, "echo in; exec cat")
	in, err := client.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := client.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	listener := s.process.cmd.Process.Pid
	sessions := sshdChildren(listener)
	if len(sessions) < 2 {
		t.Fatalf("the session has the processes %v, want one for the connection and one for its user", sessions)
	}
	if err := syscall.Kill(sessions[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	if left := writers(s.process.stderr); len(left) > 0 {
		t.Errorf("processes of the server are left: %v", left)
	}
	_ = in.Close()
	_ = client.Wait() // the connection was cut: it has nothing good to say
}
