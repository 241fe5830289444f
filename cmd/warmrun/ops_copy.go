package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/warmrun/warmrun/builtins/basebackup"
	"github.com/warmrun/warmrun/builtins/filesync"
	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// pushTreeOptions and pullTreeOptions are a copy by a runbook: the target
// becomes what the source is. Both are absolute names. Verbose prints the names
// of what is transferred or deleted.
type pushTreeOptions struct {
	To      cluster.NodeName `json:"to"`
	Source  string           `json:"source"`
	Target  string           `json:"target"`
	Verbose bool             `json:"verbose"`
	copyOptions
}

type pullTreeOptions struct {
	From    cluster.NodeName `json:"from"`
	Source  string           `json:"source"`
	Target  string           `json:"target"`
	Verbose bool             `json:"verbose"`
	copyOptions
}

type baseOptions struct {
	To       cluster.NodeName     `json:"to"`
	Fast     bool                 `json:"fast"`
	Streams  int                  `json:"streams"`
	MaxRate  int64                `json:"max_rate"` // bytes a second; 0 is no limit
	Compress filesync.Compression `json:"compress"`
	// Tablespaces says, by their location on the source, where tablespaces go
	// that are not to have the same location on the target.
	Tablespaces map[string]string `json:"tablespaces"`
	// AllowBadPages goes on past pages whose checksum is wrong.
	AllowBadPages bool `json:"allow_bad_pages"`
	Verbose       bool `json:"verbose"`
}

func copyOperations() []operation {
	return []operation{
		onNode("copy", "push", engine.Change, "copy a directory of the node to another node", pushTree),
		onNode("copy", "pull", engine.Change, "copy a directory of another node to the node", pullTree),
		onNode("copy", "base", engine.Change, "take a base copy of the node's running server onto another node", baseCopy),
		onNode("copy", "receivable", engine.Read, "that a base copy may be written over the node", receivable),
		onNode("copy", "resolve", engine.Read, "where a path on the node and the node's own directories are, without symbolic links", resolveOnNode),
		onNode("copy", "verify", engine.Change, "compare a base copy on the node, from which no server was started, with its backup manifest", verifyBase),
		onNode("copy", "logs", engine.Change, "save the node's server log files on another node", saveLogs),
	}
}

func pushTree(ctx context.Context, s *session, o pushTreeOptions) (copyResult, error) {
	return s.copyForRunbook(ctx, s.at(s.site.Self.Name, o.Source), s.at(o.To, o.Target), o.copyOptions, o.Verbose)
}

func pullTree(ctx context.Context, s *session, o pullTreeOptions) (copyResult, error) {
	return s.copyForRunbook(ctx, s.at(o.From, o.Source), s.at(s.site.Self.Name, o.Target), o.copyOptions, o.Verbose)
}

// at is a directory on a node, as runbooks name it.
func (s *session) at(node cluster.NodeName, path string) place {
	return place{node: node, path: path, here: s.site.IsSelf(node)}
}

func (s *session) copyForRunbook(ctx context.Context, from, to place, o copyOptions, verbose bool) (copyResult, error) {
	for _, p := range []place{from, to} {
		if _, err := s.site.Node(p.node); err != nil {
			return copyResult{}, err
		}
		if !filepath.IsAbs(p.path) {
			return copyResult{}, fmt.Errorf("copy %s to %s: %q is not an absolute path", from, to, p.path)
		}
	}
	bar := s.progress(ctx)
	out := copyOutput{show: bar.show, notes: bar}
	if verbose {
		out.names = bar
	}
	result, err := s.copyTree(ctx, route{from: from, to: to}, o, out)
	if err == nil {
		fmt.Fprintln(s.live(ctx), result)
	}
	return result, err
}

// progress shows how far a copy is in the live output of an operation.
func (s *session) progress(ctx context.Context) *progress {
	p := &progress{out: s.live(ctx), every: linesEvery}
	if s.color && !s.serving {
		// Below the heading of a step, which may be one within another.
		p.columns = max(cmp.Or(columnsOf(s.out), usualColumns)-2*stepIndent, leastColumns)
	}
	return p
}

