package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/warmrun/warmrun/builtins/lab/ledger"
	"github.com/warmrun/warmrun/builtins/psql"
)

// commandPatience bounds every command on a node.
const commandPatience = 5 * time.Minute

// Result is a command that has ended.
type Result struct {
	Node           string
	Args           []string
	Stdout, Stderr string
	Code           int // exit status; -1 for death by a signal
	Took           time.Duration
}

// String shows the command as it was typed and all that it printed.
func (r Result) String() string {
	return fmt.Sprintf("%s$ %s\n%s%s(exit status %d after %s)", r.Node, strings.Join(r.Args, " "), r.Stdout, r.Stderr, r.Code, r.Took.Round(time.Millisecond))
}

// Run runs `warmrun ARGS` on the node, as somebody types it who is logged in
// there, and returns whatever becomes of it.
func (n *Node) Run(args ...string) Result {
	n.c.t.Helper()
	result := n.Exec(n.Binary(), args...)
	result.Args[0] = "warmrun"
	return result
}

// Must is Run for a command that must succeed.
func (n *Node) Must(args ...string) Result {
	n.c.t.Helper()
	result := n.Run(args...)
	if result.Code != 0 {
		n.c.t.Fatalf("%s", result)
	}
	n.c.t.Logf("%s", result)
	return result
}

// Exec runs any program on the node, by its path there.
func (n *Node) Exec(program string, args ...string) Result {
	n.c.t.Helper()
	ctx, cancel := context.WithTimeout(n.c.t.Context(), commandPatience)
	defer cancel()
	return n.finish(n.Command(ctx, program, args...))
}

// finish starts a command that Command prepared, and waits for its end.
func (n *Node) finish(cmd *exec.Cmd) Result {
	n.c.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	start := time.Now()
	n.Start(cmd)
	err := cmd.Wait()
	result := Result{Node: n.Name, Args: cmd.Args, Stdout: stdout.String(), Stderr: stderr.String(), Took: time.Since(start)}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		result.Code = exit.ExitCode()
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		n.c.t.Fatalf("%s: %v", result, err)
	}
	return result
}

// Command prepares a program for the node: its user, its environment, its
// directory. Start starts it.
func (n *Node) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Env = n.Dir, n.Env()
	cmd.WaitDelay = 2 * time.Second // a server that was started keeps the pipes
	n.c.asAccount(cmd)
	return cmd
}

// asAccount makes a command one of the nodes' user.
func (c *Cluster) asAccount(cmd *exec.Cmd) {
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: c.account.uid, Gid: c.account.gid}}
	}
}

// Start starts a command that Command prepared, where the node is.
func (n *Node) Start(cmd *exec.Cmd) {
	n.c.t.Helper()
	n.place.do(n.c.t, func() {
		if err := cmd.Start(); err != nil {
			n.c.t.Fatalf("start %s on %s: %v", cmd.Path, n.Name, err)
		}
	})
}

// Env is the environment of somebody logged in to the node.
func (n *Node) Env() []string {
	return []string{
		"PATH=" + n.c.pgBin + ":/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME=" + n.Dir, "PGDATA=" + n.PGData,
		"USER=" + n.c.account.name, "LOGNAME=" + n.c.account.name, "LC_ALL=C",
	}
}

// Target is how the test reaches the node's server.
func (n *Node) Target() psql.Target {
	return psql.Target{SocketDir: n.Path(n.SocketDir), Port: n.Port, User: n.c.account.name, Database: "postgres", ApplicationName: "test"}
}

// SQL runs a statement on the node's server and returns the one value of a
// query as text.
func (n *Node) SQL(query string) string {
	n.c.t.Helper()
	got, err := n.TrySQL(query)
	if err != nil {
		n.c.t.Fatalf("%s on %s: %v", query, n.Name, err)
	}
	return got
}

// TrySQL is SQL for a server that may not answer.
func (n *Node) TrySQL(query string) (string, error) {
	ctx, cancel := context.WithTimeout(n.c.t.Context(), time.Minute)
	defer cancel()
	conn, err := psql.Connect(ctx, n.Target())
	if err != nil {
		return "", err
	}
	rows, err := conn.Query(ctx, query)
	if err := errors.Join(err, conn.Close(ctx)); err != nil || len(rows.Values) == 0 {
		return "", err
	}
	return fmt.Sprint(rows.Values[0][0]), nil
}

// Rows reads which rows of the ledger's table exist on the node.
func (n *Node) Rows() ledger.Set {
	n.c.t.Helper()
	rows, err := ledger.Rows(n.c.t.Context(), n.Target())
	if err != nil {
		n.c.t.Fatalf("%s: %v", n.Name, err)
	}
	return rows
}

// WaitReplay ends the current segment on the primary and waits until the node
// has replayed all of it.
func (n *Node) WaitReplay(primary *Node, patience time.Duration) {
	n.c.t.Helper()
	lsn := primary.SQL("SELECT pg_switch_wal()::text")
	Eventually(n.c.t, patience, fmt.Sprintf("%s has replayed up to %s", n.Name, lsn), func() (bool, error) {
		return n.Replayed(lsn)
	})
}

// Replayed reports whether the node, a standby, has replayed up to an LSN.
func (n *Node) Replayed(lsn string) (bool, error) {
	got, err := n.TrySQL("SELECT (pg_last_wal_replay_lsn() >= '" + lsn + "')::text")
	return got == "true", err
}

// Eventually waits until done reports true, and fails the test when it does not
// within the patience given. Errors count as not done; the last one is shown. Who
// waits long asks less often: a question may cost a server a session.
func Eventually(t testing.TB, patience time.Duration, what string, done func() (bool, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for start := time.Now(); ; {
		ok, err := done()
		if ok && err == nil {
			return
		}
		if pause(ctx, min(max(time.Since(start)/8, 20*time.Millisecond), 100*time.Millisecond)) != nil {
			t.Fatalf("waited %s in vain until %s (last error: %v)", patience, what, err)
		}
	}
}

// pause waits, but no longer than ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
