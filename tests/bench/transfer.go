package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// transfer is one way to bring a tree to the other node.
type transfer struct {
	who      string
	fsync    string
	compress string
	link     *link        // nil: not over ssh
	wire     func() int64 // bytes so far, both ways
	argv     []string
	// flush flushes the file system afterwards, within the measured time: for
	// those who leave that to the kernel.
	flush  bool
	target string // the copy, or what it is unpacked from
	// verify compares the copy with the tree.
	verify func(context.Context, *tree) error
	// far is the program on the other side.
	far string
}

// moved is what a transfer needed.
type moved struct {
	took, cpu time.Duration
	wire      int64
}

// newTransfer is one that leaves a tree as it is in target.
func newTransfer(who string, l *link, target string, argv ...string) *transfer {
	return &transfer{
		who: who, link: l, wire: l.wire, target: target, argv: argv,
		verify: func(_ context.Context, t *tree) error { return t.verify(target) },
	}
}

// transfer runs one, from memory to disk, and compares the copy.
func (b *bench) transfer(ctx context.Context, t *tree, x *transfer) (moved, error) {
	m, err := b.move(ctx, t, x)
	if err == nil {
		err = x.verify(ctx, t)
	}
	if err != nil {
		return m, fmt.Errorf("%s: %w", x.who, err)
	}
	b.note("%s: %s", x.who, m.took)
	return m, nil
}

func (b *bench) move(ctx context.Context, t *tree, x *transfer) (_ moved, err error) {
	if err := t.warm(); err != nil {
		return moved{}, err
	}
	// Nobody flushes what others have written.
	if _, err := b.output(ctx, "sync", "-f", b.dir); err != nil {
		return moved{}, err
	}
	release, err := warmMemory(t.bytes)
	if err != nil {
		return moved{}, err
	}
	defer func() { err = errors.Join(err, release()) }()
	before, err := b.procs.settle(ctx)
	if err != nil {
		return moved{}, err
	}
	wire := x.wire()
	took, err := b.timed(ctx, b.dir, x.argv...)
	if err != nil {
		return moved{}, err
	}
	if x.flush {
		flushed, err := b.timed(ctx, b.dir, "sync", "-f", x.target)
		if err != nil {
			return moved{}, err
		}
		took += flushed
	}
	after, err := b.procs.settle(ctx)
	return moved{took: took, cpu: after - before, wire: x.wire() - wire}, err
}

// transferTable is a table of transfers that take turns with a tree.
type transferTable struct {
	part, load, title string
	rounds            int
	tree              *tree
	peers             []*transfer
	round             func(context.Context) error // before each round; may be nil
	before, after     func(*transfer) error       // around each turn
}

func (b *bench) runTransfers(ctx context.Context, t transferTable) error {
	rows := make([]row, len(t.peers))
	for round := range t.rounds {
		if t.round != nil {
			if err := t.round(ctx); err != nil {
				return err
			}
		}
		for _, i := range turns(len(t.peers), round) {
			x := t.peers[i]
			if err := t.before(x); err != nil {
				return err
			}
			m, err := b.transfer(ctx, t.tree, x)
			if err != nil {
				return err
			}
			if err := t.after(x); err != nil {
				return err
			}
			if round == 0 {
				rows[i] = x.row(t.part, t.load)
			}
			rows[i].add(m, t.tree)
		}
	}
	b.print(fmt.Sprintf("%s: %s, median of %d rounds", t.title, size(t.tree.bytes), t.rounds), rows)
	return nil
}

// row begins the transfer's row of a table.
func (x *transfer) row(part, load string) row {
	return row{Part: part, Load: load, Who: x.who, Fsync: x.fsync, Cipher: x.link.cipher(), Compress: x.compress, Unit: "MB/s", higher: true, copied: true}
}

func (r *row) add(m moved, t *tree) {
	r.Values = append(r.Values, float64(t.bytes)/1e6/m.took.Seconds())
	r.gbCPUs = append(r.gbCPUs, m.cpu.Seconds()/t.gb())
	r.Wire = m.wire
}

// discardCopy puts a copy aside.
func (b *bench) discardCopy(x *transfer) error { return b.discard(x.target) }

// leave leaves a copy where it is.
func leave(*transfer) error { return nil }
