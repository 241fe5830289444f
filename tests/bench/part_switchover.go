package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/warmrun/warmrun/builtins/lab/ledger"
	"github.com/warmrun/warmrun/builtins/psql"
)

// switcher is one way to make primary and standby change places, with a pair of
// servers of its own.
type switcher struct {
	gap, whole row
	pair       [2]*member
	primary    int // which of the two
	// change has them change places, and returns when the command does.
	change func(ctx context.Context, from, to *member) error
}

// The load during a change: sessions that write a row as fast as the server
// confirms it, and reconnect when they lose it.
const (
	loadWriters = 4
	beforeAfter = 700 * time.Millisecond
)

// switchoverPart: the longest time between two acknowledged writes that clients
// see, and how long the whole command takes.
func switchoverPart(ctx context.Context, b *bench) (err error) {
	var all []*switcher
	defer func() {
		for _, s := range all {
			err = errors.Join(err, s.end(context.WithoutCancel(ctx)))
		}
	}()
	for _, build := range []func(context.Context) (*switcher, error){b.switchFiles, b.switchStreaming, b.switchRepmgr, b.switchBare} {
		s, err := build(ctx)
		if err != nil {
			return err
		}
		if s != nil {
			all = append(all, s)
		}
	}
	for round := range b.rounds(10, 2) {
		for _, i := range turns(len(all), round) {
			if err := all[i].once(ctx, b, round); err != nil {
				return fmt.Errorf("%s: %w", all[i].gap.Who, err)
			}
		}
	}
	var gaps, wholes []row
	for _, s := range all {
		gaps = append(gaps, s.gap)
		if len(s.whole.Values) > 0 {
			wholes = append(wholes, s.whole)
		}
	}
	b.print("switchover under load: the longest gap between two acknowledged writes", gaps)
	b.print("the whole command, at whose end the old primary follows again", wholes)
	return b.failovers(ctx, all[0])
}

// once is one change under load. Afterwards every acknowledged row must be on both
// nodes.
func (s *switcher) once(ctx context.Context, b *bench, round int) (err error) {
	from, to := s.pair[s.primary], s.pair[1-s.primary]
	load, err := b.startLoad(ctx, fmt.Sprintf("%s-%d", filepath.Base(filepath.Dir(s.pair[0].dir)), round), from, to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, load.end()) }()
	if err := load.goesOn(ctx, beforeAfter); err != nil {
		return err
	}
	load.ledger.LongestGap()
	began := time.Now()
	if err := s.change(ctx, from, to); err != nil {
		return err
	}
	took := time.Since(began)
	if err := load.goesOn(ctx, beforeAfter); err != nil {
		return err
	}
	gap := load.ledger.LongestGap()
	s.primary = 1 - s.primary
	s.gap.Values = append(s.gap.Values, ms(gap))
	if s.whole.Who != "" {
		s.whole.Values = append(s.whole.Values, ms(took))
	}
	b.note("switchover, round %d: %s: gap %s, command %s", round, s.gap.Who, gap, took)
	return s.verify(ctx, load)
}

// verify stops the load and compares sets of rows.
func (s *switcher) verify(ctx context.Context, load *writing) error {
	if err := load.stop(); err != nil {
		return err
	}
	primary, standby := s.pair[s.primary], s.pair[1-s.primary]
	if err := standby.catchUp(ctx, primary); err != nil {
		return err
	}
	for _, m := range []*member{primary, standby} {
		rows, err := ledger.Rows(ctx, m.target())
		if err != nil {
			return err
		}
		verdict := load.ledger.Snapshot().Compare(rows)
		if len(verdict.Missing) > 0 || len(verdict.Strange) > 0 {
			return fmt.Errorf("%s lacks acknowledged rows %s and has %s that nobody wrote", m.dir, verdict.Missing, verdict.Strange)
		}
	}
	return nil
}

func (s *switcher) end(ctx context.Context) error {
	return errors.Join(s.pair[0].stop(ctx), s.pair[1].stop(ctx))
}

