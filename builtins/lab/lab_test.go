package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/warmrun/warmrun/walcore/hint"
)

// TestMain makes the test binary stand in for the program, which is what a lab
// installs on its nodes and executes again for itself. Started by root it
// becomes an ordinary user first, by the function under test.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "warmrun" {
		os.Exit(0) // `warmrun version`, and an archive_command that agrees
	}
	os.Args = slices.DeleteFunc(os.Args, func(arg string) bool {
		return strings.HasPrefix(arg, "-test.testlogfile") // root's, closed to the other user
	})
	if err := Demote(""); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if len(os.Args) == 3 && os.Args[1] == "serve" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if err := Serve(ctx, Options{Dir: os.Args[2], Out: os.Stdout}); err != nil {
			fmt.Fprintf(os.Stderr, "warmrun: error: %s\nwarmrun: hint: %s\n", err, hint.Of(err))
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// up makes a lab that goes with the test.
func up(t *testing.T) *Lab {
	t.Helper()
	l, err := Up(t.Context(), Options{Dir: newDir(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return l
}

// newDir is a directory that does not exist yet, with a path short enough for
// sockets.
func newDir(t *testing.T) string {
	t.Helper()
	parent, err := os.MkdirTemp("", "wl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(parent); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(parent, "lab")
}

func TestUpKillClose(t *testing.T) {
	dir := newDir(t)
	var out bytes.Buffer
	l, err := Up(t.Context(), Options{Dir: dir, Out: &out})
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	t.Cleanup(func() {
		if !closed {
			if err := l.Close(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		}
	})
	checkReport(t, dir, []NodeStatus{{"db1", true, "running"}, {"db2", true, "empty"}, {"dr", true, "empty"}})

	// OpenSSH's client gets in with the lab's own configuration and no other.
	cmd := exec.CommandContext(t.Context(), "ssh", "-F", l.sshConfig(), "db2", `pwd; echo "$HOME $USER"; id -un`)
	got, err := cmd.Output()
	want := fmt.Sprintf("%s\n%s %s\n%s\n", l.Nodes[1].Dir, l.Nodes[1].Dir, l.User, l.User)
	if err != nil || string(got) != want {
		t.Errorf("ssh db2 printed %q, %v, want %q", got, err, want)
	}

	if err := l.Kill(t.Context(), "db1"); err != nil {
		t.Fatal(err)
	}
	checkReport(t, dir, []NodeStatus{{"db1", true, "stopped"}, {"db2", true, "empty"}, {"dr", true, "empty"}})
	if err := l.Cut(t.Context(), "db2"); err != nil {
		t.Fatal(err)
	}
	checkReport(t, dir, []NodeStatus{{"db1", true, "stopped"}, {"db2", false, "empty"}, {"dr", true, "empty"}})

	// A lab that ends because of Ctrl-C ends with a context that is done.
	done, cancel := context.WithCancel(t.Context())
	cancel()
	closed = true
	if err := l.Close(done); err != nil {
		t.Fatal(err)
	}
	checkGone(t, dir, l.PGBin)
}

func checkReport(t *testing.T, dir string, want []NodeStatus) {
	t.Helper()
	report, err := Status(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if !report.Alive || !slices.Equal(report.Servers, want) {
		t.Errorf("alive %v, servers %v, want alive and %v", report.Alive, report.Servers, want)
	}
}

func checkGone(t *testing.T, dir, pgBin string) {
	t.Helper()
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is still there (%v)", dir, err)
	}
	left, err := find(func(p running) bool {
		return strings.HasPrefix(p.cwd, dir) || p.runsFrom(dir)
	})
	if err != nil || len(left) > 0 {
		t.Errorf("processes left behind: %v, %v", left, err)
	}
}

func TestStartStatusDown(t *testing.T) {
	dir := newDir(t)
	var out bytes.Buffer
	report, err := Start(t.Context(), Options{Dir: dir, Out: &out}, "serve", dir)
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if !report.Alive || report.Process.PID == os.Getpid() || report.Servers[0].Server != "running" {
		t.Errorf("got %+v, want a background process and a running db1", report)
	}
	if !strings.Contains(out.String(), "initdb") {
		t.Errorf("progress was %q, want initdb in it", out.String())
	}
	if _, err := Start(t.Context(), Options{Dir: dir}, "serve", dir); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("a second start: %v, want a refusal", err)
	}
	if err := Down(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	checkGone(t, dir, report.PGBin)
	if err := Down(t.Context(), dir); err == nil || hint.Of(err) == "" {
		t.Errorf("down without a lab: %v, want an error with a hint", err)
	}
}

// TestDownAfterCrash: the lab process was killed, its servers live on.
func TestDownAfterCrash(t *testing.T) {
	dir := newDir(t)
	report, err := Start(t.Context(), Options{Dir: dir}, "serve", dir)
	if err != nil {
		t.Fatal(err)
	}
	process, err := report.Process.find()
	if err != nil || process == nil {
		t.Fatalf("find the lab process: %v, %v", process, err)
	}
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := process.Wait(); err != nil {
		t.Fatal(err)
	}
	if after, err := Status(t.Context(), dir); err != nil || after.Alive || after.Servers[0].SSH || after.Servers[0].Server != "running" {
		t.Errorf("status after the crash: %+v, %v, want a dead lab process and a running db1", after, err)
	}
	if err := Down(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	checkGone(t, dir, report.PGBin)
}

// TestDownLeavesStrangersAlone: the number in lab.json belongs to somebody
// else by now.
func TestDownLeavesStrangersAlone(t *testing.T) {
	dir := newDir(t)
	if err := makeDir(dir); err != nil {
		t.Fatal(err)
	}
	stranger := exec.CommandContext(t.Context(), "sleep", "600")
	stranger.Dir = dir
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stranger.Wait() })
	l := &Lab{Dir: dir, PGBin: "/nowhere", Version: 15}
	if err := l.writeState(stateReady); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(stateFile(dir))
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := fmt.Sprintf(`"pid": %d,`, os.Getpid()), fmt.Sprintf(`"pid": %d,`, stranger.Process.Pid)
	if err := os.WriteFile(stateFile(dir), bytes.Replace(data, []byte(ours), []byte(theirs), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Down(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if err := stranger.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the stranger is gone: %v", err)
	}
	if err := stranger.Process.Kill(); err != nil {
		t.Fatal(err)
	}
}

func TestStartReportsFailure(t *testing.T) {
	dir := newDir(t)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), Options{Dir: dir}, "serve", dir)
	if err == nil || !strings.Contains(err.Error(), "exists and is not a lab") || !strings.Contains(hint.Of(err), "--dir") {
		t.Errorf("got %v (hint %q), want the background process's own error and hint", err, hint.Of(err))
	}
	if _, err := os.Lstat(dir); err != nil {
		t.Errorf("a directory that was not the lab's is gone: %v", err)
	}
}

func TestUpFailsCleanly(t *testing.T) {
	dir := newDir(t)
	program := filepath.Join(filepath.Dir(dir), "broken")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho no good; exit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := Up(t.Context(), Options{Dir: dir, Binary: program})
	if err == nil || !strings.Contains(err.Error(), "no good") {
		t.Errorf("got %v, want an error with what the program printed", err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s was left behind", dir)
	}
}

func TestCheckDir(t *testing.T) {
	for _, test := range []struct{ dir, want, complaint string }{
		{dir: "/tmp/warmrun-lab-0", want: "/tmp/warmrun-lab-0"},
		{dir: "/tmp/x/../lab", want: "/tmp/lab"},
		{dir: "/tmp/my lab", complaint: `" "`},
		{dir: "/tmp/it's", complaint: `"'"`},
		{dir: "/tmp/lab\n", complaint: `"\n"`},
		{dir: "/" + strings.Repeat("d", 90), complaint: "too long"},
	} {
		got, err := checkDir(test.dir)
		if test.complaint == "" && (err != nil || got != test.want) {
			t.Errorf("checkDir(%q) = %q, %v, want %q", test.dir, got, err, test.want)
		}
		if test.complaint != "" && (err == nil || !strings.Contains(err.Error(), test.complaint) || hint.Of(err) == "") {
			t.Errorf("checkDir(%q): %v (hint %q), want %s and a hint", test.dir, err, hint.Of(err), test.complaint)
		}
	}
}

func TestChooseUser(t *testing.T) {
	known := map[string]string{"root": "0", "postgres": "101", "nobody": "65534", "ann": "1000"}
	for _, test := range []struct{ name, sudo, without, want string }{
		{name: "ann", want: "ann"},
		{sudo: "ann", want: "ann"},
		{sudo: "root", want: "postgres"},
		{want: "postgres"},
		{without: "postgres", want: "nobody"},
		{name: "root"},
		{name: "bob"},
	} {
		lookup := func(name string) (*user.User, error) {
			if uid, ok := known[name]; ok && name != test.without {
				return &user.User{Username: name, Uid: uid}, nil
			}
			return nil, user.UnknownUserError(name)
		}
		getenv := func(string) string { return test.sudo }
		got, err := chooseUser(test.name, getenv, lookup)
		switch {
		case test.want == "" && (err == nil || hint.Of(err) == ""):
			t.Errorf("%+v: got %v, %v, want an error with a hint", test, got, err)
		case test.want != "" && (err != nil || got.Username != test.want):
			t.Errorf("%+v: got %v, %v, want %s", test, got, err, test.want)
		}
	}
}

func TestFindServerMissing(t *testing.T) {
	_, _, err := findServer(t.TempDir())
	if err == nil || hint.Of(err) == "" {
		t.Errorf("an empty directory: %v, want an error with a hint", err)
	}
	dir, version, err := findServer("")
	if err != nil || version < 10 {
		t.Errorf("got %s, %s, %v, want the newest server", dir, version, err)
	}
	if again, _, err := findServer(dir); err != nil || again != dir {
		t.Errorf("findServer(%q) = %q, %v, want the same", dir, again, err)
	}
}

// TestServersAreToldApart: a lab's own server counts, a process that merely
// works in its directory does not.
func TestServersAreToldApart(t *testing.T) {
	bin, _, err := findServer("")
	if err != nil {
		t.Fatal(err)
	}
	program, err := filepath.EvalSymlinks(filepath.Join(bin, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		exe, cwd string
		want     bool
	}{
		{program, "/lab/db1/data", true},
		{program, "/lab/db2/data", false},
		{"/bin/sh", "/lab/db1/data", false},
	} {
		if got := (running{exe: test.exe, cwd: test.cwd}).isServer(bin, []string{"/lab/db1/data"}); got != test.want {
			t.Errorf("isServer(%s in %s) = %v, want %v", test.exe, test.cwd, got, test.want)
		}
	}
	if !(running{exe: "/lab/db1/warmrun/bin/warmrun"}).runsFrom("/lab") || (running{exe: "/laboratory/warmrun"}).runsFrom("/lab") {
		t.Error("runsFrom does not keep to the directory")
	}
}
