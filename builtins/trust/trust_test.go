package trust

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestKeys(t *testing.T) {
	keys := Keys{Dir: filepath.Join(t.TempDir(), "ship", "db2")}
	if _, err := keys.Current(); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("before: got %v, want fs.ErrNotExist", err)
	}
	next, made, err := keys.Next("warmrun-ship@db1")
	if err != nil || !made {
		t.Fatalf("got made %v, %v", made, err)
	}
	again, made, err := keys.Next("warmrun-ship@db1")
	if err != nil || made || again != next {
		t.Errorf("the next key again: got %+v, made %v, %v, want the same one", again, made, err)
	}
	key, err := keys.Use(next, "postgres", "warmrun-ship@db1")
	if err != nil || key.Public != next.Public || key.Path != keys.Path() {
		t.Fatalf("got %+v, %v", key, err)
	}
	if current, err := keys.Current(); err != nil || current != key {
		t.Errorf("in use: got %+v, %v, want %+v", current, err, key)
	}
	if account, err := keys.Account(); err != nil || account != "postgres" {
		t.Errorf("account: got %q, %v", account, err)
	}
	if file, err := keys.File(); err != nil || file != "" {
		t.Errorf("no file was named: got %q, %v", file, err)
	}
	if err := keys.NoteFile("/etc/ssh/keys/postgres"); err != nil {
		t.Fatal(err)
	}
	if file, err := keys.File(); err != nil || file != "/etc/ssh/keys/postgres" {
		t.Errorf("the file that was named: got %q, %v", file, err)
	}
	if got := content(t, key.Path+".pub"); got != key.Public+" warmrun-ship@db1\n" {
		t.Errorf("public half: got %q", got)
	}
	for path, want := range map[string]fs.FileMode{key.Path: 0o600, keys.Dir: 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: got %v, %v, want mode %v", path, info.Mode(), err, want)
		}
	}
	renewed, _, err := keys.Next("warmrun-ship@db1")
	if err != nil || renewed.Public == key.Public {
		t.Errorf("a new key: got %+v, %v, want another one", renewed, err)
	}
	if err := keys.Forget(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(keys.Dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	write(t, keys.Path(), "no key")
	if _, err := keys.Current(); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a broken key: got %v", err)
	}
}

// Public keys that were made for this test; nobody has their private halves.
const (
	one   = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBE8lVHLrXIgPGRKZmjHyCJBzzGxBBSWl0cYnrhc5LmT"
	two   = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGRtzvXc4ojfo1C2r2DJ1pEIlgcdKXG2NRtzVuiI3F2g"
	users = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMXxwU8sU2aKSxX6hm2Gkwyo2W6m9DNH1T0GUkKKr1n1 me@home\n"
)

func TestLine(t *testing.T) {
	l := Line{Command: `/srv/a "b"/bin/warmrun --home '/srv/c d' agent --restricted`, Public: one, Comment: "warmrun-ship@db1"}
	const text = `restrict,command="/srv/a \"b\"/bin/warmrun --home '/srv/c d' agent --restricted" ` + one + " warmrun-ship@db1"
	if got := l.String(); got != text {
		t.Errorf("got  %s\nwant %s", got, text)
	}
	old := strings.Replace(text, one, two, 1)
	other := strings.Replace(strings.Replace(text, one, two, 1), "/srv/c d", "/srv/other", 1)
	narrowed := `from="10.0.0.1",` + text
	loose := strings.Replace(text, "restrict", "restrict,pty", 1)
	free := one + " me"
	for _, test := range []struct {
		name, file      string
		in              bool
		added           string
		removed, others string
	}{
		{"no file", "", false, text + "\n", "", ""},
		{"another's, without an end", strings.TrimSpace(users), false, users + text + "\n", strings.TrimSpace(users), strings.TrimSpace(users)},
		{"there", "# ours\n\n" + users + text + "\n", true, "# ours\n\n" + users + text + "\n", "# ours\n\n" + users, "# ours\n\n" + users + text + "\n"},
		{"narrowed", narrowed + "\n", true, narrowed + "\n", "", narrowed + "\n"},
		{"loosened", loose + "\n" + users, false, text + "\n" + users, users, loose + "\n" + users},
		{"free before", free + "\n" + text + "\n", false, text + "\n", "", free + "\n" + text + "\n"},
		{"an old one", old + "\n" + text + "\n", true, old + "\n" + text + "\n", old + "\n", text + "\n"},
		{"another cluster's", other + "\n", false, other + "\n" + text + "\n", other + "\n", other + "\n"},
		{"what is no key", "rubbish here\r\n", false, "rubbish here\r\n" + text + "\n", "rubbish here\r\n", "rubbish here\r\n"},
	} {
		file := []byte(test.file)
		if got := l.In(file); got != test.in {
			t.Errorf("%s: in: got %v, want %v", test.name, got, test.in)
		}
		if got := string(l.Add(file)); got != test.added {
			t.Errorf("%s: added: got\n%swant\n%s", test.name, got, test.added)
		}
		if got := string(l.Remove(file)); got != test.removed {
			t.Errorf("%s: removed: got\n%swant\n%s", test.name, got, test.removed)
		}
		if got := string(l.RemoveOthers(file)); got != test.others {
			t.Errorf("%s: others removed: got\n%swant\n%s", test.name, got, test.others)
		}
		if string(file) != test.file {
			t.Errorf("%s: the file at hand was changed", test.name)
		}
		if once := l.Add(file); !l.In(once) || string(l.Add(once)) != string(once) {
			t.Errorf("%s: adding it twice changes something", test.name)
		}
	}
}

