package remote

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/walcore/cluster"
)

func (h *home) resolve(t *testing.T, alias string, explicit cluster.SSH) target {
	t.Helper()
	o, err := h.options().complete()
	if err != nil {
		t.Fatal(err)
	}
	got, err := (&dialer{options: o}).resolve(t.Context(), alias, explicit)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestConfigFiles(t *testing.T) {
	me, err := localUser()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		what, user, system, alias string
		explicit                  cluster.SSH
		want                      string // user@host:port
	}{
		{"nothing", "", "", "db2", cluster.SSH{}, me.Username + "@db2:22"},
		{"host block", "Host db2\nUser pg\nPort 2022\nHostName db2.example.com\n", "", "db2", cluster.SSH{}, "pg@db2.example.com:2022"},
		{"other host", "Host db3\nUser pg\n", "", "db2", cluster.SSH{}, me.Username + "@db2:22"},
		{"first value counts", "Host db*\nUser one\nHost *\nUser two\nPort 5\n", "User three\nPort 6\n", "db2", cluster.SSH{}, "one@db2:5"},
		{"user's before system's", "", "Host db2\nUser sys\n", "db2", cluster.SSH{}, "sys@db2:22"},
		{"explicit wins", "Host db2\nUser pg\nPort 2022\n", "", "db2", cluster.SSH{User: "x", Port: 7}, "x@db2:7"},
		{"negation", "Host !db2 *\nUser no\n", "", "db2", cluster.SSH{}, me.Username + "@db2:22"},
		{"tabs, equals, case, CRLF", "HOST\tdb1\tdb2\r\n\tuser=pg\r\n\tPORT = 9\r\n", "", "db2", cluster.SSH{}, "pg@db2:9"},
		{"name with token", "Host db2\nHostName %h.example.com\n", "", "db2", cluster.SSH{}, me.Username + "@db2.example.com:22"},
		{"match all", "Host other\nUser no\nMatch all\nUser pg\n", "", "db2", cluster.SSH{}, "pg@db2:22"},
		{"match host is the real name", "Host db2\nHostName real\nMatch host real\nUser pg\n", "", "db2", cluster.SSH{}, "pg@real:22"},
		{"match originalhost", "Host db2\nHostName real\nMatch originalhost db1,db2\nUser pg\n", "", "db2", cluster.SSH{}, "pg@real:22"},
		{"match negated", "Match !originalhost db1\nUser pg\n", "", "db2", cluster.SSH{}, "pg@db2:22"},
		{"match user", "Match user pg\nPort 9\n", "", "db2", cluster.SSH{User: "pg"}, "pg@db2:9"},
		{"match localuser", "Match localuser " + me.Username + "\nPort 9\n", "", "db2", cluster.SSH{User: "pg"}, "pg@db2:9"},
		{"match several", "Match originalhost db2 user nobody-else\nPort 9\n", "", "db2", cluster.SSH{User: "pg"}, "pg@db2:22"},
		{"match exec", "Match exec \"test %n = db2\"\nPort 9\nMatch exec false\nUser no\n", "", "db2", cluster.SSH{User: "pg"}, "pg@db2:9"},
		{"match ends a block", "Host db2\nMatch originalhost other\nUser no\nHost *\nUser pg\n", "", "db2", cluster.SSH{}, "pg@db2:22"},
		{"match final, as on RHEL", "Host db2\nHostName real\n", "Match final all\nPort 9\nHost real\nUser pg\n", "db2", cluster.SSH{}, "pg@real:9"},
		{"unknown criterion", "Match tagged x\nUser no\nHost *\nPort 9\n", "", "db2", cluster.SSH{User: "pg"}, "pg@db2:9"},
		{"include in a block that does not match", "Host other\nInclude inc\n", "", "db2", cluster.SSH{}, me.Username + "@db2:22"},
		{"include", "Host db2\nInclude ~/.ssh/in? none\nPort 3\n", "", "db2", cluster.SSH{}, "included@db2:3"},
		{"system include", "", "Include ssh_config.d/*.conf\n", "db2", cluster.SSH{}, "system@db2:22"},
	} {
		h := newHome(t)
		if err := os.MkdirAll(filepath.Join(h.dir, "etc", "ssh_config.d"), 0o700); err != nil {
			t.Fatal(err)
		}
		h.write("config", "%s", test.user)
		h.write("inc", "User included\n")
		h.write("../etc/ssh_config", "%s", test.system)
		h.write("../etc/ssh_config.d/1.conf", "User system\n")
		got := h.resolve(t, test.alias, test.explicit)
		if text := got.User + "@" + got.address(); text != test.want {
			t.Errorf("%s: got %s, want %s", test.what, text, test.want)
		}
	}
}

