package walcore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestStartupTitle(t *testing.T) {
	tests := []struct {
		title string
		want  bool
	}{
		{"postgres: startup process   recovering 000000010000000000000028", true}, // 10
		{"postgres: startup process   waiting for 000000010000000000000028", true},
		{"postgres: startup process", true},
		{"postgres: startup recovering 000000010000000000000003", true}, // 11 on
		{"postgres: startup waiting for 000000010000000000000003", true},
		{"postgres: startup recovering 000000010000000000000003 waiting", true}, // on a lock
		{"postgres: startup", true},                                             // update_process_title off
		{"postgres: main: startup recovering 000000010000000000000003", true},
		{"postgres: 15/main: startup waiting for 000000010000000000000003", true},
		{"postgres: startup mydb [local] idle", false}, // a user called startup
		{"postgres: main: startup mydb 127.0.0.1(4711) idle", false},
		{"postgres: walreceiver streaming 0/3000000", false},
		{"postgres: checkpointer", false},
		{"/usr/lib/postgresql/15/bin/postgres -D data", false},
		{"", false},
	}
	for _, tt := range tests {
		if got := startupTitle().MatchString(tt.title); got != tt.want {
			t.Errorf("%q: got %v, want %v", tt.title, got, tt.want)
		}
	}
}

// fakeProcesses is a process table in a directory.
type fakeProcesses struct {
	t   *testing.T
	dir string
}

func (f fakeProcesses) add(pid, parent int, ticks uint64, title, cwd string) {
	f.t.Helper()
	dir := filepath.Join(f.dir, fmt.Sprint(pid))
	// A name with a parenthesis and blanks must not confuse the reader.
	stat := fmt.Sprintf("%d (post) gres) S %d%s %d%s\n", pid, parent, strings.Repeat(" 0", 17), ticks, strings.Repeat(" 1", 30))
	err := errors.Join(os.MkdirAll(dir, 0o700),
		os.WriteFile(filepath.Join(dir, "stat"), []byte(stat), 0o600),
		os.WriteFile(filepath.Join(dir, "cmdline"), []byte(title+"\x00\x00  "), 0o600),
		os.RemoveAll(filepath.Join(dir, "cwd")), os.Symlink(cwd, filepath.Join(dir, "cwd")))
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f fakeProcesses) children(pid int, children string) {
	f.t.Helper()
	dir := filepath.Join(f.dir, fmt.Sprint(pid), "task", fmt.Sprint(pid))
	err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "children"), []byte(children), 0o600))
	if err != nil {
		f.t.Fatal(err)
	}
}

