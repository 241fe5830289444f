package tests

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/warmrun/warmrun/builtins/lab/rehearsal"
	"github.com/warmrun/warmrun/runbooks"
	"github.com/warmrun/warmrun/tests/cluster"
)

// rehearser runs warmrun rehearse, which makes its own lab.
type rehearser struct {
	*testing.T
	binary string
}

func newRehearser(t *testing.T) rehearser {
	t.Helper()
	r := rehearser{t, filepath.Join(t.TempDir(), "warmrun")}
	if err := os.WriteFile(r.binary, cluster.Program(t, ""), 0o755); err != nil {
		t.Fatal(err)
	}
	return r
}

// rehearse returns what is printed, and the exit status.
func (r rehearser) rehearse(args ...string) (stdout, stderr string, code int) {
	r.Helper()
	cmd := exec.CommandContext(r.Context(), r.binary, append([]string{"rehearse"}, args...)...)
	// The lab must be taken down: it ends by itself when it is asked to.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	cmd.Dir = "/"
	var out, complaints strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.Fatalf("rehearse %v: %v\n%s%s", args, err, out.String(), complaints.String())
	}
	return out.String(), complaints.String(), cmd.ProcessState.ExitCode()
}

// TestCrashMatrix kills what drives a shipped runbook, its connections and its
// servers, at the boundaries of its steps. make test does it where a switchover has
// passed its line of no return and promotes, and where a primary dies before it is
// stopped; make crash-matrix, which sets CRASH_MATRIX=all, does all of it.
func TestCrashMatrix(t *testing.T) {
	t.Parallel()
	r := newRehearser(t)
	tries := [][]string{
		{"switchover", "--only", "triggerStandby/trigger"},
		// Its service manager starts the dead primary again before it is fenced.
		{"flushPrimary", "--only", "stop", "--at", "before", "--kill", "server"},
		// An old primary whose last WAL a failover has given up.
		{"rejoin", "--only", "rewind", "--at", "before", "--kill", "ssh"},
	}
	if os.Getenv("CRASH_MATRIX") == "all" {
		// Left alone, rejoin rewinds what it finds here, and starts it in a switchback.
		tries = [][]string{{"rejoin", "--copy"}}
		files, err := runbooks.Files.ReadDir(".")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if name, ok := strings.CutSuffix(file.Name(), ".lua"); ok {
				tries = append(tries, []string{name})
			}
		}
	}
	for _, try := range tries {
		t.Run(strings.Join(try, " "), func(t *testing.T) {
			t.Parallel()
			r := rehearser{t, r.binary}
			out, complaints, code := r.rehearse(append(try, "--crash")...)
			t.Log(out)
			if code != 0 {
				t.Errorf("exit status %d\n%s", code, complaints)
			}
		})
	}
}

// site makes a home directory with a runbook of its own.
func (r rehearser) site(name, text string) (home string) {
	r.Helper()
	// Below it a user other than this one must be able to read.
	home, err := os.MkdirTemp("", "warmrun-site-")
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() {
		if err := os.RemoveAll(home); err != nil {
			r.Error(err)
		}
	})
	dir := filepath.Join(home, "global", "runbooks")
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.Mkdir(filepath.Join(home, "local"), 0o755), os.Chmod(home, 0o755)); err != nil {
		r.Fatal(err)
	}
	write(r.T, filepath.Join(home, "global", "cluster.toml"), "[cluster]\nname = 'own'\n[[node]]\nname = 'a'\nrole = 'pair'\nhost = 'localhost'\npgdata = '/nowhere'\nhome = '"+home+"'\n")
	write(r.T, filepath.Join(home, "local", "node"), "a\n")
	write(r.T, filepath.Join(dir, name+".lua"), text)
	return home
}

