package orphans

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestReapsDeadOrphans kills an orphan called postgres and two of another name. The
// first must vanish, and so must the one that leads a session, as a shipper does;
// the last may be somebody else's to wait for.
func TestReapsDeadOrphans(t *testing.T) {
	stop, err := adopt(t.Context(), 50*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var left string
	for _, test := range []struct {
		name, start string
		reaped      bool
	}{{"other", "", false}, {"postgres", "", true}, {"shipper", "setsid ", true}} {
		program := filepath.Join(dir, test.name)
		if err := os.Symlink(sleep, program); err != nil {
			t.Fatal(err)
		}
		// The shell ends at once and leaves an orphan behind.
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", test.start+program+" 300 >/dev/null & echo $!")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		pid := strings.TrimSpace(line)
		deadline := time.Now().Add(5 * time.Second)
		waitFor(t, deadline, "the orphan is ours", func() bool { return strings.Contains(statOf(pid), test.name) })
		kill(t, pid)
		waitFor(t, deadline, "the orphan is dead", func() bool { s := statOf(pid); return s == "" || strings.Contains(s, ") Z ") })
		if test.reaped {
			waitFor(t, deadline, "the orphan is reaped", func() bool { return statOf(pid) == "" })
		} else {
			left = pid
		}
	}
	if !strings.Contains(statOf(left), ") Z ") {
		t.Error("a dead process that leads no session was reaped, want it left alone")
	}
}

func statOf(pid string) string {
	data, err := os.ReadFile("/proc/" + pid + "/stat")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return ""
	}
	return string(data)
}

func kill(t *testing.T, pid string) {
	t.Helper()
	if err := exec.CommandContext(t.Context(), "kill", "-9", pid).Run(); err != nil {
		t.Fatal(err)
	}
}

func waitFor(t *testing.T, deadline time.Time, what string, done func() bool) {
	t.Helper()
	for !done() {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-t.Context().Done():
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// TestChildren finds a child in both ways.
func TestChildren(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sleep", "300")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	listed, ok := childrenListed()
	if ok && !slices.Contains(listed, cmd.Process.Pid) {
		t.Errorf("the kernel's list %v lacks the child %d", listed, cmd.Process.Pid)
	}
	if found := childrenFound(); !slices.Contains(found, cmd.Process.Pid) {
		t.Errorf("of all processes, %v are taken for children, want %d among them", found, cmd.Process.Pid)
	}
	kill(t, strconv.Itoa(cmd.Process.Pid))
	_ = cmd.Wait() // it was killed
}