// failovers: the server is killed, and the time from the command to the first
// write that is acknowledged.
func (b *bench) failovers(ctx context.Context, s *switcher) error {
	r := row{Part: "switchover", Who: us + ", failover", Unit: "ms", Fsync: "file, dir"}
	for round := range b.rounds(5, 1) {
		from, to := s.pair[s.primary], s.pair[1-s.primary]
		load, err := b.startLoad(ctx, fmt.Sprintf("failover-%d", round), from, to)
		if err != nil {
			return err
		}
		took, err := s.failOnce(ctx, load, from, to)
		if err := errors.Join(err, load.end()); err != nil {
			return fmt.Errorf("failover: %w", err)
		}
		r.Values = append(r.Values, ms(took))
		b.note("failover %d: %s", round, took)
	}
	b.print("failover, the standby caught up: from the command to the first acknowledged write", []row{r})
	return nil
}

func (s *switcher) failOnce(ctx context.Context, load *writing, from, to *member) (time.Duration, error) {
	if err := load.goesOn(ctx, beforeAfter); err != nil {
		return 0, err
	}
	if err := to.catchUp(ctx, from); err != nil {
		return 0, err
	}
	if err := from.kill(ctx); err != nil {
		return 0, err
	}
	// What was sent before is acknowledged or lost by now.
	if err := pause(ctx, 200*time.Millisecond); err != nil {
		return 0, err
	}
	first := load.firstAfter(ctx)
	began := time.Now()
	if err := to.warmrun(ctx, "failover", "--yes"); err != nil {
		return 0, err
	}
	at, err := first()
	if err != nil {
		return 0, err
	}
	s.primary = 1 - s.primary
	if err := from.warmrun(ctx, "rejoin", "--yes"); err != nil {
		return 0, err
	}
	return at.Sub(began), s.verify(ctx, load)
}

// writing is a load and what it has written.
type writing struct {
	*ledger.Load
	ledger *ledger.Ledger
	stopped,
	ended bool
}

// startLoad begins to write with ids of its own.
func (b *bench) startLoad(ctx context.Context, name string, members ...*member) (*writing, error) {
	if err := ledger.CreateTable(ctx, members[0].target()); err != nil {
		return nil, err
	}
	conn, err := psql.Connect(ctx, members[0].target())
	if err != nil {
		return nil, err
	}
	_, err = conn.Exec(ctx, "TRUNCATE "+ledger.Table)
	if err := errors.Join(err, conn.Close(ctx)); err != nil {
		return nil, err
	}
	l, err := ledger.Create(b.path("ledger-" + name))
	if err != nil {
		return nil, err
	}
	var targets []psql.Target
	for _, m := range members {
		targets = append(targets, m.target())
	}
	return &writing{ledger: l, Load: ledger.StartLoad(ctx, l, ledger.LoadConfig{Targets: targets, Writers: loadWriters, Batch: 1, Every: 2 * time.Millisecond})}, nil
}

// goesOn waits until writes have been acknowledged for so long.
func (w *writing) goesOn(ctx context.Context, d time.Duration) error {
	had := w.ledger.Snapshot().Acknowledged.Len()
	if err := await(ctx, time.Minute, "writes to go on", func() (bool, error) {
		return w.ledger.Snapshot().Acknowledged.Len() > had+20, nil
	}); err != nil {
		return err
	}
	return pause(ctx, d)
}

// firstAfter gives a function that waits for the first acknowledgement after now,
// and says when it came.
func (w *writing) firstAfter(ctx context.Context) func() (time.Time, error) {
	had := w.ledger.Snapshot().Acknowledged.Len()
	at, done := time.Time{}, make(chan error, 1)
	go func() {
		done <- await(ctx, time.Minute, "the first write", func() (bool, error) {
			at = time.Now()
			return w.ledger.Snapshot().Acknowledged.Len() > had, nil
		})
	}()
	return func() (time.Time, error) {
		err := <-done
		return at, err
	}
}

func (w *writing) stop() error {
	if w.stopped {
		return nil
	}
	w.stopped = true
	return w.Load.Stop()
}

func (w *writing) end() error {
	if w.ended {
		return nil
	}
	w.ended = true
	return errors.Join(w.stop(), w.ledger.Close())
}
