// Package orphans buries servers that have died.
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
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// setChildSubreaper is PR_SET_CHILD_SUBREAPER of <linux/prctl.h>.
const setChildSubreaper = 36

// Adopt makes this process the parent of every orphan among its descendants,
// and reaps the PostgreSQL processes among them as soon as they die. It never
// touches a child that this process has started itself, as long as that is not
// a postgres. stop ends the reaping; it returns when no more is done.
func Adopt(ctx context.Context) (stop func(), err error) {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, setChildSubreaper, 1, 0); errno != 0 {
		return nil, fmt.Errorf("become the reaper of orphans: %w", errno)
	}
	ctx, cancel := context.WithCancel(ctx)
	died := make(chan os.Signal, 1)
	signal.Notify(died, syscall.SIGCHLD)
	var done sync.WaitGroup
	done.Go(func() {
		defer signal.Stop(died)
		for {
			reap()
			select {
			case <-ctx.Done():
				return
			case <-died:
			}
		}
	})
	return func() { cancel(); done.Wait() }, nil
}

// reap collects the dead servers among our children.
func reap() {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return // the pattern is well formed
	}
	self := strconv.Itoa(os.Getpid())
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // gone meanwhile
		}
		// pid (comm) state ppid ... (proc(5))
		pid, rest, ok := strings.Cut(string(data), " (postgres) ")
		fields := strings.Fields(rest)
		if !ok || len(fields) < 2 || fields[0] != "Z" || fields[1] != self {
			continue
		}
		number, err := strconv.Atoi(pid)
		if err != nil {
			continue
		}
		for {
			_, err := syscall.Wait4(number, nil, syscall.WNOHANG, nil)
			if !errors.Is(err, syscall.EINTR) {
				break
			}
		}
	}
}
