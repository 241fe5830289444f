package remote

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/builtins/remote/sshdtest"
)

func TestPowers(t *testing.T) {
	h := newHome(t)
	public := sshdtest.WriteKey(t, h.path("ship"), "")
	restricted := `restrict,command="echo \"forced $SSH_ORIGINAL_COMMAND\"" ` + public
	for _, test := range []struct {
		line string
		want []string
	}{
		// An sshd that does not run as root breaks down over a terminal.
		{"no-pty " + public, []string{"forward an ssh agent", "connect to other ports", "listen on a port"}},
		{"no-pty,no-port-forwarding " + public, []string{"forward an ssh agent"}},
		{restricted, nil},
	} {
		s := sshdtest.Start(t, withKey(t, test.line))
		n := bare(h, s)
		o := h.options()
		o.OnlyKey = h.path("ship")
		c := dial(t, n, o)
		got, err := c.Powers(timeout(t))
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%.20s: got %q, %v, want %q", test.line, got, err, test.want)
		}
		if out, err := c.Output(timeout(t), "echo free", nil); err != nil || strings.HasPrefix(string(out), "forced") != (test.line == restricted) {
			t.Errorf("%.20s: a command afterwards: got %q, %v", test.line, out, err)
		}
	}
}

// TestOnlyKey: neither the user's other keys nor those of an agent are offered,
// which would count against the tries that sshd allows.
func TestOnlyKey(t *testing.T) {
	h := newHome(t)
	s := sshdtest.Start(t, withKey(t, sshdtest.WriteKey(t, h.path("id_ed25519"), "")))
	n := bare(h, s)
	h.env["SSH_AUTH_SOCK"] = filepath.Join(h.dir, "no agent here")
	o := h.options()
	dial(t, n, o)

	sshdtest.WriteKey(t, h.path("ship"), "")
	o.OnlyKey = h.path("ship")
	_, err := Dial(timeout(t), n, o)
	if !LoginRefused(err) || Unreachable(err) {
		t.Errorf("got %v, want a refused login", err)
	}
	if err != nil && (strings.Contains(err.Error(), "id_ed25519") || strings.Contains(err.Error(), "agent")) {
		t.Errorf("got %v, want only the one key offered", err)
	}
	if err := os.Remove(o.OnlyKey); err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(timeout(t), n, o); !LoginRefused(err) {
		t.Errorf("without the key: got %v, want a refused login", err)
	}
	n.SSH.Port = 1
	if _, err := Dial(timeout(t), n, o); LoginRefused(err) {
		t.Errorf("a host that does not answer: got %v, which is no refused login", err)
	}
}
