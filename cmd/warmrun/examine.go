package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/warmrun/warmrun/builtins/health"
	"github.com/warmrun/warmrun/builtins/psql"
	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/engine/journal"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// examineAnswer is how long an examination of a node may take: it looks into
// every database and tries the way to every other node.
const examineAnswer = 40 * time.Second

// examineAll examines every node at once.
func examineAll(ctx context.Context, s *session) []health.NodeStatus {
	s.quiet, s.connectTimeout = true, statusConnect
	return lookAtAll(ctx, s, "status.examine", examineAnswer, examineHere)
}

// lookAtAll asks every node at the same time. A node that cannot be reached is
// part of the answer, not an error.
func lookAtAll(ctx context.Context, s *session, operation string, patience time.Duration, local func(context.Context, *session, none) (health.NodeStatus, error)) []health.NodeStatus {
	nodes := make([]health.NodeStatus, len(s.site.Nodes))
	var group sync.WaitGroup
	for i, n := range s.site.Nodes {
		group.Go(func() {
			sent := time.Now()
			nodes[i] = nodeStatus(ctx, s, n, operation, patience, local)
			if facts := nodes[i].Facts; facts != nil {
				facts.Asks = s.site.IsSelf(n.Name)
				facts.AheadLeast, facts.AheadMost = -time.Since(nodes[i].At).Seconds(), facts.Began.Sub(sent).Seconds()
			}
		})
	}
	group.Wait()
	return nodes
}

// statusRequest is what a look at this node works on.
func statusRequest(s *session) health.Request {
	return health.Request{
		Node: s.site.Self, Server: s.server(), Active: s.site.ArchivingActive, Program: version, Compress: s.site.Archiving.Compress,
		Promotion: lastPromotion(s.site), DrillPath: s.site.Local(health.DrillFile), Kept: s.keptCopies, HalfRewound: s.self().HalfRewound,
		SQL: func(ctx context.Context) (*psql.Conn, error) { return s.sql(ctx, s.site.Self.Name) },
	}
}

// examineHere is localStatus with all that a check wants to know.
func examineHere(ctx context.Context, s *session, _ none) (health.NodeStatus, error) {
	request := statusRequest(s)
	request.Examine = &health.Examination{
		ArchiveCommand: s.archiveCommand(), LogFile: s.site.Local("server.log"), KeepBackups: s.site.Archiving.KeepBackups,
		SQLIn: func(ctx context.Context, database string) (*psql.Conn, error) {
			return s.sqlIn(ctx, s.site.Self.Name, database)
		},
		Links:      func(ctx context.Context) []health.Link { return tryLinks(ctx, s.site) },
		Unfinished: func() ([]health.UnfinishedRun, error) { return unfinishedRuns(s.site) },
	}
	// A template that cannot be read is the affair of those who use it.
	if template, err := s.self().RecoveryTemplate(); err == nil {
		request.Examine.RestoreCommand = template.RestoreCommand
	}
	return health.Local(ctx, request), nil
}

// linkPatience bounds a try of the way to a node.
const linkPatience = 10 * time.Second

// tryLinks goes the way that WAL takes to every other node, with connections of
// its own.
func tryLinks(ctx context.Context, site *cluster.Site) []health.Link {
	s := newSession(site, io.Discard, io.Discard)
	s.connectTimeout = statusConnect
	defer s.Close()
	links := []health.Link{}
	var mu sync.Mutex
	var group sync.WaitGroup
	for _, n := range site.Nodes {
		if site.IsSelf(n.Name) {
			continue
		}
		group.Go(func() {
			link := tryLink(ctx, s, n.Name)
			mu.Lock()
			defer mu.Unlock()
			links = append(links, link)
		})
	}
	group.Wait()
	return links
}

func tryLink(ctx context.Context, s *session, to cluster.NodeName) health.Link {
	ctx, cancel := context.WithTimeoutCause(ctx, linkPatience, fmt.Errorf("no answer within %s", linkPatience))
	defer cancel()
	link := health.Link{To: to}
	client, err := s.shipTo(ctx, to)
	if err == nil {
		err = errors.Join(client.Ping(ctx), client.Close())
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		link.Error, link.Hint = oneLine(err), hint.Of(err)
	}
	return link
}

