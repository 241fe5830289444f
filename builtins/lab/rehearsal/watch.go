package rehearsal

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/warmrun/warmrun/builtins/lab"
	"github.com/warmrun/warmrun/builtins/psql"
)

// What a node is, as its server says.
const (
	isPrimary = "primary"
	isStandby = "standby"
	isSilent  = "silent" // it runs, and takes no session
	isStopped = "stopped"
)

// How often every server is asked, and how long an answer may take.
const (
	watchEvery    = 15 * time.Millisecond
	watchPatience = 2 * time.Second
)

// watcher asks every server all the time whether it accepts writes.
type watcher struct {
	lab  *lab.Lab
	stop context.CancelFunc
	done sync.WaitGroup

	mu    sync.Mutex
	seen  map[string]string
	split string // what two nodes were seen
}

func watch(ctx context.Context, l *lab.Lab) *watcher {
	ctx, stop := context.WithCancel(ctx)
	w := &watcher{lab: l, stop: stop, seen: map[string]string{}}
	w.done.Go(func() { w.watch(ctx) })
	return w
}

// end returns what was wrong, or nothing.
func (w *watcher) end() string {
	w.stop()
	w.done.Wait()
	return w.split
}

// primaries are the nodes that accepted writes when they were asked last.
func (w *watcher) primaries() (names []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.lab.Nodes {
		if w.seen[n.Name] == isPrimary {
			names = append(names, n.Name)
		}
	}
	return names
}

func (w *watcher) watch(ctx context.Context) {
	conns := map[string]*psql.Conn{}
	defer func() {
		for _, conn := range conns {
			_ = conn.Close(context.WithoutCancel(ctx)) // only asked with it
		}
	}()
	// after holds, for each node that accepts writes, which others have been
	// seen to accept them after it was: when it is seen to do so once more, both
	// did at one time.
	after := map[string]map[string]bool{}
	for ctx.Err() == nil {
		for _, n := range w.lab.Nodes {
			now := w.ask(ctx, n, conns)
			w.note(n.Name, now, after)
		}
		select {
		case <-ctx.Done():
		case <-time.After(watchEvery):
		}
	}
}

// note takes an answer in. One node after the other is asked, and a node may be
// promoted right after another has stopped: only a node that accepts writes
// before and after another was seen to accept them has done so beside it.
func (w *watcher) note(name, now string, after map[string]map[string]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[name] = now
	if now != isPrimary {
		delete(after, name)
		return
	}
	for other := range after[name] {
		if w.split == "" {
			w.split = fmt.Sprintf("%s and %s accepted writes at the same time, seen at %s", name, other, time.Now().UTC().Format(time.StampMilli))
		}
	}
	after[name] = map[string]bool{}
	for other := range after {
		if other != name {
			after[other][name] = true
		}
	}
}

// ask keeps the session for the next time, where there is one.
func (w *watcher) ask(ctx context.Context, n lab.Node, conns map[string]*psql.Conn) string {
	ctx, cancel := context.WithTimeout(ctx, watchPatience)
	defer cancel()
	conn, err := conns[n.Name], error(nil)
	if conn == nil {
		conn, err = psql.Connect(ctx, w.lab.Target(n))
	}
	if err != nil {
		return silent(n)
	}
	recovering, err := conn.Value(ctx, "SELECT pg_is_in_recovery()")
	if err != nil {
		_ = conn.Close(context.WithoutCancel(ctx)) // it is broken already
		delete(conns, n.Name)
		return silent(n)
	}
	conns[n.Name] = conn
	if recovering == false {
		return isPrimary
	}
	return isStandby
}

func silent(n lab.Node) string {
	if n.Running() {
		return isSilent
	}
	return isStopped
}

// roles asks every node once.
func roles(ctx context.Context, l *lab.Lab) map[string]string {
	w := &watcher{lab: l}
	found, conns := map[string]string{}, map[string]*psql.Conn{}
	for _, n := range l.Nodes {
		found[n.Name] = w.ask(ctx, n, conns)
	}
	for _, conn := range conns {
		_ = conn.Close(context.WithoutCancel(ctx))
	}
	return found
}

func primaryOf(roles map[string]string) string {
	for _, name := range []string{"db1", "db2", "dr"} {
		if roles[name] == isPrimary {
			return name
		}
	}
	return ""
}
