package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
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
	dropEnded(ctx, s, nodes)
	return nodes
}

// dropEnded takes those runs out of what nodes take for unfinished that have ended, or
// that a process drives, as another node knows: one that was out of reach then has
// never heard of it.
func dropEnded(ctx context.Context, s *session, nodes []health.NodeStatus) {
	asked, over := map[string]bool{}, map[string]bool{}
	for i := range nodes {
		nodes[i].Unfinished = slices.DeleteFunc(nodes[i].Unfinished, func(r health.UnfinishedRun) bool {
			if !asked[r.Run] {
				copies, _ := copiesOf(ctx, s, r.Run)
				if own, err := journalHere(ctx, s, runOptions{ID: r.Run}); err == nil {
					copies[s.site.Self.Name] = own
				}
				asked[r.Run], over[r.Run] = true, isOver(copies)
			}
			return over[r.Run]
		})
	}
}

// isOver reports whether the copies of a run say that nobody has to end it: the one
// that goes furthest counts. What cannot be read says nothing.
func isOver(copies map[cluster.NodeName]runCopy) bool {
	var last *runRecord
	for _, c := range copies {
		if r, err := parseCopy(c); err == nil && (last == nil || r.beyond(*last)) {
			last = &r
		}
		if c.Held {
			return true
		}
	}
	return last != nil && !last.open()
}

// statusRequest is what a look at this node works on.
func statusRequest(s *session) health.Request {
	return health.Request{
		Node: s.site.Self, Server: s.server(), Active: s.site.ArchivingActive, Program: version, Compress: s.site.Archiving.Compress,
		Promotion: lastPromotion(s.site), StopSite: func() *health.EndedRun { return lastStopSite(s.site) },
		Unfinished: func() ([]health.UnfinishedRun, error) { return unfinishedRuns(s.site) },
		DrillPath:  s.site.Local(health.DrillFile), Kept: s.keptCopies, HalfRewound: s.self().HalfRewound,
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
		Links:   func(ctx context.Context) []health.Link { return tryLinks(ctx, s.site) },
		Secrets: func(ctx context.Context) ([]health.Secret, error) { return siteSecrets(ctx, s) },
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

// lastStopSite is the last stopSite that was done, as far as this node has it on
// record.
func lastStopSite(site *cluster.Site) *health.EndedRun {
	// The names begin with the time.
	journals, err := filepath.Glob(journalPath(site, "*-stopSite-*"))
	if err != nil {
		return nil
	}
	for _, path := range slices.Backward(journals) {
		// One that cannot be read says nothing.
		r, err := readRecord(site, filepath.Base(filepath.Dir(path)))
		if err != nil || r.Head.Runbook != "stopSite" || r.Head.ID != r.Head.Outermost || r.summary().State != engine.Succeeded {
			continue
		}
		return &health.EndedRun{Run: r.Head.ID, Began: r.Head.Began, Ended: r.plain[len(r.plain)-1].At}
	}
	return nil
}

// lastPromotion is how long the last promotion of this node's server took, as
// noted beside it: no run within another one, no other step and no way through ssh
// is in it. nil where none was noted, or the note cannot be read.
func lastPromotion(site *cluster.Site) *health.Promotion {
	m, err := readMoments(site)
	if err != nil || m.Opened.IsZero() || m.Opened.Before(m.PromotionAsked) {
		return nil
	}
	return &health.Promotion{Seconds: m.Opened.Sub(m.PromotionAsked).Seconds(), At: m.Opened}
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
