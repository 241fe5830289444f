package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/tests/cluster"
)

// TestSegmentIsDurableBeforeItIsAcknowledged watches the system calls of the
// agent while a real archiver ships a real segment to it: write, fsync of the
// file, the final name, fsync of the directory, and only then the answer.
func TestSegmentIsDurableBeforeItIsAcknowledged(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, cluster.Options{})
	c.DB1.Must("distrib")
	c.DB2.Must("configStandby")
	c.DR.Must("configStandby")
	c.DB1.Must("copyToStandby")

	traces := watchAgent(t, c.DB2)
	c.DB1.Must("shipper", "stop") // its agent is not the one that is watched
	c.DB1.SQL("CREATE TABLE watched AS SELECT generate_series(1, 1000) AS i")
	segment := c.DB1.SQL("SELECT pg_walfile_name(pg_switch_wal())")
	cluster.Eventually(t, time.Minute, segment+" is archived", func() (bool, error) {
		last, err := c.DB1.TrySQL("SELECT last_archived_wal >= '" + segment + "' FROM pg_stat_archiver")
		return last == "true", err
	})
	calls := callsThatStored(t, traces, segment)
	archive := c.DB2.Archive()
	checkOrder(t, calls, filepath.Join(archive, segment), archive)
}

// watchAgent puts a wrapper in the program's place on a node, which runs it
// under strace. It returns where the traces will be.
func watchAgent(t *testing.T, n *cluster.Node) (traces string) {
	t.Helper()
	dir := filepath.Join(n.Dir, "traces")
	script := fmt.Sprintf(`set -e
mkdir %[1]s
mv %[2]s %[2]s.real
printf '#!/bin/sh\nexec strace -f -y -qq -s 16 -e trace=%[3]s -o %[1]s/$$ %[2]s.real "$@"\n' >%[2]s
chmod 755 %[2]s`, dir, n.Binary(), "write,writev,pwrite64,copy_file_range,splice,sendfile,fsync,fdatasync,link,linkat,rename,renameat,renameat2")
	if result := n.Exec("/bin/sh", "-c", script); result.Code != 0 {
		t.Fatalf("%s", result)
	}
	return n.Path(dir)
}

// call is one line of a trace. A call that another thread interrupted counts
// where it began, if it sends something, and where it ended otherwise.
type call struct {
	name, text string
}

var (
	completed  = regexp.MustCompile(`^\d+ +(\w+)\((.*)$`)
	unfinished = regexp.MustCompile(`^(\d+) +(\w+)\((.*) <unfinished \.\.\.>$`)
	resumed    = regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>(.*)$`)
)

func readTrace(t *testing.T, path string) []call {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var calls []call
	began := map[string]string{}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\n")
		if m := unfinished.FindStringSubmatch(line); m != nil {
			began[m[1]] = m[3]
			if m[2] == "write" {
				calls = append(calls, call{m[2], m[3]})
			}
		} else if m := resumed.FindStringSubmatch(line); m != nil {
			if m[2] != "write" {
				calls = append(calls, call{m[2], began[m[1]] + m[3]})
			}
		} else if m := completed.FindStringSubmatch(line); m != nil {
			calls = append(calls, call{m[1], m[2]})
		}
	}
	return calls
}

// callsThatStored finds the trace of the agent that stored the segment.
func callsThatStored(t *testing.T, dir, segment string) []call {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no traces in %s (%v): was the agent started at all?", dir, err)
	}
	for _, path := range paths {
		calls := readTrace(t, path)
		if slices.ContainsFunc(calls, func(c call) bool { return names(c, segment) }) {
			return calls
		}
	}
	t.Fatalf("none of %d traces in %s gives a file the name %s", len(paths), dir, segment)
	return nil
}

// names reports whether a call gives a file its final name.
func names(c call, segment string) bool {
	return (strings.HasPrefix(c.name, "rename") || strings.HasPrefix(c.name, "link")) && strings.Contains(c.text, segment+`"`)
}

// checkOrder finds the five steps in their order and nothing sent in between.
func checkOrder(t *testing.T, calls []call, final, archive string) {
	t.Helper()
	rename := slices.IndexFunc(calls, func(c call) bool { return names(c, filepath.Base(final)) })
	temp := firstPath(calls[rename].text)
	onTemp := func(names ...string) func(call) bool {
		return func(c call) bool { return slices.Contains(names, c.name) && strings.Contains(c.text, temp) }
	}
	wrote := lastBefore(calls, rename, onTemp("write", "writev", "pwrite64", "copy_file_range", "splice", "sendfile"))
	synced := lastBefore(calls, rename, onTemp("fsync", "fdatasync"))
	dirSynced := firstAfter(calls, rename, func(c call) bool {
		return c.name == "fsync" && strings.Contains(c.text, "<"+archive+">")
	})
	answered := firstAfter(calls, rename, func(c call) bool { return c.name == "write" && strings.HasPrefix(c.text, "1<") })
	if temp == "" || wrote < 0 || !(wrote < synced && synced < rename && rename < dirSynced && dirSynced < answered) {
		t.Errorf("write at %d, fsync at %d, name at %d, fsync of the directory at %d, answer at %d; want them in this order\n%s",
			wrote, synced, rename, dirSynced, answered, show(calls))
	}
}

// firstPath is the first path in the arguments of a rename or link.
func firstPath(text string) string {
	_, rest, _ := strings.Cut(text, `"`)
	path, _, _ := strings.Cut(rest, `"`)
	return filepath.Base(path)
}

func lastBefore(calls []call, limit int, is func(call) bool) int {
	for i := limit - 1; i >= 0; i-- {
		if is(calls[i]) {
			return i
		}
	}
	return -1
}

func firstAfter(calls []call, start int, is func(call) bool) int {
	for i := start + 1; i < len(calls); i++ {
		if is(calls[i]) {
			return i
		}
	}
	return -1
}

func show(calls []call) string {
	var b strings.Builder
	for i, c := range calls {
		if c.name == "write" && !strings.HasPrefix(c.text, "1<") && i > 200 {
			continue
		}
		fmt.Fprintf(&b, "%4d %s(%s\n", i, c.name, c.text)
	}
	return b.String()
}