func TestNudge(t *testing.T) {
	const startup = "postgres: startup waiting for 000000010000000000000002"
	tests := []struct {
		what    string
		name    string
		prepare func(s *restoreSite, f fakeProcesses, w *Wanted)
		want    bool
	}{
		{"a wanted segment", seg2, func(*restoreSite, fakeProcesses, *Wanted) {}, true},
		{"the next timeline's", "000000020000000000000002", func(*restoreSite, fakeProcesses, *Wanted) {}, true},
		{"any history", "00000007.history", func(*restoreSite, fakeProcesses, *Wanted) {}, true},
		{"the segment served last, replaced", seg1, func(*restoreSite, fakeProcesses, *Wanted) {}, true},
		{"a segment nobody wants", seg3, func(*restoreSite, fakeProcesses, *Wanted) {}, false},
		{"a backup label", seg1 + ".00000028.backup", func(*restoreSite, fakeProcesses, *Wanted) {}, false},
		{"a restore waits", seg2, func(_ *restoreSite, _ fakeProcesses, w *Wanted) { w.Waiting = true }, false},
		{"children listed by the kernel", seg2, func(_ *restoreSite, f fakeProcesses, _ *Wanted) { f.children(100, "102 101 ") }, true},
		{"children listed without the startup process", seg2, func(_ *restoreSite, f fakeProcesses, _ *Wanted) { f.children(100, "102") }, true},
		{"no server", seg2, func(s *restoreSite, _ fakeProcesses, _ *Wanted) { os.Remove(filepath.Join(s.pgdata, "postmaster.pid")) }, false},
		{"another server since", seg2, func(s *restoreSite, f fakeProcesses, _ *Wanted) {
			f.add(100, 1, 778, "postgres", s.pgdata)
		}, false},
		{"the same process after a reboot", seg2, func(s *restoreSite, _ fakeProcesses, _ *Wanted) {
			s.write(filepath.Join(s.pgdata, "postmaster.pid"), fmt.Appendf(nil, "100\n%s\n5001\n", s.pgdata))
		}, false},
		{"the process runs elsewhere", seg2, func(s *restoreSite, f fakeProcesses, _ *Wanted) {
			f.add(100, 1, 777, "postgres", s.archive)
		}, false},
		{"no startup process", seg2, func(s *restoreSite, f fakeProcesses, _ *Wanted) {
			f.add(101, 100, 778, "postgres: checkpointer", s.pgdata)
		}, false},
		{"two that may be it", seg2, func(s *restoreSite, f fakeProcesses, _ *Wanted) {
			f.add(103, 100, 779, "postgres: startup", s.pgdata)
		}, false},
		{"somebody else's startup process", seg2, func(s *restoreSite, f fakeProcesses, _ *Wanted) {
			f.add(101, 99, 778, startup, s.pgdata)
		}, false},
		{"the startup process changes while it is signalled", seg2, func(s *restoreSite, f fakeProcesses, w *Wanted) {
			w.Reported = []string{"swap"} // tells the fake signal below
		}, false},
	}
	for _, tt := range tests {
		s := newRestoreSite(t, "standby.signal")
		f := fakeProcesses{t, t.TempDir()}
		s.write(filepath.Join(s.pgdata, "postmaster.pid"), fmt.Appendf(nil, "100\n%s\n5000\n", s.pgdata))
		f.add(100, 1, 777, "/usr/bin/postgres", s.pgdata)
		f.add(101, 100, 778, startup, s.pgdata)
		f.add(102, 100, 778, "postgres: checkpointer", s.pgdata)
		w := Wanted{
			PGData: s.pgdata, Server: Server{100, 777, 5000}, LastServed: seg1,
			Names: []FileName{"000000020000000000000002", seg2, "00000002.history"},
		}
		tt.prepare(s, f, &w)
		stateKeeper{archive: s.archive, pgdata: s.pgdata}.save(w, false)
		var hit int
		n := nudger{procs: processTable(f.dir), log: t.Logf}
		n.signal = func(confirm func() error, pid int) error {
			if len(w.Reported) > 0 {
				f.add(101, 100, 790, startup, s.pgdata)
			}
			err := confirm()
			if err == nil {
				hit = pid
			}
			return err
		}
		if err := n.nudge(context.Background(), &Archive{dir: s.archive}, FileName(tt.name)); err != nil {
			t.Errorf("%s: got error %v", tt.what, err)
		}
		if want := map[bool]int{true: 101}[tt.want]; hit != want {
			t.Errorf("%s: signalled process %d, want %d", tt.what, hit, want)
		}
	}
}

func TestNudgeWithoutState(t *testing.T) {
	s := newRestoreSite(t, "")
	if err := (&Archive{dir: s.archive}).Nudge(context.Background(), seg1); err != nil {
		t.Errorf("an archive that nobody restores from: got %v", err)
	}
	if err := os.Remove(s.archive); err != nil {
		t.Fatal(err)
	}
	if err := (&Archive{dir: s.archive}).Nudge(context.Background(), seg1); !errors.Is(err, ErrNoArchive) {
		t.Errorf("no archive: got %v, want ErrNoArchive", err)
	}
}

func TestDescends(t *testing.T) {
	f := fakeProcesses{t, t.TempDir()}
	f.add(1, 0, 1, "init", "/")
	f.add(20, 1, 2, "postgres", "/")
	f.add(30, 20, 3, "postgres: startup", "/")
	f.add(40, 30, 4, "sh", "/")
	procs := processTable(f.dir)
	for ancestor, want := range map[int]bool{30: true, 20: true, 1: true, 40: false, 50: false} {
		if got := procs.descends(40, ancestor); got != want {
			t.Errorf("descends(40, %d): got %v, want %v", ancestor, got, want)
		}
	}
}

func FuzzReadProcess(f *testing.F) {
	f.Add("1 (a b) c) S 7 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 99" + strings.Repeat(" 1", 30))
	f.Add(")")
	f.Fuzz(func(t *testing.T, stat string) {
		dir := t.TempDir()
		if err := errors.Join(os.Mkdir(filepath.Join(dir, "5"), 0o700), os.WriteFile(filepath.Join(dir, "5", "stat"), []byte(stat), 0o600)); err != nil {
			t.Fatal(err)
		}
		if p, err := processTable(dir).read(5); err == nil && p.PID != 5 {
			t.Errorf("%q: got %+v", stat, p)
		}
	})
}
