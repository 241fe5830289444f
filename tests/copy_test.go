package tests

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/warmrun/warmrun/tests/cluster"
)

// copied is what a line of copy --json can say.
type copied struct {
	Event       string `json:"event"`
	Bytes       int64  `json:"bytes"`
	Transferred int    `json:"transferred"`
	Deleted     int    `json:"deleted"`
	Literal     int64  `json:"literal"`
	TotalSize   int64  `json:"total_size"`
	Code        int    `json:"code"`
}

// TestCopy copies trees between nodes over a real sshd: there, back, again,
// with deletion, and after the process was killed on either side.
func TestCopy(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, cluster.Options{})
	c.DB1.Must("distrib")
	source, there := filepath.Join(c.DB1.Dir, "tree"), filepath.Join(c.DB2.Dir, "tree")
	for i := range 30 {
		c.DB1.Write(filepath.Join(source, fmt.Sprintf("part%d/file%d", i%3, i)), string(incompressible(i, 400_000)))
	}
	const total = 30 * 400_000

	t.Run("push", func(t *testing.T) {
		wantOutput(t, c.DB1.Must("copy", "-v", source, "db2:"+c.DB2.Dir), "\ntree/part0/file0\n", "total size is 12000000  speedup is ")
		sameTree(t, c.DB1, source, c.DB2, there)
		if again := summaryOf(t, c.DB1.Must("copy", "--json", source+"/", "db2:"+there)); again.Transferred != 0 || again.TotalSize != total {
			t.Errorf("pushed again: got %+v, want nothing transferred of %d bytes", again, total)
		}
	})
	t.Run("connections", func(t *testing.T) {
		logins := func() int { return strings.Count(c.DB2.SSHLog(), "Accepted publickey for ") }
		before := logins()
		c.DB1.Must("copy", "--streams=4", source+"/", "db2:"+filepath.Join(c.DB2.Dir, "wide"))
		if got := logins() - before; got != 2 {
			t.Errorf("a copy by two streams logged in %d times, want 2", got)
		}
		c.DB1.Must("copy", "--streams=1", source+"/", "db2:"+filepath.Join(c.DB2.Dir, "narrow"))
		if got := logins() - before; got != 3 {
			t.Errorf("a copy by one stream logged in %d times, want once", got-2)
		}
	})
	t.Run("delete", func(t *testing.T) {
		c.DB2.Write(filepath.Join(there, "part1/surplus"), "x")
		c.DB2.Write(filepath.Join(there, "kept.log"), "x")
		c.DB1.Must("copy", source+"/", "db2:"+there)
		if !c.DB2.Exists(filepath.Join(there, "part1/surplus")) {
			t.Error("without --delete the target lost what the source does not have")
		}
		wantOutput(t, c.DB1.Must("copy", "-v", "--delete", "--exclude=*.log", source+"/", "db2:"+there), "deleting part1/surplus\n")
		if c.DB2.Exists(filepath.Join(there, "part1/surplus")) || !c.DB2.Exists(filepath.Join(there, "kept.log")) {
			t.Error("with --delete, want the surplus gone and what is excluded kept")
		}
	})
	t.Run("pull", func(t *testing.T) {
		back := filepath.Join(c.DB1.Dir, "back")
		c.DB1.Must("copy", "--compress=s2", "--streams=2", "--exclude=kept.log", "db2:"+there+"/", back)
		sameTree(t, c.DB1, source, c.DB1, back)
	})
	t.Run("killed", func(t *testing.T) {
		stoppedCopy(t, c, syscall.SIGKILL, source, "db2:"+filepath.Join(c.DB2.Dir, "pushed"), total)
		sameTree(t, c.DB1, source, c.DB2, filepath.Join(c.DB2.Dir, "pushed", "tree"))
		stoppedCopy(t, c, syscall.SIGKILL, "db2:"+there, filepath.Join(c.DB1.Dir, "pulled"), total)
		if err := os.Remove(c.DB1.Path(filepath.Join(c.DB1.Dir, "pulled/tree/kept.log"))); err != nil {
			t.Fatal(err)
		}
		sameTree(t, c.DB1, source, c.DB1, filepath.Join(c.DB1.Dir, "pulled", "tree"))
	})
	t.Run("interrupted", func(t *testing.T) {
		stoppedCopy(t, c, syscall.SIGTERM, source, "db2:"+filepath.Join(c.DB2.Dir, "stopped"), total)
		sameTree(t, c.DB1, source, c.DB2, filepath.Join(c.DB2.Dir, "stopped", "tree"))
	})
	t.Run("refused", func(t *testing.T) { refusedCopies(t, c, source) })
}

