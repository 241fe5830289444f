package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// copyMemory: the most that each side of a copy held at once, of many small
// files, of a million of tiny ones, and of a large server. A side may be several processes, whose peaks are
// added up: more than they held at any one time, and never less.
func copyMemory(ctx context.Context, b *bench) error {
	dir := b.path("memory")
	files, err := b.smallFiles(filepath.Join(dir, "src"))
	if err != nil {
		return err
	}
	d, err := b.pgbenchDatabase(ctx, dir)
	if err != nil {
		return err
	}
	l, err := b.newLink(ctx)
	if err != nil {
		return err
	}
	target := filepath.Join(dir, "warmrun")
	site, err := b.copySite(l, filepath.Join(dir, "wr"), d.pgdata, target)
	if err != nil {
		return err
	}
	small, err := b.copyPeaks(ctx, site, "copy of "+size(files.bytes)+" in small files", files, site.copy(files.root, filepath.Join(dir, "files")))
	if err != nil {
		return err
	}
	if err := os.RemoveAll(files.root); err != nil {
		return err
	}
	million, err := randomTree(files.root, group{files: b.rounds(1_000_000, 25_000), bytes: 100})
	if err != nil {
		return err
	}
	tiny, err := b.copyPeaks(ctx, site, fmt.Sprintf("copy of %d files", b.rounds(1_000_000, 25_000)), million, site.copy(million.root, filepath.Join(dir, "million")))
	if err != nil {
		return err
	}
	large, err := b.copyPeaks(ctx, site, "base copy of "+size(d.tree.bytes), d.tree, site.base(target, ""))
	if err != nil {
		return err
	}
	b.print("peak resident memory of copies, each side's processes added up: a first copy and one more (p99 is the larger)", slices.Concat(small, tiny, large))
	return errors.Join(d.stop(ctx), b.discard(dir))
}

// copyPeaks copies twice, from nothing and over what is there then, and makes a
// row of each side.
func (b *bench) copyPeaks(ctx context.Context, site *site, what string, t *tree, x *transfer) ([]row, error) {
	rows := []row{{Who: what + ", sender"}, {Who: what + ", receiver"}}
	for range 2 {
		peaks := b.watchMemory(site.binary, x.far)
		_, err := b.transfer(ctx, t, x)
		seen := peaks()
		if err != nil {
			return nil, err
		}
		for i := range rows {
			rows[i].Part, rows[i].Unit, rows[i].withP99 = "memory", "peak MB", true
			rows[i].Values = append(rows[i].Values, seen[i])
		}
	}
	return rows, nil
}

// watchMemory looks at the processes of some programs until peaks is called,
// which returns for each program the most in MB.
func (b *bench) watchMemory(programs ...string) (peaks func() []float64) {
	most := make([]float64, len(programs))
	stop := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			for i, program := range programs {
				sum := 0.0
				for _, pid := range b.procs.running(program) {
					sum += highWater(pid)
				}
				most[i] = max(most[i], sum)
			}
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	return func() []float64 {
		close(stop)
		watching.Wait()
		return most
	}
}
