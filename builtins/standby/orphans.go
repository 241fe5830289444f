package standby

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/warmrun/warmrun/walcore/procstat"
)

// orphanPatience is how long the backends of a killed postmaster may take to
// notice that it is gone.
const orphanPatience = 30 * time.Second

// awaitOrphans waits until no server process works in the data directory any
// more. When a postmaster is killed its backends end by themselves, but only
// at their next wait: until then they may still write and flush WAL, so where
// the WAL ends is not settled before the last of them is gone.
func (n Node) awaitOrphans(ctx context.Context) error {
	dir, err := os.Stat(n.Server.PGData)
	if err != nil {
		return err
	}
	return poll(ctx, orphanPatience, "the processes of the dead server in "+n.Server.PGData+" to end", func(context.Context) (bool, string, error) {
		left, err := serverProcesses("/proc", dir)
		return len(left) == 0, fmt.Sprintf("still there: %v", left), err
	})
}

// serverProcesses lists the ids of PostgreSQL processes whose working directory
// is dir, where every process of a server stays. The directories themselves are
// compared: the same path may be another directory in another container.
func serverProcesses(proc string, dir os.FileInfo) ([]int, error) {
	pids, err := procstat.PIDs(proc)
	if err != nil {
		return nil, err
	}
	var found []int
	for _, pid := range pids {
		process := filepath.Join(proc, strconv.Itoa(pid))
		// Processes come and go, and others' cannot be read: neither is one of
		// this server's, which belong to the user that asks.
		cwd, err := os.Stat(filepath.Join(process, "cwd"))
		if err != nil || !os.SameFile(cwd, dir) {
			continue
		}
		exe, err := os.Readlink(filepath.Join(process, "exe"))
		if err == nil && strings.HasPrefix(filepath.Base(exe), "postgres") {
			found = append(found, pid)
		}
	}
	return found, nil
}