// How wide a terminal is that cannot be asked, the least that a bar is drawn
// in, and how far the output of a step is indented.
const (
	usualColumns = 80
	leastColumns = 40
	stepIndent   = 4
)

// saveLogs copies the server's log directory to local/logs/NODE on the other
// side, so that it can be read there when this node is gone.
func saveLogs(ctx context.Context, s *session, o toOption) (filesync.Summary, error) {
	to, err := s.site.Node(o.To)
	if err != nil {
		return filesync.Summary{}, err
	}
	dir, err := s.server().Setting(ctx, "log_directory")
	if err != nil {
		return filesync.Summary{}, err
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(s.site.Self.PGData, dir)
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		say(ctx, s, "no log directory at %s; nothing to save", dir)
		return filesync.Summary{}, nil
	}
	target := filepath.Join(to.Home, "local", "logs", string(s.site.Self.Name))
	bar := s.progress(ctx)
	summary, err := filesync.Push(ctx, s.syncAgent(o.To), dir, target, filesync.Options{
		Streams: 1, Verbose: bar, Progress: bar.show, FollowRoot: true,
		// The server goes on writing to the newest file.
		OnChange: filesync.LetPass,
	})
	if err == nil {
		fmt.Fprintln(s.live(ctx), summary)
	}
	return summary, err
}

func receivable(ctx context.Context, s *session, _ none) (none, error) {
	return none{}, s.self().Receivable(ctx)
}

func baseCopy(ctx context.Context, s *session, o baseOptions) (basebackup.Result, error) {
	if err := (copyOptions{Streams: o.Streams, MaxRate: o.MaxRate, Compress: o.Compress}).check(); err != nil {
		return basebackup.Result{}, err
	}
	to, err := s.site.Node(o.To)
	if err != nil {
		return basebackup.Result{}, err
	}
	conn, err := s.sql(ctx, s.site.Self.Name)
	if err != nil {
		return basebackup.Result{}, err
	}
	defer conn.Close(ctx)
	keep, err := s.keptFromBase(ctx, to)
	if err != nil {
		return basebackup.Result{}, err
	}
	request := s.baseRequest(o, to, s.progress(ctx))
	request.Conn, request.Keep = conn, keep
	result, err := basebackup.Copy(ctx, request)
	// With names each tree has had its own.
	if err == nil && (!o.Verbose || len(result.Tablespaces) > 0) {
		fmt.Fprintln(s.live(ctx), result.Summary)
	}
	return result, err
}

// keptFromBase is what of warmrun's own lies in either data directory.
func (s *session) keptFromBase(ctx context.Context, to cluster.Node) ([]string, error) {
	there, err := s.views(ctx, to.Name, to.PGData)
	if err != nil {
		return nil, fmt.Errorf("look for what is to be kept on %s: %w", to.Name, err)
	}
	here, err := s.views(ctx, s.site.Self.Name, s.site.Self.PGData)
	return insidePGDATA(append(there, here...)...), err
}

// baseRequest is a base copy of this node's server, but for the session and
// what is kept.
func (s *session) baseRequest(o baseOptions, to cluster.Node, bar *progress) basebackup.Request {
	self := s.site.Self
	return basebackup.Request{
		Source: basebackup.Source{
			PGData: self.PGData,
			Connect: func(ctx context.Context, database string) (basebackup.ClosingSession, error) {
				return s.sqlIn(ctx, self.Name, database)
			},
		},
		Dial:          s.syncAgent(o.To),
		TargetPGData:  to.PGData,
		Label:         fmt.Sprintf("warmrun base copy of %s onto %s", self.Name, o.To),
		Fast:          o.Fast,
		TablespaceMap: o.Tablespaces,
		AllowBadPages: o.AllowBadPages,
		Streams:       o.Streams,
		MaxRate:       o.MaxRate,
		Compress:      o.Compress,
		Out:           bar,
		Verbose:       o.Verbose,
		Progress:      bar.show,
		CheckTarget: func(ctx context.Context) error {
			_, err := callOn(ctx, s, o.To, "copy.receivable", none{}, receivable)
			return err
		},
	}
}
