package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// initiation makes a site of a server, part by part. A part that is as it should
// be is left alone.
type initiation struct {
	out             io.Writer
	plan            bool
	overwrite, yes  bool
	around          cluster.Surroundings
	home, pgdata    string
	text            string // of a new cluster.toml; empty: the one that is there counts
	s               *session
	failed, restart []string
}

// findHome is where the home directory is, or is to be.
func (i *initiation) findHome() (err error) {
	if i.pgdata, err = filepath.Abs(i.around.DataDir()); err != nil {
		return err
	}
	home := orWord(i.around.Home, i.around.Getenv("WARMRUN_HOME"))
	if home == "" {
		home = filepath.Join(filepath.Dir(i.pgdata), "warmrun")
		if old := filepath.Join(filepath.Dir(i.pgdata), "2warm"); dirExists(old) && !dirExists(home) {
			return hint.Wrap(fmt.Errorf("there is a 2warm site in %s already", old), "it works as it is: put the program into %s and run it with distrib; for a site of its own give --home", filepath.Join(old, "bin"))
		}
	}
	i.home, err = filepath.Abs(home)
	return err
}

func dirExists(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// tell prints one part: "done", "would", "ok" or "failed", and what it is about.
func (i *initiation) tell(state, format string, args ...any) {
	fmt.Fprintf(i.out, "    %-7s %s\n", state, fmt.Sprintf(format, args...))
}

// change does a part, or says that it would be done.
func (i *initiation) change(what string, do func() error) error {
	if i.plan {
		i.tell("would", "%s", what)
		return nil
	}
	if err := do(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	i.tell("done", "%s", what)
	return nil
}

func (i *initiation) run(ctx context.Context) error {
	for _, part := range []func(context.Context) error{i.clusterFile, i.localFiles, i.program, i.otherNodes, i.archiving} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	for _, what := range i.restart {
		fmt.Fprintf(i.out, "needs a restart of the server: %s\n", what)
	}
	if len(i.restart) > 0 {
		if manager, err := i.s.server().Manager(ctx); err == nil {
			fmt.Fprintf(i.out, "restart it when that suits: %s\n", strings.TrimSuffix(manager.Start, "start")+"restart")
		}
	}
	if len(i.failed) > 0 {
		return hint.Wrap(fmt.Errorf("ssh does not work to %s; everything else is done", strings.Join(i.failed, " and ")), "mend that as said above, and run warmrun init again")
	}
	fmt.Fprintf(i.out, "next: warmrun distrib; %s\n", i.nextSteps())
	return nil
}

// nextSteps are the commands that make the standby.
func (i *initiation) nextSteps() string {
	partner, ok := i.s.site.Partner()
	if !ok {
		return "then warmrun status"
	}
	return fmt.Sprintf("on %s: warmrun configStandby; here: warmrun copyToStandby --start", partner.Name)
}

// clusterFile writes cluster.toml, unless it says the same already.
func (i *initiation) clusterFile(context.Context) error {
	path := i.s.site.Global("cluster.toml")
	if i.text == "" {
		i.tell("ok", "%s names %s", path, i.names())
		return nil
	}
	old, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case i.saysTheSame(old):
		i.tell("ok", "%s names %s", path, i.names())
		return nil
	case !i.overwrite:
		return hint.Wrap(fmt.Errorf("%s is there, and says something else than was asked for", path), "correct it by hand, or repeat with --overwrite: the old one is kept beside it")
	default:
		kept := path + "." + time.Now().UTC().Format("20060102T150405")
		if err := i.change("keep the old cluster.toml as "+kept, func() error { return atomicfile.WriteFile(kept, old, 0o644) }); err != nil {
			return err
		}
	}
	return i.change(fmt.Sprintf("write %s: %s", path, i.names()), func() error {
		if err := atomicfile.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return atomicfile.WriteFile(path, []byte(i.text), 0o644)
	})
}

// saysTheSame compares what two files make of the nodes that were named. What
// else a site has set for them is its own.
func (i *initiation) saysTheSame(text []byte) bool {
	there, err := cluster.Parse(i.home, text, i.s.site.Self.Name, i.around)
	if err != nil || len(there.Nodes) != len(i.s.site.Nodes) {
		return false
	}
	key := func(n cluster.Node) [5]string {
		return [5]string{string(n.Name), n.Host, string(n.Role), n.PGData, n.Home}
	}
	for _, n := range i.s.site.Nodes {
		if !slices.ContainsFunc(there.Nodes, func(o cluster.Node) bool { return key(n) == key(o) }) {
			return false
		}
	}
	i.s.site = there
	return true
}

func (i *initiation) names() string {
	var names []string
	for _, n := range i.s.site.Nodes {
		name := string(n.Name)
		if i.s.site.IsSelf(n.Name) {
			name += " (this node)"
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

// localFiles writes which node this is.
func (i *initiation) localFiles(context.Context) error {
	path, name := i.s.site.Local("node"), string(i.s.site.Self.Name)
	if text, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(text)) == name {
		i.tell("ok", "%s says %s", path, name)
		return nil
	}
	return i.change(fmt.Sprintf("write %s: %s", path, name), func() error {
		if err := atomicfile.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return atomicfile.WriteFile(path, []byte(name+"\n"), 0o644)
	})
}

// program puts this program where archive_command finds it.
func (i *initiation) program(ctx context.Context) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	target := i.s.site.Self.Binary()
	if same, err := sameFile(exe, target); err != nil || same {
		if same {
			i.tell("ok", "%s is this program", target)
		}
		return err
	}
	i.s.quiet = true
	return i.change("install "+target, func() error { return installHere(ctx, i.s) })
}

// otherNodes tries ssh. One that fails keeps nobody from the rest.
func (i *initiation) otherNodes(ctx context.Context) error {
	for _, n := range i.s.site.Nodes {
		if i.s.site.IsSelf(n.Name) {
			continue
		}
		client, err := i.s.client(ctx, n.Name)
		if err == nil {
			_, err = client.Output(ctx, "true", nil)
		}
		if err == nil {
			i.tell("ok", "ssh to %s (%s)", n.Name, n.Host)
			continue
		}
		i.failed = append(i.failed, string(n.Name))
		i.tell("failed", "ssh to %s (%s): %s", n.Name, n.Host, oneLine(err))
		if next := hint.Of(err); next != "" {
			i.tell("", "%s", next)
		}
	}
	return nil
}
