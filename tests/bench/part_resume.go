package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"
)

// resumePart: a copy whose process is killed when nine tenths of its bytes have
// passed, and then the same copy once more.
func resumePart(ctx context.Context, b *bench) error {
	dir := b.path("resume")
	d, err := b.pgbenchDatabase(ctx, dir)
	if err != nil {
		return err
	}
	t, err := newTree(filepath.Join(d.pgdata, "base"), func(name string) bool { return filepath.Base(name) == "pg_internal.init" })
	if err != nil {
		return err
	}
	if err := d.stop(ctx); err != nil {
		return err
	}
	peers, err := b.treePeers(ctx, dir, t, "-a", "--partial")
	if err != nil {
		return err
	}
	rows := make([]row, len(peers))
	for round := range b.rounds(3, 2) {
		for _, i := range turns(len(peers), round) {
			whole, again, err := b.resumeTurn(ctx, t, peers[i])
			if err != nil {
				return err
			}
			if round == 0 {
				rows[i] = peers[i].row("resume", d.title)
				rows[i].Unit, rows[i].higher = "% of a whole copy", false
			}
			rows[i].Values = append(rows[i].Values, 100*again.took.Seconds()/whole.took.Seconds())
			rows[i].Wire = again.wire
		}
	}
	b.print(fmt.Sprintf("the second run of a copy of %s that was killed at 90 %%, median of %d rounds", size(t.bytes), b.rounds(3, 2)), rows)
	return b.discard(dir)
}

// resumeTurn copies the whole tree, and then again with a kill in between.
func (b *bench) resumeTurn(ctx context.Context, t *tree, x *transfer) (whole, again moved, err error) {
	if whole, err = b.transfer(ctx, t, x); err != nil {
		return whole, again, err
	}
	if err := b.discardCopy(x); err != nil {
		return whole, again, err
	}
	if err := b.cut(ctx, x, whole.wire*9/10); err != nil {
		return whole, again, fmt.Errorf("%s: %w", x.who, err)
	}
	if again, err = b.transfer(ctx, t, x); err != nil {
		return whole, again, err
	}
	return whole, again, b.discardCopy(x)
}

// cut kills a copy when so many bytes have passed, and returns when the other
// side has ended as well.
func (b *bench) cut(ctx context.Context, x *transfer, wire int64) error {
	start := x.wire()
	cmd := b.command(ctx, x.argv...)
	cmd.Stdout, cmd.Stderr = b.log, b.log
	if err := b.procs.start(cmd); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- b.procs.wait(cmd) }()
	for x.wire()-start < wire {
		select {
		case err := <-ended:
			return fmt.Errorf("ended before it was killed, after %d of %d bytes (%w)", x.wire()-start, wire, err)
		case <-time.After(time.Millisecond):
		}
	}
	var exit *exec.ExitError
	if err := errors.Join(cmd.Process.Kill(), <-ended); !errors.As(err, &exit) {
		return fmt.Errorf("was not killed, after %d of %d bytes (%w)", x.wire()-start, wire, err)
	}
	b.note("%s: killed after %d of %d bytes", x.who, x.wire()-start, wire)
	return await(ctx, time.Minute, "the other side to end", func() (bool, error) {
		return len(b.procs.running(x.far)) == 0, nil
	})
}
