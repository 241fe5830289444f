package sshdtest

import (
	"os/exec"
	"strconv"
	"strings"
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
