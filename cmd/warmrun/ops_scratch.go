package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/warmrun/warmrun/builtins/backups"
	"github.com/warmrun/warmrun/builtins/remote"
	"github.com/warmrun/warmrun/builtins/scratch"
	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore"
)

// targetOptions say where a recovery is to stop; with none of the first four it is
// the end of the archive.
type targetOptions struct {
	Time      string           `json:"time"` // RFC 3339
	LSN       walcore.LSN      `json:"lsn"`
	XID       int64            `json:"xid"`
	Name      string           `json:"name"` // of a restore point
	Exclusive bool             `json:"exclusive"`
	Timeline  walcore.Timeline `json:"timeline"` // 0 is the newest in the archive
	Backup    string           `json:"backup"`   // the base copy to begin with; the best one without it
}

// reachResult is how a recovery would reach its target.
type reachResult struct {
	Backup   string           `json:"backup"`
	Finished time.Time        `json:"finished"` // when that base copy was complete
	Target   string           `json:"target"`
	Timeline walcore.Timeline `json:"timeline"`
	// At is the record that proves that the target is reached, or where the
	// archive ends.
	At walcore.LSN `json:"at"`
}

type makeScratchOptions struct {
	Kind          scratch.Kind `json:"kind"`
	Dir           string       `json:"dir"` // without it, one below the node's directory for scratch servers
	Port          int          `json:"port"`
	Listen        string       `json:"listen"`
	SharedBuffers string       `json:"shared_buffers"`
	targetOptions
}

type scratchDirOption struct {
	Dir string `json:"dir"`
}

type startScratchOptions struct {
	Dir     string        `json:"dir"`
	Timeout time.Duration `json:"timeout"`
}

type scratchKindOption struct {
	Kind scratch.Kind `json:"kind"`
}

// scratchStarted is a scratch server whose recovery has come to its end.
type scratchStarted struct {
	scratch.Stopped
	Connection string `json:"connection"` // what to type
	Text       string `json:"text"`       // where it stopped, in words
	// Seconds is how long the recovery took, with the copy that was made for it.
	Seconds float64 `json:"seconds"`
}

type scratchListed struct {
	scratch.Server
	Running    bool   `json:"running"`
	Connection string `json:"connection"`
}

func scratchOperations() []operation {
	return []operation{
		onNode("scratch", "reach", engine.Read, "the base copy from which a recovery on the node reaches a target, proved from the archive", reachTarget),
		onNode("scratch", "free", engine.Read, "that a directory on the node is not there or empty",
			func(_ context.Context, _ *session, o scratchDirOption) (bool, error) {
				err := scratch.CheckDir(o.Dir)
				return err == nil, err
			}),
		onNode("scratch", "list", engine.Read, "the scratch servers of a kind on the node", listScratch),
		onNode("scratch", "make", engine.Change, "copy the base copy within the node and configure a server that keeps to itself; it is not started", makeScratch),
		onNode("scratch", "start", engine.Change, "start the server in a directory and wait until its recovery has ended, or paused at its target", startScratch),
		onNode("scratch", "stay", engine.Change, "note that the server is there to be used, and not left over",
			func(_ context.Context, _ *session, o scratchDirOption) (none, error) {
				server, err := scratch.Open(o.Dir)
				if err != nil {
					return none{}, err
				}
				return none{}, server.Stay()
			}),
		onNode("scratch", "query", engine.Change, "run a statement on the server in a directory, and give its rows as psql -At prints them", queryScratch),
		onNode("scratch", "has_psql", engine.Read, "that psql is installed on the node",
			func(_ context.Context, s *session, _ none) (bool, error) {
				_, err := s.psqlProgram()
				return err == nil, err
			}),
		here("scratch", "psql", engine.Change, "let psql have the terminal, on the server in a directory of this node, and wait for its end", []string{"node"}, func(s *session) any {
			return func(ctx context.Context, _ string, o psqlScratchOptions) error { return s.runPsql(ctx, o) }
		}),
		onNode("scratch", "remove", engine.Change, "stop the server in a directory and remove all of it", removeScratch),
		onNode("scratch", "sweep", engine.Change, "remove the servers of a kind that are left over from runs that were killed", sweepScratch),
		onNode("scratch", "examine", engine.Change, "run pg_amcheck and the site's queries on the server in a directory", examineScratch),
		onNode("drill", "note", engine.Change, "write down how the node's drill went, for status", noteDrill),
	}
}

func (o targetOptions) target() (walcore.Target, error) {
	if o.XID < 0 || o.XID > math.MaxUint32 {
		return walcore.Target{}, usageError{fmt.Errorf("transaction %d: WAL has transactions by 32 bits, as xmin and xmax do", o.XID)}
	}
	t := walcore.Target{LSN: o.LSN, XID: uint32(o.XID), Name: o.Name, Exclusive: o.Exclusive}
	if o.Time != "" {
		var err error
		if t.Time, err = time.Parse(time.RFC3339Nano, o.Time); err != nil {
			return t, usageError{err}
		}
	}
	if err := t.Check(); err != nil {
		return t, usageError{err}
	}
	return t, nil
}

func (o targetOptions) choose(ctx context.Context, s *session) (backups.Choice, walcore.Target, error) {
	target, err := o.target()
	if err != nil {
		return backups.Choice{}, target, err
	}
	choice, err := s.backups().Choose(ctx, target, o.Timeline, o.Backup)
	return choice, target, err
}

func reachTarget(ctx context.Context, s *session, o targetOptions) (reachResult, error) {
	choice, target, err := o.choose(ctx, s)
	return reachResult{choice.Copy.ID, choice.Copy.Finished, target.String(), choice.Timeline, choice.At}, err
}