func TestEdit(t *testing.T) {
	add := func(file []byte) []byte { return append(slices.Clone(file), "new\n"...) }
	dir := t.TempDir()
	path := filepath.Join(dir, ".ssh", "authorized_keys")
	if changed, err := Edit(path, add); !changed || err != nil {
		t.Fatalf("no directory yet: got %v, %v", changed, err)
	}
	wantMode(t, filepath.Dir(path), 0o700)
	wantMode(t, path, 0o600)
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if changed, err := Edit(link, add); !changed || err != nil {
		t.Fatalf("through a link: got %v, %v", changed, err)
	}
	if got := content(t, path); got != "new\nnew\n" {
		t.Errorf("got %q", got)
	}
	wantMode(t, path, 0o640)
	if target, err := os.Readlink(link); err != nil || target != path {
		t.Errorf("the link: got %q, %v, want it to stay", target, err)
	}
	before, _ := os.Stat(path)
	if changed, err := Edit(path, slices.Clone[[]byte]); changed || err != nil {
		t.Errorf("nothing to do: got %v, %v", changed, err)
	}
	if after, _ := os.Stat(path); !os.SameFile(before, after) {
		t.Error("nothing to do, and the file was written")
	}
	_, err := Edit(path, func(file []byte) []byte {
		write(t, path, "somebody else\n")
		return add(file)
	})
	if err == nil || content(t, path) != "somebody else\n" {
		t.Errorf("edited at the same time: got %v and %q, want an error and the other's text", err, content(t, path))
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := Edit(link, add); err == nil || !strings.Contains(err.Error(), "leads nowhere") {
		t.Errorf("a link that leads nowhere: got %v", err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if os.Geteuid() == 0 {
		write(t, path, "")
		if err := os.Chown(path, 1, 1); err != nil {
			t.Fatal(err)
		}
		if _, err := Edit(path, add); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("somebody else's file: got %v, want fs.ErrPermission", err)
		}
	}
}

func TestFind(t *testing.T) {
	account := Account{Name: "postgres", UID: "26", Home: "/var/lib/pgsql"}
	for _, test := range []struct {
		name   string
		files  map[string]string
		path   string
		basis  string
		doubts string
	}{
		{"nothing", nil, "/var/lib/pgsql/.ssh/authorized_keys", "sshd's default", ""},
		{"a default that is written down", map[string]string{"sshd_config": "# AuthorizedKeysFile x\nAuthorizedKeysFile\t.ssh/authorized_keys .ssh/authorized_keys2\n"},
			"/var/lib/pgsql/.ssh/authorized_keys", "sshd_config", ""},
		{"tokens", map[string]string{"sshd_config": "authorizedkeysfile=\"/etc/ssh/keys/%u-%U%%\"\n"}, "/etc/ssh/keys/postgres-26%", "sshd_config", ""},
		{"the first counts", map[string]string{
			"sshd_config": "Include sshd_config.d/*.conf\nAuthorizedKeysFile second\n", "sshd_config.d/1.conf": "Port 22\n", "sshd_config.d/2.conf": "AuthorizedKeysFile %h/first\n",
		}, "/var/lib/pgsql/first", "2.conf", ""},
		{"a match", map[string]string{"sshd_config": "Match User postgres\n  AuthorizedKeysFile /x\n"}, "/var/lib/pgsql/.ssh/authorized_keys", "sshd's default", "Match block"},
		{"a command", map[string]string{"sshd_config": "AuthorizedKeysCommand /usr/bin/sss_ssh_authorizedkeys\n"}, "/var/lib/pgsql/.ssh/authorized_keys", "sshd's default", "AuthorizedKeysCommand"},
		{"files that include each other", map[string]string{"sshd_config": "Include sshd_config\n"}, "/var/lib/pgsql/.ssh/authorized_keys", "sshd's default", ""},
	} {
		dir := t.TempDir()
		for name, text := range test.files {
			write(t, filepath.Join(dir, name), text)
		}
		got := Find(dir, account)
		doubts := strings.Join(got.Doubts, "; ")
		if got.Path != test.path || !strings.Contains(got.Basis, test.basis) || !strings.Contains(doubts, test.doubts) || (doubts == "") != (test.doubts == "") {
			t.Errorf("%s: got %+v, want %s by %s, doubts: %q", test.name, got, test.path, test.basis, test.doubts)
		}
	}
}

func TestComplaints(t *testing.T) {
	home := t.TempDir()
	path := filepath.Join(home, ".ssh", "authorized_keys")
	write(t, path, "")
	if got := Complaints(path, home); len(got) > 0 {
		t.Errorf("got %q, want none", got)
	}
	if err := errors.Join(os.Chmod(path, 0o666), os.Chmod(filepath.Dir(path), 0o775)); err != nil {
		t.Fatal(err)
	}
	if got := Complaints(path, home); len(got) != 2 || !strings.Contains(got[0], "mode 0666") {
		t.Errorf("got %q, want the file and its directory", got)
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func wantMode(t *testing.T, path string, want fs.FileMode) {
	t.Helper()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
		t.Errorf("%s: got %v, %v, want mode %v", path, info.Mode(), err, want)
	}
}
