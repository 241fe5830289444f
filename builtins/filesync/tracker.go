package filesync

import (
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const progressInterval = 250 * time.Millisecond

// tracker counts what a copy does and tells its caller.
type tracker struct {
	opts    Options
	started time.Time

	files, bytes, literal, transferred atomic.Int64
	totalFiles, totalBytes             atomic.Int64

	mu    sync.Mutex // guards what is below, and calls of OnChange
	conns []*conn
	dirs  map[string]bool // whose names are still to be printed
	err   error           // of writing to Verbose
}

func newTracker(o Options) *tracker {
	return &tracker{opts: o, started: time.Now(), dirs: map[string]bool{}}
}

// watch counts a connection's traffic.
func (t *tracker) watch(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conns = append(t.conns, c)
}

func (t *tracker) traffic() (sent, received int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.conns {
		sent += c.sent.Load()
		received += c.received.Load()
	}
	return sent, received
}

// plan tells how much there is to do, and prints what the plan alone decides.
func (t *tracker) plan(p plan) {
	t.totalFiles.Store(int64(p.jobs.len()))
	t.totalBytes.Store(p.jobs.bytes)
	if t.opts.Verbose == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.print("building file list ... done")
	for _, r := range p.dirs {
		t.dirs[p.source.path(r)] = true
	}
	for _, r := range p.remove {
		if e := p.surplus.at(r); !isTemp(e.Path) {
			t.print("deleting " + t.name(e))
		}
	}
	for _, r := range p.links {
		e := p.source.at(r)
		t.printTree(e.Path)
		t.print(t.name(e) + " -> " + e.Target)
	}
	for _, l := range p.hardLinks {
		e := p.source.at(l.name)
		t.printTree(e.Path)
		t.print(t.name(e) + " => " + p.source.path(l.to))
	}
	for _, r := range p.meta {
		e := p.source.at(r)
		t.printTree(e.Path)
		t.print(t.name(e))
	}
}

func (t *tracker) handled(n, literal int) {
	t.bytes.Add(int64(n))
	t.literal.Add(int64(literal))
}

// ended counts a file and prints its name if it differed.
func (t *tracker) ended(e Entry, differed bool) {
	t.files.Add(1)
	if !differed {
		return
	}
	t.transferred.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.printTree(e.Path)
	t.print(t.name(e))
}

// changed passes a change on to the caller, or makes it an error.
func (t *tracker) changed(name string, c Change) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.opts.OnChange == nil {
		return fmt.Errorf("the file %s while it was copied", c)
	}
	return t.opts.OnChange(name, c)
}

// rest prints the directories in which nothing else was printed.
func (t *tracker) rest(p plan) {
	if t.opts.Verbose == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range slices.Backward(p.dirs) {
		t.printTree(path.Join(p.source.path(r), "x"))
	}
}

// printTree prints the directories above an entry that are still to be
// printed.
func (t *tracker) printTree(name string) {
	dir := path.Dir(name)
	if dir != "." {
		t.printTree(dir)
	}
	if t.dirs[dir] {
		delete(t.dirs, dir)
		t.print(t.name(Entry{Path: dir, Kind: Dir}))
	}
}

func (t *tracker) name(e Entry) string {
	name := t.opts.Prefix + e.Path
	if e.Path == "." {
		name = t.opts.Prefix
		if name == "" {
			name = "./"
		}
		return name
	}
	if e.Kind == Dir {
		name += "/"
	}
	return name
}

// fewer lets a copy go on when a further stream cannot be opened.
func (t *tracker) fewer(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	t.note(fmt.Sprintf("going on with fewer streams: %v", err))
	return nil
}

// note prints a line.
func (t *tracker) note(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.print(line)
}

func (t *tracker) print(line string) {
	if t.opts.Verbose == nil || t.err != nil {
		return
	}
	_, t.err = io.WriteString(t.opts.Verbose, line+"\n")
}

// report calls Progress until the returned function is called, which calls it
// a last time.
func (t *tracker) report(ctx context.Context) (stop func()) {
	if t.opts.Progress == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		ticker := time.NewTicker(progressInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				t.opts.Progress(t.progress(false))
			case <-ctx.Done():
				return
			}
		}
	})
	return func() {
		cancel()
		done.Wait()
		t.opts.Progress(t.progress(true))
	}
}

func (t *tracker) progress(last bool) Progress {
	sent, received := t.traffic()
	return Progress{
		Files: int(t.files.Load()), TotalFiles: int(t.totalFiles.Load()),
		Bytes: t.bytes.Load(), TotalBytes: t.totalBytes.Load(),
		Sent: sent, Received: received, Elapsed: time.Since(t.started), Done: last,
	}
}

func (t *tracker) summary(p plan) Summary {
	sent, received := t.traffic()
	return Summary{
		Files: p.files, Dirs: p.dirCount, Deleted: p.deleted, TotalSize: p.totalSize,
		Transferred: int(t.transferred.Load()), Literal: t.literal.Load(),
		Sent: sent, Received: received, Elapsed: time.Since(t.started),
	}
}
