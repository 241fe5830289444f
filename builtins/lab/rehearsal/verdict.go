package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/warmrun/warmrun/builtins/lab"
	"github.com/warmrun/warmrun/builtins/lab/ledger"
	"github.com/warmrun/warmrun/builtins/psql"
)

// judge checks what must hold when all is said and done.
func (s *scene) judge(ctx context.Context) error {
	if err := s.revive(ctx); err != nil {
		return err
	}
	now, err := s.arrive(ctx)
	if err != nil {
		s.row.problem("%v", err)
	}
	s.row.Nodes = now
	s.row.Gap = s.ledger.LongestGap().Seconds()
	if now, err = s.goOn(ctx, now); err != nil {
		return err
	}
	// Whoever writes must be able to: the end of a fence, an archive that is full.
	if primaryOf(now) != "" {
		if err := s.written(ctx, 1); err != nil {
			s.row.problem("%s takes no rows: %v", primaryOf(now), err)
		}
	}
	if err := s.load.Stop(); err != nil {
		return err
	}
	s.rows(ctx, now)
	return s.archives(ctx)
}

// revive types the command once more where a run that was undone has left no
// node that accepts writes, as it was before: "mend the cause and run it again".
func (s *scene) revive(ctx context.Context) error {
	if s.row.Ended == "done" || s.reference == nil || primaryOf(s.reference.Nodes) == "" || primaryOf(s.row.start) != "" {
		return nil
	}
	s.hand.did = append(s.hand.did, "again")
	got, err := s.run(ctx, s.scenario.driver, s.command()...)
	s.note(fmt.Sprintf("%s$ warmrun %s (%s)", s.scenario.driver, strings.Join(s.command(), " "), got.status()), got.all())
	if err != nil {
		return err
	}
	return s.hand.settle(ctx, &s.row)
}

// arrive waits until the nodes are what they are to be: after a run that came to
// its end what they were after the undisturbed one; after one that was undone the
// same node accepts writes as before.
func (s *scene) arrive(ctx context.Context) (now map[string]string, err error) {
	err = eventually(ctx, "the nodes are what they must be", func() (bool, error) {
		now = roles(ctx, s.lab)
		switch {
		case slices.Contains(slices.Collect(maps.Values(now)), isSilent):
			return false, fmt.Errorf("the nodes are %v", now)
		case s.row.Ended == "done" && s.reference == nil:
			return true, nil
		case s.row.Ended == "done":
			return maps.Equal(now, s.reference.Nodes), fmt.Errorf("the nodes are %v, and were %v after the undisturbed run", now, s.reference.Nodes)
		}
		if slices.Contains(stuckStates, s.row.Ended) {
			return true, nil // which is a problem already
		}
		return primaryOf(now) == primaryOf(s.row.start), fmt.Errorf("the nodes are %v, and were %v before the run", now, s.row.start)
	})
	return now, err
}

// goOn does what comes after the runbook, and says what the nodes are then.
func (s *scene) goOn(ctx context.Context, now map[string]string) (map[string]string, error) {
	for _, a := range s.scenario.after {
		said, err := s.act(ctx, a)
		s.note(a.String(), said)
		if err != nil {
			s.row.problem("%v", err)
		}
	}
	if len(s.scenario.after) > 0 {
		now = roles(ctx, s.lab)
	}
	return now, ctx.Err()
}

// rows compares the rows on the primary and on its standby with the ledger;
// where there is no primary, on the standby that has taken over its WAL.
func (s *scene) rows(ctx context.Context, now map[string]string) {
	must := s.ledger.Snapshot()
	s.row.Acknowledged = must.Acknowledged.Len()
	primary := primaryOf(now)
	lsn := ""
	for _, n := range s.lab.Nodes {
		if n.Name == primary {
			s.found(ctx, n, must, "")
			lsn = s.switched(ctx, n)
		}
	}
	for _, n := range s.lab.Nodes {
		if n.Role == "pair" && now[n.Name] == isStandby {
			s.found(ctx, n, must, lsn)
		}
	}
}

// switched ends the segment that the primary writes to, so that a standby gets
// all of it.
func (s *scene) switched(ctx context.Context, n lab.Node) string {
	text, err := value(ctx, s.lab.Target(n), "SELECT pg_switch_wal()::text")
	if err != nil {
		s.row.problem("%s: %v", n.Name, err)
	}
	return text
}

// found notes what a node lacks, once it has replayed up to an LSN. A standby for
// which there is none has some time to replay what it has.
func (s *scene) found(ctx context.Context, n lab.Node, must ledger.Snapshot, lsn string) {
	recovering := s.row.Nodes[n.Name] == isStandby
	var verdict ledger.Verdict
	err := eventually(ctx, n.Name+" has all rows", func() (bool, error) {
		if lsn != "" {
			if got, err := value(ctx, s.lab.Target(n), "SELECT (pg_last_wal_replay_lsn() >= '"+lsn+"')::text"); err != nil || got != "true" {
				return false, errors.Join(err, fmt.Errorf("it has not replayed up to %s", lsn))
			}
		}
		rows, err := ledger.Rows(ctx, s.lab.Target(n))
		if err != nil {
			return false, err
		}
		verdict = must.Compare(rows)
		// A primary has them or has not; a standby without one may yet replay them.
		waits := lsn == "" && recovering && len(verdict.Missing) > 0
		return !waits, fmt.Errorf("it lacks rows that clients were told are safe: %s", verdict.Missing)
	})
	switch {
	case err != nil:
		s.row.problem("%s: %v", n.Name, err)
	case len(verdict.Missing) > 0:
		s.row.problem("%s lacks rows that clients were told are safe: %s", n.Name, verdict.Missing)
	}
	if len(verdict.Strange) > 0 {
		s.row.problem("%s has rows that nobody wrote: %s", n.Name, verdict.Strange)
	}
}

// archives has every archive verified by the program itself.
func (s *scene) archives(ctx context.Context) error {
	for _, n := range s.lab.Nodes {
		if _, err := os.Stat(n.Binary()); err != nil {
			continue // nothing was brought there yet
		}
		got, err := s.run(ctx, n.Name, "wal", "verify")
		switch {
		case err != nil:
			return err
		case got.code == 0, got.code == 3: // 3: it has no archive
			continue
		}
		s.row.problem("the archive of %s: %s", n.Name, strings.TrimSpace(got.all()))
	}
	return nil
}

func value(ctx context.Context, target psql.Target, sql string) (string, error) {
	conn, err := psql.Connect(ctx, target)
	if err != nil {
		return "", err
	}
	got, err := conn.Value(ctx, sql)
	return fmt.Sprint(got), errors.Join(err, conn.Close(ctx))
}
