package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// archivePart: full segments, one archive_command after the other, while the
// .ready files of the coming ones lie there: each contestant sees the same.
func archivePart(ctx context.Context, b *bench) error {
	w, err := b.source(ctx)
	if err != nil {
		return err
	}
	peers, err := b.archivePeers(ctx, w)
	if err != nil {
		return err
	}
	for _, l := range w.loads {
		if err := b.archiveTable(ctx, w, l, "archive", "plain at rest", peers["plain"]); err != nil {
			return err
		}
	}
	if len(peers["compressed"]) == 0 {
		b.say("\narchive, compressed at rest: not supported by this build (archive.compress)")
		return nil
	}
	for _, l := range w.loads {
		if err := b.archiveTable(ctx, w, l, "archive-compressed", "compressed at rest", peers["compressed"]); err != nil {
			return err
		}
	}
	return nil
}

// archivePeers are the contestants of both tables.
func (b *bench) archivePeers(ctx context.Context, w *walSource) (map[string][]*shipping, error) {
	site, err := b.newSite(ctx, b.path("wr"), w.pgdata, b.path("none"), "")
	if err != nil {
		return nil, err
	}
	rsync, err := b.twoWarm(ctx, b.path("two"))
	if err != nil {
		return nil, err
	}
	held, err := b.heldRsync(ctx, b.path("held"))
	if err != nil {
		return nil, err
	}
	repo, err := b.newBackrest(ctx, b.path("br"), w.pgdata, w.pgdata)
	if err != nil {
		return nil, err
	}
	local := copying(b.path("cp"))
	peers := map[string][]*shipping{"plain": {site.shipping(""), rsync, held, repo.shipping(), local}}
	for i, method := range []string{"zstd", "lz4"} {
		setting := fmt.Sprintf("compress = '%s'", method)
		known, err := b.supports(ctx, setting)
		if err != nil || !known {
			return peers, err
		}
		packed, err := b.newSite(ctx, b.path("wr-"+method), w.pgdata, b.path("none"), setting)
		if err != nil {
			return nil, err
		}
		s := packed.shipping("rest " + method)
		if i > 0 {
			s.who += ", " + method
		}
		peers["compressed"] = append(peers["compressed"], s)
	}
	peers["compressed"] = append(peers["compressed"], repo.shipping(), local)
	return peers, nil
}

func (b *bench) archiveTable(ctx context.Context, w *walSource, l load, part, how string, peers []*shipping) error {
	rounds, batch := b.rounds(5, 2), float64(b.batch())
	if l.title != "pgbench" {
		rounds = b.rounds(3, 2)
	}
	rows := make([]row, len(peers))
	for round := range rounds {
		for _, i := range turns(len(peers), round) {
			turn, err := b.archiveTurn(ctx, w, peers[i], l)
			if err != nil {
				return err
			}
			if round == 0 {
				rows[i] = peers[i].row(part, l.title, "segments/s")
				rows[i].higher = true
			}
			if peers[i].compress == "" {
				rows[i].Compress = observed(turn.wire/int64(batch), int64(w.size))
			}
			rows[i].Values = append(rows[i].Values, batch/turn.took.Seconds())
			rows[i].cpus = append(rows[i].cpus, ms(turn.cpu)/batch)
			rows[i].Wire = turn.wire / int64(batch)
			b.note("archive %s, round %d: %s %s", l.title, round+1, peers[i].who, turn.took)
		}
	}
	b.print(fmt.Sprintf("archive, %s: %d segments of %d MB of %s WAL, median of %d rounds",
		how, b.batch(), w.size>>20, l.title, rounds), rows)
	return nil
}

// observed says what the bytes on the wire show of a compression that is the
// contestant's own choice.
func observed(wire, segment int64) string {
	if wire < segment*98/100 {
		return "wire, its own"
	}
	return "none seen"
}

// turn is what one contestant needed for one batch.
type turn struct {
	took, cpu time.Duration
	wire      int64
}

func (b *bench) archiveTurn(ctx context.Context, w *walSource, s *shipping, l load) (turn, error) {
	if err := errors.Join(touchMemory(), b.warm(ctx, w, s, l)); err != nil {
		return turn{}, err
	}
	before, err := b.procs.settle(ctx)
	if err != nil {
		return turn{}, err
	}
	wire, start := s.link.wire(), time.Now()
	for _, name := range l.segments[1:] {
		if _, err := b.call(ctx, w, s, name); err != nil {
			return turn{}, err
		}
	}
	t := turn{took: time.Since(start)}
	after, err := b.procs.settle(ctx)
	if err != nil {
		return turn{}, err
	}
	t.cpu, t.wire = after-before, s.link.wire()-wire
	return t, w.verify(ctx, s, l.segments)
}

// turns is the order of the contestants in a round: each begins one in turn,
// and every other round goes backwards.
func turns(n, round int) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = (i + round) % n
	}
	if round%2 == 1 {
		slices.Reverse(order)
	}
	return order
}