func listScratch(_ context.Context, s *session, o scratchKindOption) ([]scratchListed, error) {
	all, err := scratch.List(s.site.Self.Scratch)
	found := []scratchListed{}
	for _, server := range all {
		if server.Kind == o.Kind {
			found = append(found, scratchListed{server, server.Running(), server.Connection()})
		}
	}
	return found, err
}

func makeScratch(ctx context.Context, s *session, o makeScratchOptions) (scratch.Server, error) {
	choice, target, err := o.choose(ctx, s)
	if err != nil {
		return scratch.Server{}, err
	}
	self := s.site.Self
	request := scratch.Request{
		Kind: o.Kind, Dir: o.Dir, Choice: choice, Target: target,
		RestoreCommand: s.restoreFrom(self.Archive), BinDir: self.BinDir,
		Port: o.Port, Listen: o.Listen, SharedBuffers: o.SharedBuffers, Now: time.Now,
	}
	if request.Dir == "" {
		request.Dir = filepath.Join(self.Scratch, fmt.Sprintf("%s-%s", o.Kind, time.Now().UTC().Format("20060102T150405.000")))
	}
	request.Conf, request.HBA = s.ownConf()
	// Where somebody has named the directory, what is in it is theirs to judge.
	if o.Kind != scratch.Restore {
		request.Begun = s.guardScratch
	}
	say(ctx, s, "Copying the base copy %s to %s", choice.Copy.ID, request.Dir)
	server, err := scratch.Make(ctx, request)
	if err != nil {
		// What was begun is of no use; a directory that was refused is not ours.
		if server.Dir != "" {
			err = errors.Join(err, server.Remove(context.WithoutCancel(ctx)))
		}
		return scratch.Server{}, err
	}
	return server, nil
}

// restoreFrom is the restore_command of a scratch server. A percent sign is the
// server's.
func (s *session) restoreFrom(archive string) string {
	command := remote.Quote(s.site.Self.Binary(), "restore", "--from", archive)
	return scratch.RestoreCommand(strings.ReplaceAll(command, "%", "%%"))
}

// ownConf is the configuration of this node's own server, for a copy that has
// none in its data directory; empty where there is none.
func (s *session) ownConf() (conf, hba string) {
	conf, err := s.server().ConfigPath()
	if err == nil {
		return conf, filepath.Join(filepath.Dir(conf), "pg_hba.conf")
	}
	if _, err := os.Stat(s.site.Local("postgresql.conf")); err == nil {
		conf = s.site.Local("postgresql.conf")
	}
	return conf, s.site.Global("pg_hba.conf")
}

func startScratch(ctx context.Context, s *session, o startScratchOptions) (scratchStarted, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, orDefault(o.Timeout, 24*time.Hour), fmt.Errorf("the recovery took longer than %s", o.Timeout))
	defer cancel()
	server, err := scratch.Open(o.Dir)
	if err != nil {
		return scratchStarted{}, err
	}
	say(ctx, s, "Starting a server in %s, which recovers to %s", server.PGData(), server.Target)
	stopped, err := server.Start(ctx, s.site.Self.User)
	if err != nil {
		return scratchStarted{}, err
	}
	took := time.Since(server.Begun)
	if archive, err := walcore.OpenArchive(s.site.Self.Archive); err == nil {
		if route, err := archive.Route(server.Timeline); err == nil {
			// It is only for the message: the server is where it is.
			stopped.Last, _, _ = route.LastBefore(ctx, stopped.LSN, server.StopLSN)
		}
	}
	return scratchStarted{stopped, server.Connection(), stoppedText(stopped), took.Seconds()}, nil
}

// stoppedText says where a recovery has stopped.
func stoppedText(at scratch.Stopped) string {
	text := fmt.Sprintf("replayed up to %s", at.LSN)
	switch {
	case at.Last.XID != 0:
		text += fmt.Sprintf("; the last transaction is %d, which ended (%s) at %s", at.Last.XID, at.Last.Kind, at.Last.Time.Format(time.RFC3339Nano))
	case !at.Time.IsZero():
		text += fmt.Sprintf("; the last transaction ended at %s", at.Time.UTC().Format(time.RFC3339Nano))
	default:
		text += "; no transaction ended since the base copy"
	}
	if at.Open {
		return text + fmt.Sprintf("; the server writes timeline %d", uint32(at.Timeline))
	}
	return text + "; the server is read-only"
}

func removeScratch(ctx context.Context, _ *session, o scratchDirOption) (none, error) {
	server, err := scratch.Open(o.Dir)
	if errors.Is(err, os.ErrNotExist) {
		return none{}, nil
	}
	if err != nil {
		return none{}, err
	}
	return none{}, server.Remove(ctx)
}

// sweepScratch is called under the lock of the runbook that makes servers of the
// kind, so none of them is being made.
func sweepScratch(ctx context.Context, s *session, o scratchKindOption) (none, error) {
	all, err := scratch.List(s.site.Self.Scratch)
	if err != nil {
		return none{}, err
	}
	for _, server := range all {
		own := server.Kind == o.Kind || server.Kind == "" && strings.HasPrefix(server.ID, string(o.Kind)+"-")
		if !own || server.Stays && server.Running() {
			continue
		}
		from := "an earlier run" // which had no time to say when it began
		if !server.Begun.IsZero() {
			from = server.Begun.Format(time.RFC3339)
		}
		say(ctx, s, "Removing %s, which is left over from %s", server.Dir, from)
		if err := server.Remove(ctx); err != nil {
			return none{}, err
		}
	}
	return none{}, nil
}
