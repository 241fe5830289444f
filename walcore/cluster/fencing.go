package cluster

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/warmrun/warmrun/walcore/hint"
)

// Fencing is the fencing section of cluster.toml: the site's own way to make sure
// that a node which cannot be asked does not write any more.
type Fencing struct {
	// Command is a line for /bin/sh that switches a node off, or cuts it off from
	// every client, and exits with 0 only when that is so. In it %n is the node's
	// name, %h its host and %% a percent sign. Empty means that the site has none.
	Command string `toml:"command" json:"command,omitempty"`
	// Timeout is how long it may take; 0 is DefaultFencingTimeout.
	Timeout Duration `toml:"timeout" json:"timeout,omitempty"`
}

// DefaultFencingTimeout is longer than a power switch takes.
const DefaultFencingTimeout = time.Minute

// Line is the command for one node. quote makes a word for the shell of what
// stands for a placeholder.
func (f Fencing) Line(n Node, quote func(string) string) string {
	return strings.NewReplacer("%n", quote(string(n.Name)), "%h", quote(n.Host), "%%", "%").Replace(f.Command)
}

func (f Fencing) check() error {
	if f.Command == "" && f.Timeout != 0 {
		return hint.Wrap(errors.New("fencing has a timeout and no command"), "give the command that switches a node off, or leave the section out")
	}
	for rest := f.Command; ; {
		_, after, found := strings.Cut(rest, "%")
		if !found {
			return f.Timeout.checked("fencing.timeout")
		}
		if after == "" || !strings.Contains("nh%", after[:1]) {
			return hint.Wrap(fmt.Errorf("fencing.command has %q in it", "%"+after[:min(1, len(after))]), "%%n is the node's name, %%h its host, %%%% a percent sign")
		}
		rest = after[1:]
	}
}
