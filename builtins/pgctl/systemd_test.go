package pgctl

import (
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
)

// fakeSystemctl is a systemd of shell: its systemctl starts a real server as the
// unit's main process, keeps a /proc of its own in which the process lies in
// the unit's control group, and notes how it was called. It allows what the
// file "allowed" says: "all", "sudo", "sudo X" for all by sudo but X, or "none".
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
allowed=$(cat @ROOT@/allowed)
shift
asks=no
[ "$1" = -l ] && asks=yes && shift
if [ "$allowed" = none ] || [ "$allowed" = "sudo $2" ]; then
	echo "sudo: a password is required" >&2
	exit 1
fi
[ $asks = yes ] && exit 0
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
	err := s.Start(t.Context(), StartOptions{})
	if err == nil || !strings.Contains(err.Error(), "not permitted to run") || !strings.Contains(hint.Of(err), "type: sudo systemctl start pg") || !strings.Contains(hint.Of(err), "sudoers") {
		t.Errorf("start: error %v (hint %q)", err, hint.Of(err))
	}
	checkNoControl(t, s, root)
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

// checkNoControl: the refusal says how to allow it, for both actions and by
// the name of the user who is refused.
func checkNoControl(t *testing.T, s Server, root string) {
	t.Helper()
	err := s.MayControl(t.Context())
	who, userErr := user.Current()
	if userErr != nil {
		t.Fatal(userErr)
	}
	want := who.Username + " ALL=(root) NOPASSWD: " + root + "/bin/systemctl start pg, " + root + "/bin/systemctl stop pg"
	if err == nil || !strings.Contains(err.Error(), who.Username+" may not start and stop pg.service, which runs the server in "+s.PGData) {
		t.Errorf("control: error %v", err)
	}
	for _, part := range []string{want, "visudo", "polkit", "org.freedesktop.systemd1.manage-units"} {
		if !strings.Contains(hint.Of(err), part) {
			t.Errorf("control: hint %q, want %q in it", hint.Of(err), part)
		}
	}
}

// Half a permission is none: what would be stopped could not be started again,
// or the other way round.
func TestMayControlAsksForBothActions(t *testing.T) {
	s, root := newUnitServer(t, "sudo")
	check := func(what string) {
		t.Helper()
		for _, test := range []struct {
			allowed string
			ok      bool
		}{{"sudo", true}, {"sudo start", false}, {"sudo stop", false}, {"none", false}, {"all", true}} {
			writeFile(t, filepath.Join(root, "allowed"), test.allowed)
			before := status(t, s).Running
			if err := s.MayControl(t.Context()); (err == nil) != test.ok {
				t.Errorf("%s, allowed %q: error %v", what, test.allowed, err)
			}
			if now := status(t, s).Running; now != before {
				t.Fatalf("%s, allowed %q: it runs: %v, before %v", what, test.allowed, now, before)
			}
		}
	}
	check("stopped")
	writeFile(t, filepath.Join(root, "allowed"), "all")
	if err := s.Start(t.Context(), StartOptions{}); err != nil {
		t.Fatal(err)
	}
	check("running")
	stop(t, s)
	// A node that is about to get its first copy has a unit already.
	version := readFile(t, filepath.Join(s.PGData, "PG_VERSION"))
	if err := os.Remove(filepath.Join(s.PGData, "PG_VERSION")); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(root, "allowed"), "none")
	checkNoControl(t, s, root)
	writeFile(t, filepath.Join(s.PGData, "PG_VERSION"), version)
}

// Without a service manager it takes the server's programs.
func TestMayControlNeedsPgCtl(t *testing.T) {
	s := newServer(t)
	s.machine = machine{root: t.TempDir()}
	s.BinDir = t.TempDir()
	if err := s.MayControl(t.Context()); err == nil || !strings.Contains(hint.Of(err), "bin_dir") {
		t.Errorf("error %v (hint %q), want one about bin_dir", err, hint.Of(err))
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