// stoppedCopy sends a signal to a copy when a third of it is done. The next one
// sends less than the whole.
func stoppedCopy(t *testing.T, c *cluster.Cluster, by syscall.Signal, from, to string, total int64) {
	t.Helper()
	cmd := c.DB1.Command(t.Context(), c.DB1.Binary(), "copy", "--json", "--max-rate=3MB", from, to)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	c.DB1.Start(cmd)
	var last copied
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if err := json.Unmarshal(lines.Bytes(), &last); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		if last.Event == "progress" && last.Bytes > total/3 {
			_ = cmd.Process.Signal(by) // a second one does no harm
		}
	}
	_ = cmd.Wait() // its code is looked at
	switch code := cmd.ProcessState.ExitCode(); {
	case last.Event == "summary":
		t.Fatal("the copy ended before it could be stopped")
	case by == syscall.SIGTERM && (code != 4 || last.Event != "error" || last.Code != 4 || !strings.Contains(stderr.String(), "is half done; run the same copy again, it goes on from what is there")):
		t.Errorf("%s to %s, stopped: got exit status %d, %+v and\n%s\nwant 4 and what to do", from, to, code, last, stderr.String())
	}
	if rest := summaryOf(t, c.DB1.Must("copy", "--json", from, to)); rest.Literal == 0 || rest.Literal > total*5/6 {
		t.Errorf("%s to %s, stopped by %s at a third: then %d bytes were sent, want less than five sixths of %d", from, to, by, rest.Literal, total)
	}
}

// refusedCopies are wrong calls: a line, a hint, an exit code, and nothing
// changed there.
func refusedCopies(t *testing.T, c *cluster.Cluster, source string) {
	for _, test := range []struct {
		name     string
		from, to string
		code     int
		says     []string
	}{
		{"no source there", "db2:/no/such/place", c.DB1.Dir + "/made", 3, []string{"/no/such/place", "no such file"}},
		{"over a running server here", source + "/", "db1:" + c.DB1.PGData, 1, []string{"the server of db1 runs in " + c.DB1.PGData, "hint: nothing was changed; stop it first"}},
		{"into a running server's files", source, c.DB1.PGData + "/base", 1, []string{"the server of db1 runs in " + c.DB1.PGData}},
		{"into the archive there", source, "db2:" + c.DB2.Archive(), 1, []string{"is in the WAL archive of db2", "hint: nothing was changed"}},
		{"a file there", "db2:" + c.DB2.Dir + "/tree/part0/file0", c.DB1.Dir + "/made", 1, []string{"file0 is not a directory"}},
		{"below what nobody may write", source, "db2:/usr/made", 1, []string{"/usr/made", "permission denied", "hint: nothing was copied or removed"}},
	} {
		result := c.DB1.Run("copy", "--delete", test.from, test.to)
		if result.Code != test.code {
			t.Errorf("%s: %s\nwant exit status %d", test.name, result, test.code)
		}
		for _, text := range append(test.says, "warmrun: error: ") {
			if !strings.Contains(result.Stderr, text) {
				t.Errorf("%s: %s\nwant %q", test.name, result, text)
			}
		}
	}
	if c.DB1.Exists(filepath.Join(c.DB1.Dir, "made")) {
		t.Error("a copy that was refused has left a directory")
	}
	c.DB1.SQL("CHECKPOINT") // the server has all its files
}

