// Package orphans buries servers and shippers that have died.
//
// A server that pg_ctl starts belongs to the first process of the system, which
// reaps it when it dies. The first process of a container often does so late or
// never. The dead server's number then stays in use, and the next one refuses
// to start: PostgreSQL looks whether the process in postmaster.pid exists
// (CreateLockFile in miscinit.c), and a zombie does.
package orphans

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/warmrun/warmrun/walcore/procstat"
)

// setChildSubreaper is PR_SET_CHILD_SUBREAPER of <linux/prctl.h>.
const setChildSubreaper = 36

// patience is how long a dead child that leads a session may be somebody else's
// to wait for. Who has started one collects it at once.
const patience = 10 * time.Second

// Adopt makes this process the parent of every orphan among its descendants, and
// reaps those that die: the PostgreSQL processes at once, and the leaders of a
// session, as a shipper is one, when nobody has waited for them in 10 seconds.
// It never touches another child, but one that this process has started itself and
// that is called postgres: whoever waits for that may find it buried. stop ends the
// reaping; it returns when no more is done.
func Adopt(ctx context.Context) (stop func(), err error) {
	return adopt(ctx, patience)
}

func adopt(ctx context.Context, patience time.Duration) (stop func(), err error) {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, setChildSubreaper, 1, 0); errno != 0 {
		return nil, fmt.Errorf("become the reaper of orphans: %w", errno)
	}
	ctx, cancel := context.WithCancel(ctx)
	died := make(chan os.Signal, 1)
	signal.Notify(died, syscall.SIGCHLD)
	again := time.NewTicker(patience)
	dead := map[int]time.Time{}
	var done sync.WaitGroup
	done.Go(func() {
		defer signal.Stop(died)
		defer again.Stop()
		for {
			dead = reap(dead, patience)
			select {
			case <-ctx.Done():
				return
			case <-died:
			case <-again.C:
			}
		}
	})
	return func() { cancel(); done.Wait() }, nil
}

// reap collects the dead among our children that are ours to collect. It returns
// the session leaders that it leaves, each with the time it was first seen dead.
func reap(dead map[int]time.Time, patience time.Duration) map[int]time.Time {
	left := map[int]time.Time{}
	for _, pid := range children() {
		p, err := procstat.Read(procstat.Root, pid)
		if err != nil || !p.Dead() {
			continue
		}
		switch since, seen := dead[pid]; {
		case p.Name == "postgres", seen && time.Since(since) >= patience:
			collect(pid)
		case p.Session != pid: // leads no session
		case seen:
			left[pid] = since
		default:
			left[pid] = time.Now()
		}
	}
	return left
}

// children are the processes that have one of our threads as their parent.
func children() []int {
	if listed, ok := childrenListed(); ok {
		return listed
	}
	return childrenFound()
}

// childrenListed asks the kernel, which is cheap. One that is missing because another
// has just ended is seen at the next look (proc(5)). ok is false where the kernel was
// built without such lists (CONFIG_PROC_CHILDREN).
func childrenListed() (pids []int, ok bool) {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return nil, false
	}
	for _, t := range threads {
		list, err := os.ReadFile("/proc/self/task/" + t.Name() + "/children")
		if err != nil {
			continue // the thread has ended
		}
		ok = true
		for pid := range strings.FieldsSeq(string(list)) {
			if n, err := strconv.Atoi(pid); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids, ok
}

// childrenFound looks at every process there is.
func childrenFound() (pids []int) {
	all, err := procstat.All(procstat.Root)
	if err != nil {
		return nil // no /proc, no orphans to be found
	}
	for _, p := range all {
		if p.Parent == os.Getpid() {
			pids = append(pids, p.PID)
		}
	}
	return pids
}

func collect(pid int) {
	for {
		if _, err := syscall.Wait4(pid, nil, syscall.WNOHANG, nil); !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}