// unfinishedRuns are the runs that nobody drives any more, with the ways out.
func unfinishedRuns(site *cluster.Site) ([]health.UnfinishedRun, error) {
	open, _, err := inTheWay(site)
	if err != nil {
		return nil, err
	}
	var runs []health.UnfinishedRun
	for _, r := range open {
		held, err := journal.Held(journalPath(site, r.Head.ID))
		if err != nil {
			return nil, err
		}
		if !held {
			runs = append(runs, health.UnfinishedRun{Run: r.Head.ID, Next: waysOut(r)})
		}
	}
	return runs, nil
}

// promotionsKept is how many runs are searched for the last promotion.
const promotionsKept = 40

// lastPromotion is how long the last promotion took that a run on this node has
// made: from the line of no return to the end of that step. nil where none is on
// record here.
func lastPromotion(site *cluster.Site) *health.Promotion {
	journals, err := filepath.Glob(journalPath(site, "*"))
	if err != nil {
		return nil
	}
	var last *health.Promotion
	for _, path := range journals[max(0, len(journals)-promotionsKept):] {
		// One that cannot be read says nothing.
		r, err := readRecord(site, filepath.Base(filepath.Dir(path)))
		if err != nil || r.Head.Node != site.Self.Name {
			continue
		}
		if p := promotionIn(r.plain); p != nil && (last == nil || p.At.After(last.At)) {
			last = p
		}
	}
	return last
}

// promotionIn finds the innermost step of a run that has passed the line of no
// return and ended well.
func promotionIn(events []engine.Event) *health.Promotion {
	var passed *engine.Event
	var found *health.Promotion
	for i, e := range events {
		switch {
		case e.Kind == engine.NoReturnPassed:
			passed = &events[i]
		case passed != nil && found == nil && e.Kind == engine.StepEnded && e.Runbook == passed.Runbook && e.Step == passed.Step && e.Outcome == engine.Done:
			found = &health.Promotion{Seconds: e.At.Sub(passed.At).Seconds(), At: e.At}
		}
	}
	return found
}

// locateOptions are the files to look for.
type locateOptions struct {
	Names []string `json:"names"`
}

// locateHere says which files this node has: in its archive, or among those
// that its server has finished writing.
func locateHere(_ context.Context, s *session, o locateOptions) (map[string][]string, error) {
	found := map[string][]string{}
	archive, err := walcore.OpenArchive(s.site.Self.Archive)
	if err != nil && !errors.Is(err, walcore.ErrNoArchive) {
		return nil, err
	}
	for _, name := range o.Names {
		file, err := walcore.ParseFileName(name)
		if err != nil {
			return nil, err
		}
		if archive != nil {
			if has, err := archive.Has(file); err == nil && has {
				found[name] = append(found[name], health.ArchiveOn(s.site.Self.Name))
			}
		}
		if finishedHere(s.site.Self.PGData, name) {
			found[name] = append(found[name], health.PGWALOn(s.site.Self.Name))
		}
	}
	return found, nil
}

// finishedHere reports whether the server's own WAL directory has a file that
// is marked as finished.
func finishedHere(pgdata, name string) bool {
	dir := walcore.WALDir(pgdata)
	if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
		return false
	}
	for _, mark := range []string{".ready", ".done"} {
		if _, err := os.Stat(filepath.Join(dir, "archive_status", name+mark)); err == nil {
			return true
		}
	}
	return strings.HasSuffix(name, ".history")
}

// locate asks every node that answers for files.
func locate(ctx context.Context, s *session, nodes []health.NodeStatus) health.Places {
	places := health.Places{}
	var options locateOptions
	for _, name := range health.WaitedFor(nodes...) {
		options.Names = append(options.Names, string(name))
	}
	if len(options.Names) == 0 {
		return places
	}
	for _, n := range nodes {
		if n.Facts == nil {
			continue
		}
		found, err := callOn(ctx, s, n.Node, "status.locate", options, locateHere)
		if err != nil {
			continue // it has just answered; what it has is then not known
		}
		for name, at := range found {
			places[walcore.FileName(name)] = append(places[walcore.FileName(name)], at...)
		}
	}
	return places
}
