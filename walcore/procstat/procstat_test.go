package procstat

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"testing"
)

// A process knows itself, and its dead child until it has taken notice.
func TestRead(t *testing.T) {
	self, err := Read(Root, os.Getpid())
	if err != nil || self.PID != os.Getpid() || self.Parent != os.Getppid() || self.Dead() || self.StartTicks == 0 || self.Name == "" {
		t.Fatalf("got %+v, %v", self, err)
	}
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	child, err := Read(Root, cmd.Process.Pid)
	if err != nil || child.Parent != os.Getpid() || child.Session != self.Session || child.Dead() {
		t.Errorf("got %+v, %v", child, err)
	}
	all, err := All(Root)
	if err != nil || !slices.ContainsFunc(all, func(p Process) bool { return p.PID == cmd.Process.Pid }) {
		t.Errorf("process %d is not among %d (%v)", cmd.Process.Pid, len(all), err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if p, err := Read(Root, cmd.Process.Pid); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %+v, %v, want that it is gone", p, err)
	}
}

func TestParse(t *testing.T) {
	const line = "7 (a (b) c) Z 3 4 5 0 -1 0 0 0 0 0 11 12 13 14 20 0 1 0 99 0 0\n"
	want := Process{Name: "a (b) c", State: 'Z', Parent: 3, Session: 5, StartTicks: 99, CPUTicks: 50}
	if got, ok := parse(line); !ok || got != want {
		t.Errorf("got %+v, %t, want %+v", got, ok, want)
	}
	for _, bad := range []string{"", ")", "7 (a) Z", "7 a Z 3 4 5 0 -1 0 0 0 0 0 11 12 13 14 20 0 1 0 99", "7 (a) Z x 4 5 0 -1 0 0 0 0 0 11 12 13 14 20 0 1 0 99"} {
		if got, ok := parse(bad); ok {
			t.Errorf("%q: got %+v, want none", bad, got)
		}
	}
}