func TestTarget(t *testing.T) {
	h := newHome(t)
	h.env["KEYS"] = "/keys"
	h.env["SSH_AUTH_SOCK"] = "/agent"
	h.write("config", `Host full
  IdentityFile ~/a
  IdentityFile ${KEYS}/%%r@%%h
  IdentityFile "/with blank/%%n"
  IdentitiesOnly yes
  ConnectTimeout 7
  ServerAliveInterval 1m
  ServerAliveCountMax 5
  User pg
  HostName real
  UserKnownHostsFile /one "/two three"
  GlobalKnownHostsFile none
  StrictHostKeyChecking no
  ProxyCommand nc %%h %%p
  ProxyJump ignored
`)
	got := h.resolve(t, "full", cluster.SSH{IdentityFile: "~/mine", Port: 2022})
	want := target{
		Alias: "full", Host: "real", Port: 2022, User: "pg", ProxyCommand: "nc real 2022",
		Identities:     []string{h.dir + "/mine", h.dir + "/a", "/keys/pg@real", "/with blank/full"},
		IdentitiesOnly: true, AgentSocket: "/agent", UserKnownHosts: []string{"/one", "/two three"}, AcceptNew: true,
		ConnectTimeout: 7 * time.Second, AliveInterval: time.Minute, AliveCount: 5,
		flags: []string{"-i", "~/mine"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	plain := h.resolve(t, "plain", cluster.SSH{})
	wantPlain := target{
		Alias: "plain", Host: "plain", Port: 22, User: plain.User, DefaultKeys: true, AgentSocket: "/agent",
		Identities:      []string{h.path("id_ed25519"), h.path("id_ecdsa"), h.path("id_rsa")},
		UserKnownHosts:  []string{h.path("known_hosts"), h.path("known_hosts2")},
		OtherKnownHosts: []string{h.dir + "/etc/ssh_known_hosts", h.dir + "/etc/ssh_known_hosts2"},
		ConnectTimeout:  defaultConnectTimeout, AliveInterval: defaultAliveInterval, AliveCount: defaultAliveCount,
	}
	if !reflect.DeepEqual(plain, wantPlain) {
		t.Errorf("got  %+v\nwant %+v", plain, wantPlain)
	}
}

// TestAliveInterval: what the caller wants counts only where ssh_config says
// nothing.
func TestAliveInterval(t *testing.T) {
	h := newHome(t)
	h.write("config", "Host set\n  ServerAliveInterval 1m\n")
	for host, want := range map[string]time.Duration{"set": time.Minute, "plain": 5 * time.Second} {
		o, err := h.options().complete()
		if err != nil {
			t.Fatal(err)
		}
		o.AliveInterval = 5 * time.Second
		got, err := (&dialer{options: o}).resolve(t.Context(), host, cluster.SSH{})
		if err != nil || got.AliveInterval != want {
			t.Errorf("%s: got %s, %v, want %s", host, got.AliveInterval, err, want)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	for _, test := range []struct{ config, text string }{
		{"Host *\nPort ssh\n", "config:2: port is \"ssh\""},
		{"ConnectTimeout soon\n", "config:1: connecttimeout is \"soon\""},
		{"Include config\n", "deeper than"},
		{"Include [\n", "Include"},
	} {
		h := newHome(t)
		h.write("config", "%s", test.config)
		_, err := Dial(timeout(t), cluster.Node{Host: "db2"}, h.options())
		wantError(t, err, test.text, "")
	}
}

func TestParseJump(t *testing.T) {
	for _, test := range []struct {
		text, host, user string
		port             int
		bad              bool
	}{
		{"gate", "gate", "", 0, false},
		{"me@gate:22", "gate", "me", 22, false},
		{" ssh://me@gate:2022/ ", "gate", "me", 2022, false},
		{"a@b@gate", "gate", "a@b", 0, false},
		{"[::1]:5", "::1", "", 5, false},
		{"[::1]", "::1", "", 0, false},
		{"gate:ssh", "", "", 0, true},
		{"gate:0", "", "", 0, true},
		{"", "", "", 0, true},
		{"me@", "", "", 0, true},
	} {
		host, way, err := parseJump(test.text)
		if (err != nil) != test.bad {
			t.Errorf("parseJump(%q): error %v, want one: %v", test.text, err, test.bad)
		}
		if err == nil && (host != test.host || way.User != test.user || way.Port != test.port) {
			t.Errorf("parseJump(%q) = %s, %+v", test.text, host, way)
		}
	}
}

func TestSplitWords(t *testing.T) {
	for _, test := range []struct {
		value string
		want  []string
	}{
		{"", nil},
		{"  a\tb  ", []string{"a", "b"}},
		{`a "b c" d`, []string{"a", "b c", "d"}},
		{`""`, []string{""}},
		{`a"b c"d`, []string{"ab cd"}},
	} {
		if got := splitWords(test.value); !slices.Equal(got, test.want) {
			t.Errorf("splitWords(%q) = %q, want %q", test.value, got, test.want)
		}
	}
}

// FuzzConfig: a file that a user wrote must never end the program.
func FuzzConfig(f *testing.F) {
	for _, seed := range []string{"", "Host", "Match", "Include", "=", "Host *\n\tUser \"x", "Match host\n", "Port", "# x\nHost a b # c\n x=y\n", "Match exec"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if lower := strings.ToLower(text); strings.Contains(lower, "exec") || strings.Contains(lower, "include") {
			t.Skip("would run or read something")
		}
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, ".ssh"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, ".ssh", "config"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		o, err := Options{HomeDir: dir, SystemDir: dir, Getenv: func(string) string { return "" }}.complete()
		if err != nil {
			t.Fatal(err)
		}
		// Whether it can be read does not matter here.
		_, _ = (&dialer{options: o}).resolve(context.Background(), "db2", cluster.SSH{})
	})
}

func TestCiphers(t *testing.T) {
	if got := ciphers(true)[0]; got != "aes128-gcm@openssh.com" {
		t.Errorf("with AES: first cipher is %s", got)
	}
	if got := ciphers(false)[0]; got != "chacha20-poly1305@openssh.com" {
		t.Errorf("without AES: first cipher is %s", got)
	}
}

func TestTail(t *testing.T) {
	var small, large tail
	if _, err := small.Write([]byte("one\ntwo")); err != nil {
		t.Fatal(err)
	}
	if got := small.String(); got != "one\ntwo" {
		t.Errorf("tail is %q", got)
	}
	for range 1000 {
		if _, err := large.Write([]byte("0123456789\n")); err != nil {
			t.Fatal(err)
		}
	}
	if got := large.String(); len(got) > tailSize || !strings.HasPrefix(got, "0123456789\n") {
		t.Errorf("tail of %d bytes begins with %q", len(got), got[:20])
	}
}
