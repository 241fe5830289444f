package engine

import (
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/warmrun/warmrun/walcore/hint"
)

// nodesError is the failure of a call on several nodes.
type nodesError struct {
	nodes []string
	errs  []error
}

func (e *nodesError) Error() string {
	var texts []string
	for i, err := range e.errs {
		texts = append(texts, fmt.Sprintf("on %s: %s", e.nodes[i], err))
	}
	return strings.Join(texts, "; ")
}

func (e *nodesError) Unwrap() []error { return e.errs }

// withHints carries the hints of all nodes, each once.
func (e *nodesError) withHints() error {
	var hints []string
	for _, err := range e.errs {
		if advice := hint.Of(err); advice != "" && !contains(hints, advice) {
			hints = append(hints, advice)
		}
	}
	if len(hints) == 0 {
		return e
	}
	return hint.Wrap(e, "%s", strings.Join(hints, "; "))
}

// nodeOutput writes whole lines, each behind the name of its node: those of several
// nodes come mixed.
type nodeOutput struct {
	to   io.Writer
	node string

	mu    sync.Mutex
	lines lineSplitter
}

func (o *nodeOutput) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines.each = o.print
	return o.lines.Write(p)
}

func (o *nodeOutput) print(line string) {
	_, _ = io.WriteString(o.to, o.node+": "+line+"\n") // nobody reads it any more
}

func (o *nodeOutput) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines.each = o.print
	o.lines.end()
}