// TestCopyByRunbook: a runbook pushes a tree, and has another node pull it, with what
// happened as a table; the base copy packs what it sends and names its files.
func TestCopyByRunbook(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, cluster.Options{})
	c.DB1.Write(filepath.Join(c.DB1.Dir, "tree/one"), "1")
	c.DB1.Write(filepath.Join(c.DB1.Home, "global/runbooks/move.lua"), `return runbook {
  api = 1, name = "move", summary = "Copy a tree around", runs_on = "any", lock = "none",
  steps = {
    step { "push", run = function(c)
      local done = copy.push("db1", { to = "db2", source = "`+c.DB1.Dir+`/tree", target = "`+c.DB2.Dir+`/tree", verbose = true })
      say("pushed %d of %d", done.transferred, done.files)
    end },
    step { "pull", run = function(c)
      local done = copy.pull("dr", { from = "db2", source = "`+c.DB2.Dir+`/tree", target = "`+c.DR.Dir+`/tree", delete = true, exclude = { "*.tmp" } })
      say("pulled %d of %d", done.transferred, done.files)
    end },
  },
}
`)
	c.DB1.Must("distrib")
	wantOutput(t, c.DB1.Must("move", "--plan"), "copy "+c.DB1.Dir+"/tree on db1 to db2:"+c.DB2.Dir+"/tree", "copy "+c.DB2.Dir+"/tree on db2 to "+c.DR.Dir+"/tree on dr")
	wantOutput(t, c.DB1.Must("move"), "    one\n", "pushed 1 of 1", "pulled 1 of 1")
	sameTree(t, c.DB1, filepath.Join(c.DB1.Dir, "tree"), c.DR, filepath.Join(c.DR.Dir, "tree"))

	c.DB2.Must("configStandby")
	result := c.DB1.Must("copyToStandby", "--compress=s2", "--verbose")
	wantOutput(t, result, "base/1/PG_VERSION\n", "global/\n", "total size is ")
	if n := strings.Count(result.Stdout, "speedup is"); n != 1 {
		t.Errorf("%s\nwant one summary, got %d", result, n)
	}
}

// TestVerifyCopy: a base copy is compared with its manifest as a step of the
// copy and later, until a server runs on it.
func TestVerifyCopy(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, cluster.Options{})
	c.DB1.Must("distrib")
	c.DB2.Must("configStandby")
	if result := c.DB2.Run("verifyCopy"); result.Code != 3 || !strings.Contains(result.Stderr, "is not a data directory") {
		t.Errorf("%s\nwant exit status 3: there is no copy", result)
	}
	wantOutput(t, c.DB1.Must("copyToStandby", "--verify"), "==> verify  [3/6]", "files on db2 are as they were copied")
	wantOutput(t, c.DB2.Must("verifyCopy"), "needs WAL from 0/", ": all is well")

	victim := c.DB2.Path(filepath.Join(c.DB2.PGData, "base/1/PG_VERSION"))
	intact := readFile(t, victim)
	replaceFile(t, victim, "99\n")
	result := c.DB2.Run("verifyCopy", "--json")
	var report struct {
		Findings []struct{ Problem, Path string } `json:"findings"`
	}
	if err := json.Unmarshal([]byte(result.Stdout), &report); err != nil || result.Code != 1 || len(report.Findings) != 1 || report.Findings[0].Path != "base/1/PG_VERSION" || report.Findings[0].Problem != "changed" {
		t.Errorf("%s\nwant exit status 1 and one file that was changed (%v)", result, err)
	}
	wantOutput(t, c.DB2.Run("verifyCopy"), "base/1/PG_VERSION: changed", ": 1 finding\n")
	replaceFile(t, victim, intact)

	c.DB2.StartServer()
	c.DB2.WaitReplay(c.DB1, catchUp)
	if result := c.DB2.Run("verifyCopy"); result.Code != 1 || !strings.Contains(result.Stderr, "a server runs in "+c.DB2.PGData) {
		t.Errorf("%s\nwant a refusal: a server changes its files", result)
	}
	c.DB2.StopServer("fast")
	if result := c.DB2.Run("verifyCopy"); !strings.Contains(result.Stderr, "a server was started from this copy") {
		t.Errorf("%s\nwant to be told that a server has changed the files", result)
	}
}

// incompressible is content that packing does not make smaller.
func incompressible(seed, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(b) // never fails
	return b
}

// summaryOf is the last line of copy --json.
func summaryOf(t *testing.T, result cluster.Result) copied {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(result.Stdout), "\n")
	var last copied
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || last.Event != "summary" {
		t.Fatalf("%s\nwant a summary at its end (%v)", result, err)
	}
	return last
}

// sameTree compares two trees file by file.
func sameTree(t *testing.T, a *cluster.Node, left string, b *cluster.Node, right string) {
	t.Helper()
	if out, err := exec.Command("diff", "-r", a.Path(left), b.Path(right)).CombinedOutput(); err != nil {
		t.Errorf("%s and %s differ: %v\n%s", left, right, err, out)
	}
}
