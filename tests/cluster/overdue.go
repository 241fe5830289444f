package cluster

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// beforeDeadline is how long before Go's own limit the tests are ended that hang.
// Go would print the stacks of thousands of goroutines after what matters.
const beforeDeadline = 20 * time.Second

// running is which clusters exist, by test, and since when.
var running struct {
	sync.Mutex
	watch sync.Once
	since map[string]time.Time
}

// watchOver ends all tests shortly before their deadline, and says which clusters
// still exist by then and what is being waited for.
func watchOver(t testing.TB) {
	if deadline, ok := deadlineOf(t); ok {
		running.watch.Do(func() {
			time.AfterFunc(time.Until(deadline)-beforeDeadline, func() {
				tellOverdue(os.Stderr)
				os.Exit(1)
			})
		})
	}
	running.Lock()
	defer running.Unlock()
	if running.since == nil {
		running.since = map[string]time.Time{}
	}
	running.since[t.Name()] = time.Now()
	t.Cleanup(func() {
		running.Lock()
		defer running.Unlock()
		delete(running.since, t.Name())
	})
}

func deadlineOf(t testing.TB) (time.Time, bool) {
	limited, ok := t.(interface{ Deadline() (time.Time, bool) })
	if !ok {
		return time.Time{}, false
	}
	return limited.Deadline()
}

// tellOverdue prints the goroutines that are in a test, and then, as the last that
// is seen, the tests.
func tellOverdue(w io.Writer) {
	stacks := make([]byte, 64<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for one := range strings.SplitSeq(string(stacks), "\n\n") {
		if strings.Contains(one, "testing.tRunner") && !strings.Contains(one, "testing.(*T).Parallel") {
			fmt.Fprintf(w, "%s\n\n", ownFrames(one))
		}
	}
	running.Lock()
	defer running.Unlock()
	names := make([]string, 0, len(running.since))
	for name, since := range running.since {
		names = append(names, fmt.Sprintf("%s, which has had its cluster for %s", name, time.Since(since).Round(time.Second)))
	}
	slices.Sort(names)
	fmt.Fprintf(w, "FAIL: the time for all tests is over, with these unfinished:\n  %s\n", strings.Join(names, "\n  "))
}

// ownFrames is a goroutine's stack without what is not this project's.
func ownFrames(stack string) string {
	lines := strings.Split(stack, "\n")
	kept := lines[:1]
	for i := 1; i+1 < len(lines); i += 2 {
		if strings.HasPrefix(lines[i], "github.com/warmrun/") {
			kept = append(kept, lines[i], lines[i+1])
		}
	}
	return strings.Join(kept, "\n")
}
