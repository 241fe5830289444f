package pgctl

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
)

// fakeSystemctl is a systemd of shell: its systemctl starts a real server as the
// unit's main process, keeps a /proc of its own in which the process lies in
// the unit's control group, and notes how it was called. It allows what the
// file "allowed" says: "all", "sudo" or "none".
const fakeSystemctl = `#!/bin/sh
echo "systemctl $*" >> @ROOT@/calls
[ "$1" = --no-ask-password ] && shift
pid=$(head -n 1 @DATA@/postmaster.pid 2>/dev/null)
case $1 in
show) case $2 in
	*MainPID) echo "MainPID=${pid:-0}" ;;
	*Restart) cat @ROOT@/restart ;;
	esac
	exit ;;
esac
if [ "$(cat @ROOT@/allowed)" != all ] && [ -z "$AS_ROOT" ]; then
	echo "Failed to $1 $2.service: Interactive authentication required." >&2
	exit 1
fi
case $1 in
start)
	[ -n "$pid" ] && exit 0
	@AS@ @BIN@/pg_ctl start -D @DATA@ -l @DATA@/../log -s -w || exit 1
	pid=$(head -n 1 @DATA@/postmaster.pid)
	mkdir -p @ROOT@/proc/$pid
	ln -s /proc/$pid/cwd @ROOT@/proc/$pid/cwd
	sleep 0.1 # as a unit of type forking, whose main process is known late
	echo "0::/system.slice/$2.service" > @ROOT@/proc/$pid/cgroup ;;
stop)
	[ -z "$pid" ] || @AS@ @BIN@/pg_ctl stop -D @DATA@ -s -m fast ;;
esac
`

const fakeSudo = `#!/bin/sh
echo "sudo $*" >> @ROOT@/calls
if [ "$(cat @ROOT@/allowed)" = none ]; then
	echo "sudo: a password is required" >&2
	exit 1
fi
shift
AS_ROOT=1 exec "$@"
`

// newUnitServer is a server that the unit pg.service owns.
func newUnitServer(t *testing.T, allowed string) (s Server, root string) {
	t.Helper()
	s = newServer(t)
	var err error
	if s.BinDir, err = FindBinDir(testVersion(t), otherServer()); err != nil {
		t.Fatal(err)
	}
	as := ""
	if os.Geteuid() == 0 {
		as = "setpriv --reuid=postgres --regid=postgres --init-groups"
	}
	root = t.TempDir()
	fill := strings.NewReplacer("@ROOT@", root, "@DATA@", s.PGData, "@BIN@", s.BinDir, "@AS@", as)
	for name, content := range map[string]string{
		"bin/systemctl": fakeSystemctl, "bin/sudo": fakeSudo, "allowed": allowed, "restart": "Restart=no\n",
		"run/systemd/system/x": "", "proc/x": "",
		"etc/systemd/system/pg.service": "[Service]\nExecStart=" + s.BinDir + "/postgres -D " + s.PGData + "\n",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(fill.Replace(content)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.machine = machine{root: root, path: filepath.Join(root, "bin"), unprivileged: true}
	return s, root
}

func TestUnitStartsAndStopsItsServer(t *testing.T) {
	s, root := newUnitServer(t, "all")
	if st := status(t, s); st.Owner != OwnerSystemd || st.Unit != "pg.service" {
		t.Errorf("stopped: %+v", st)
	}
	if err := s.MayControl(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Start(t.Context(), StartOptions{}); err != nil {
		t.Fatal(err)
	}
	if st := status(t, s); !st.Running || st.Owner != OwnerSystemd || st.Unit != "pg.service" {
		t.Errorf("running: %+v", st)
	}
	if err := s.MayControl(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Start(t.Context(), StartOptions{Port: 1}); err != nil {
		t.Errorf("options for a server that runs already: %v", err)
	}
	stop(t, s)
	if got := state(t, s); got != walcore.StateShutDown {
		t.Errorf("control state %s", got)
	}
	if err := s.Start(t.Context(), StartOptions{Port: 1}); err == nil || !strings.Contains(err.Error(), "pg.service starts this server") {
		t.Errorf("a start with options: %v", err)
	}
	var calls []string
	for line := range strings.Lines(readFile(t, filepath.Join(root, "calls"))) {
		if !strings.Contains(line, " show ") {
			calls = append(calls, strings.TrimSpace(strings.TrimPrefix(line, "systemctl --no-ask-password ")))
		}
	}
	if got, want := strings.Join(calls, ", "), "stop pg, start pg, start pg, stop pg"; got != want {
		t.Errorf("calls: %q, want %q", got, want)
	}
}

func TestUnitThroughSudo(t *testing.T) {
	s, root := newUnitServer(t, "sudo")
	if err := s.Start(t.Context(), StartOptions{}); err != nil {
		t.Fatal(err)
	}
	stop(t, s)
	if calls := readFile(t, filepath.Join(root, "calls")); !strings.Contains(calls, "sudo -n "+root+"/bin/systemctl start pg\n") {
		t.Errorf("calls:\n%s", calls)
	}
}

func TestUnitThatIsNotOursToControl(t *testing.T) {
	s, root := newUnitServer(t, "none")
	for name, do := range map[string]func() error{
		"start":   func() error { return s.Start(t.Context(), StartOptions{}) },
		"control": func() error { return s.MayControl(t.Context()) },
	} {
		err := do()
		if err == nil || !strings.Contains(err.Error(), "not permitted to run") || !strings.Contains(hint.Of(err), "type: sudo systemctl st") || !strings.Contains(hint.Of(err), "sudoers") {
			t.Errorf("%s: error %v (hint %q)", name, err, hint.Of(err))
		}
	}
	if st := status(t, s); st.Running {
		t.Errorf("%+v", st)
	}
	writeFile(t, filepath.Join(root, "allowed"), "all")
	if err := s.Start(t.Context(), StartOptions{}); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(root, "allowed"), "none")
	if err := s.Stop(t.Context(), StopOptions{}); err == nil || !strings.Contains(hint.Of(err), "type: sudo systemctl stop pg;") {
		t.Errorf("stop: error %v (hint %q)", err, hint.Of(err))
	}
	if st := status(t, s); !st.Running {
		t.Errorf("after the refused stop: %+v", st)
	}
}

func TestOtherModesOfStoppingAUnit(t *testing.T) {
	s, root := newUnitServer(t, "all")
	for _, test := range []struct {
		mode    Mode
		policy  string
		refused bool
	}{
		{ModeSmart, "always", true}, {ModeSmart, "on-success", true}, {ModeSmart, "no", false}, {ModeSmart, "on-failure", false},
		{ModeImmediate, "on-failure", true}, {ModeImmediate, "no", false},
	} {
		if err := s.Start(t.Context(), StartOptions{}); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(root, "restart"), "Restart="+test.policy+"\n")
		err := s.Stop(t.Context(), StopOptions{Mode: test.mode})
		if running := status(t, s).Running; (err != nil) != test.refused || running != test.refused {
			t.Errorf("mode %s with Restart=%s: error %v, running %v, want refused %v", test.mode, test.policy, err, running, test.refused)
		}
	}
}
