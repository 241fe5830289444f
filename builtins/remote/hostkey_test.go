package remote

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"github.com/warmrun/warmrun/builtins/remote/sshdtest"
)

// hostKey is the key type and the key of a known_hosts line.
func hostKey(s *sshdtest.Server) string {
	_, key, _ := strings.Cut(s.HostKeyLine, " ")
	return key
}

// otherKey is a key that no server has.
func otherKey(t *testing.T) string {
	t.Helper()
	return strings.TrimSpace(sshdtest.WriteKey(t, filepath.Join(t.TempDir(), "other"), ""))
}

func TestUnknownHost(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Config{})
	h := newHome(t)
	h.write("known_hosts", "elsewhere %s\n", hostKey(s))
	n := node(s)
	n.SSH.KnownHosts = ""
	_, err := Dial(timeout(t), n, h.options())
	var unknown *UnknownHostError
	if !errors.As(err, &unknown) {
		t.Fatalf("Dial = %v, want an UnknownHostError", err)
	}
	key, _, _, _, parseErr := ssh.ParseAuthorizedKey([]byte(hostKey(s)))
	if parseErr != nil {
		t.Fatal(parseErr)
	}
	wantError(t, err, ssh.FingerprintSHA256(key), fmt.Sprintf("ssh-keyscan -p %d 127.0.0.1", s.Port))
	wantError(t, err, "ssh-ed25519", fmt.Sprintf("ssh -p %d -i %s %s@127.0.0.1", s.Port, s.ClientKeyPath, s.User))
	wantError(t, err, h.path("known_hosts"), "ssh_host_ed25519_key.pub")
	if Unreachable(err) {
		t.Error("Unreachable is true for an unknown host")
	}
	if data, _ := os.ReadFile(h.path("known_hosts")); strings.Count(string(data), "\n") != 1 {
		t.Errorf("known_hosts was changed:\n%s", data)
	}
}

func TestChangedHost(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Config{})
	for _, strict := range []string{"yes", "accept-new", "no"} {
		h := newHome(t)
		old := otherKey(t)
		file := h.write("known_hosts", "# comment\n[127.0.0.1]:%d %s\n", s.Port, old)
		h.write("config", "StrictHostKeyChecking %s\n", strict)
		n := node(s)
		n.SSH.KnownHosts = ""
		_, err := Dial(timeout(t), n, h.options())
		var changed *ChangedHostError
		if !errors.As(err, &changed) {
			t.Fatalf("StrictHostKeyChecking %s: Dial = %v, want a ChangedHostError", strict, err)
		}
		for _, line := range []string{old, hostKey(s)} {
			key, _, _, _, parseErr := ssh.ParseAuthorizedKey([]byte(line))
			if parseErr != nil {
				t.Fatal(parseErr)
			}
			wantError(t, err, ssh.FingerprintSHA256(key), "ssh-keygen -R")
		}
		wantError(t, err, file+":2", file)
		wantError(t, err, "HAS CHANGED", fmt.Sprintf("'[127.0.0.1]:%d'", s.Port))
	}
}

// TestKnownHostForms connects with each form in which a file can know a host.
func TestKnownHostForms(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Config{})
	name := fmt.Sprintf("[127.0.0.1]:%d", s.Port)
	for _, test := range []struct{ what, config, line string }{
		{"host and port", "", name + " " + hostKey(s)},
		{"hashed", "", xknownhosts.HashHostname(name) + " " + hostKey(s)},
		{"list of patterns", "", "a,b," + name + ",c " + hostKey(s) + " comment"},
		{"without the port", "", "127.0.0.1 " + hostKey(s)},
		{"wildcard", "", "127.* " + hostKey(s)},
		{"alias", "HostKeyAlias the-db", "the-db " + hostKey(s)},
		{"second file", "UserKnownHostsFile ~/.ssh/none ~/.ssh/known_hosts", name + " " + hostKey(s)},
		{"system's file", "UserKnownHostsFile none\nGlobalKnownHostsFile %d/.ssh/known_hosts", name + " " + hostKey(s)},
		{"two keys", "", name + " " + otherKey(t) + "\n" + name + " " + hostKey(s)},
		{"damaged lines", "", "garbage\n" + name + " ssh-new AAAAB3Nz\n|1|x " + hostKey(s) + "\n@odd\n" + name + " " + hostKey(s)},
	} {
		t.Run(test.what, func(t *testing.T) {
			h := newHome(t)
			h.write("known_hosts", "%s\n", test.line)
			h.write("config", "%s", test.config+"\n")
			n := node(s)
			n.SSH.KnownHosts = ""
			dial(t, n, h.options())
		})
	}
}

// TestHostWithSeveralKeys asks the host for the key that is known.
func TestHostWithSeveralKeys(t *testing.T) {
	first := sshdtest.Start(t, sshdtest.Config{})
	dir := sharedDir(t)
	known := ecdsaKey(t, filepath.Join(dir, "key"))
	s := sshdtest.Start(t, sshdtest.Config{ExtraConfig: "HostKey " + filepath.Join(dir, "key")})
	h := newHome(t)
	n := node(s)
	n.SSH.KnownHosts = ""
	h.write("known_hosts", "[127.0.0.1]:%d %s\n", s.Port, known)
	dial(t, n, h.options())
	h.write("known_hosts", "[127.0.0.1]:%d %s\n", s.Port, hostKey(s))
	dial(t, n, h.options())

	// A host that has lost the type of key that is known is a changed host.
	n = node(first)
	n.SSH.KnownHosts = ""
	h.write("known_hosts", "[127.0.0.1]:%d %s\n", first.Port, known)
	_, err := Dial(timeout(t), n, h.options())
	var changed *ChangedHostError
	if !errors.As(err, &changed) {
		t.Errorf("Dial = %v, want a ChangedHostError", err)
	}
}

// ecdsaKey makes a host key that any user can read. (sshd minds who can read
// its keys only when it owns them.)
func ecdsaKey(t *testing.T, path string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o644); err != nil {
		t.Fatal(err)
	}
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public)))
}

func TestRevokedHost(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Config{})
	h := newHome(t)
	h.write("known", "%s\n@revoked * %s\n", s.HostKeyLine, hostKey(s))
	n := node(s)
	n.SSH.KnownHosts = "~/.ssh/known"
	_, err := Dial(timeout(t), n, h.options())
	wantError(t, err, "is refused", h.path("known")+":2 revokes")
}

func TestAcceptNew(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Config{})
	for _, hashed := range []bool{false, true} {
		h := newHome(t)
		hash := "no"
		if hashed {
			hash = "yes"
		}
		h.write("config", "StrictHostKeyChecking accept-new\nHashKnownHosts %s\n", hash)
		h.write("known_hosts", "elsewhere %s", otherKey(t)) // no newline at the end
		n := node(s)
		n.SSH.KnownHosts = ""
		dial(t, n, h.options())
		if len(h.warnings) != 1 || !strings.Contains(h.warnings[0], "accepted the new host key") {
			t.Errorf("warnings are %q, want one about the new key", h.warnings)
		}
		data, err := os.ReadFile(h.path("known_hosts"))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(data), "[127.0.0.1]"); got == hashed || strings.Count(string(data), "\n") != 2 {
			t.Errorf("HashKnownHosts %s: known_hosts is\n%s", hash, data)
		}
		h.write("config", "")
		dial(t, n, h.options())
	}
}
