package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/warmrun/warmrun/builtins/basebackup"
	"github.com/warmrun/warmrun/builtins/filesync"
	"github.com/warmrun/warmrun/builtins/remote"
	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/cluster"
)

type pushOptions struct {
	To     cluster.NodeName `json:"to"`
	Source string           `json:"source"`
	Target string           `json:"target"`
	Delete bool             `json:"delete"`
}

type baseOptions struct {
	To      cluster.NodeName `json:"to"`
	Fast    bool             `json:"fast"`
	Streams int              `json:"streams"`
	MaxRate int64            `json:"max_rate"` // bytes a second; 0 is no limit
	// AllowBadPages copies pages whose checksum is wrong as they are.
	AllowBadPages bool `json:"allow_bad_pages"`
}

func copyOperations() []operation {
	return []operation{
		onNode("copy", "push", engine.Change, "copy a directory of the node to another node",
			func(ctx context.Context, s *session, o pushOptions) (filesync.Summary, error) {
				return filesync.Push(ctx, s.syncAgent(o.To), o.Source, o.Target, filesync.Options{Delete: o.Delete, Verbose: s.live(ctx)})
			}),
		onNode("copy", "logs", engine.Change, "save the node's server log files on another node", saveLogs),
		onNode("base", "receivable", engine.Read, "that a base copy may be written over the node", receivable),
		onNode("base", "copy", engine.Change, "take a base copy of the node's running server onto another node", baseCopy),
	}
}

// syncAgent starts the far end of a copy on a node.
func (s *session) syncAgent(name cluster.NodeName) filesync.Dialer {
	return s.starting(name, "sync-agent", func(ctx context.Context, node cluster.Node) (*remote.Client, error) {
		return s.client(ctx, node.Name)
	})
}

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
	summary, err := filesync.Push(ctx, s.syncAgent(o.To), dir, target, filesync.Options{
		Streams: 1, Verbose: s.live(ctx), FollowRoot: true,
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
	to, err := s.site.Node(o.To)
	if err != nil {
		return basebackup.Result{}, err
	}
	conn, err := s.sql(ctx, s.site.Self.Name)
	if err != nil {
		return basebackup.Result{}, err
	}
	defer conn.Close(ctx)
	progress := progressLines{out: s.live(ctx), every: 15 * time.Second}
	result, err := basebackup.Copy(ctx, basebackup.Request{
		Source: basebackup.Source{PGData: s.site.Self.PGData, Conn: conn, Connect: func(ctx context.Context, database string) (basebackup.ClosingSession, error) {
			return s.sqlIn(ctx, s.site.Self.Name, database)
		}},
		Dial:          s.syncAgent(o.To),
		TargetPGData:  to.PGData,
		Streams:       o.Streams,
		Label:         fmt.Sprintf("warmrun base copy of %s onto %s", s.site.Self.Name, o.To),
		Fast:          o.Fast,
		AllowBadPages: o.AllowBadPages,
		MaxRate:       o.MaxRate,
		Progress:      progress.show,
		Keep:          append(insidePGDATA(to), insidePGDATA(s.site.Self)...),
		Out:           s.live(ctx),
		CheckTarget: func(ctx context.Context) error {
			_, err := callOn(ctx, s, o.To, "base.receivable", none{}, receivable)
			return err
		},
	})
	if err == nil {
		fmt.Fprintln(s.live(ctx), result.Summary)
	}
	return result, err
}

// insidePGDATA lists what of warmrun's own lies in a node's data directory, as
// the archive and the trigger file of a 2warm tree do: no part of a base copy.
func insidePGDATA(n cluster.Node) []string {
	var patterns []string
	for _, path := range []string{n.Archive, n.Trigger, n.Home} {
		rel, err := filepath.Rel(n.PGData, path)
		if err == nil && rel != "." && filepath.IsLocal(rel) {
			patterns = append(patterns, "/"+filepath.ToSlash(rel))
		}
	}
	return patterns
}