// TestRehearsalFinds: a runbook of the site's own that makes a second node accept
// writes, and one that loses a row, are found out.
func TestRehearsalFinds(t *testing.T) {
	t.Parallel()
	r := newRehearser(t)
	for _, test := range []struct{ name, body, want string }{
		{"two primaries", `psql.exec(c.partner, "SELECT pg_promote()")`, "accepted writes at the same time"},
		{"a lost row", `psql.exec(c.node, "DELETE FROM warmrun_ledger WHERE id = 1")`, "lacks rows that clients were told are safe: 1 (1 ids)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := rehearser{t, r.binary}
			home := r.site("own", `return runbook {
  api = 1, name = "own", summary = "what a site has thought up", runs_on = "primary", lock = "cluster",
  steps = { step { "do it", undo = false, run = function(c) `+test.body+` end } },
}
`)
			out, complaints, code := r.rehearse("own", "--home", home)
			if code != 1 || !strings.Contains(out, test.want) || !strings.Contains(out, "FAILED: 1 of 1 runs") {
				t.Errorf("exit status %d\n%s%s\nwant 1 and %q", code, out, complaints, test.want)
			}
		})
	}
}

// TestRehearsalOfExtension: an extension of the site's own is rehearsed with the
// runbook, each of its boundaries too; what cannot be told of its step is told by
// the operator.
func TestRehearsalOfExtension(t *testing.T) {
	t.Parallel()
	r := newRehearser(t)
	home := r.site("own", `return runbook {
  api = 1, name = "own", summary = "count", runs_on = "primary", lock = "cluster",
  params = { by = param.integer { default = 1, help = "how much" } },
  steps = {
    step { "table", undo = false, repeatable = true, run = function(c) psql.exec(c.node, "CREATE TABLE IF NOT EXISTS n AS SELECT 0 AS n") end },
    step { "count", undo = false, run = function(c) psql.exec(c.node, "UPDATE n SET n = n + $1", c.params.by) end },
    step { "look", run = function(c)
      local n = psql.value(c.node, "SELECT n FROM n")
      if n ~= c.params.by then fail(string.format("counted to %d", n)) end
    end },
    step { "never", undo = false, when = function(c) return false end, run = function(c) psql.exec(c.node, "DROP TABLE n") end },
  },
}
`)
	out, complaints, code := r.rehearse("--json", "--crash", "--kill", "warmrun", "--only", "count", "own", "--by", "3", "--home", home)
	var report rehearsal.Report
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 0 {
		t.Fatalf("exit status %d, %v\n%s%s", code, err, out, complaints)
	}
	if !report.Passed || !slices.Equal(report.Skipped, []string{"never"}) || !strings.Contains(report.Command, "own --by=3") {
		t.Errorf("%+v\nwant it passed, with never skipped and --by=3", report)
	}
	var did []string
	for _, row := range report.Rows[1:] {
		did = append(did, string(row.Boundary.At)+": "+strings.Join(row.Did, ", "))
	}
	want := []string{
		"before: resume, resume --repeat count", "before: rollback",
		"changed: resume, resume --done count", "changed: rollback",
		"ended: resume", "ended: rollback",
	}
	if !slices.Equal(did, want) {
		t.Errorf("the operator did %q, want %q", did, want)
	}
}

// TestRehearsalInterrupted: Ctrl-C takes the lab down.
func TestRehearsalInterrupted(t *testing.T) {
	t.Parallel()
	r := newRehearser(t)
	dir := filepath.Join(os.TempDir(), "warmrun-interrupted")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, r.binary, "rehearse", "switchover", "--lab-dir", dir)
	cmd.Dir = "/"
	cmd.WaitDelay = time.Minute
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		if _, err := os.Stat(filepath.Join(dir, "db1", "data", "postmaster.pid")); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the lab does not come up")
		}
		time.Sleep(20 * time.Millisecond)
	}
	cancel()
	if err := cmd.Wait(); err == nil {
		t.Error("it ended well, though it was interrupted")
	}
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s is left", dir)
	}
}
