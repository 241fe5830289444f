package main

import (
	"context"
	"errors"
	"path/filepath"
)

// deltaPart: the copy is there, and 1 % of the server's pages have changed.
func deltaPart(ctx context.Context, b *bench) error {
	dir := b.path("delta")
	d, err := b.pgbenchDatabase(ctx, dir)
	if err != nil {
		return err
	}
	peers, repo, err := b.deltaPeers(ctx, dir, d)
	if err != nil {
		return err
	}
	if _, err := b.output(ctx, repo.backup().argv...); err != nil {
		return err
	}
	for _, x := range peers {
		if _, err := b.transfer(ctx, d.tree, x); err != nil {
			return err
		}
	}
	var shares []float64
	err = b.runTransfers(ctx, transferTable{
		part: "delta", load: d.title, title: "second copy over an older one, " + d.title, rounds: b.rounds(3, 2), tree: d.tree, peers: peers,
		round: func(ctx context.Context) error {
			if err := d.changePages(ctx, len(shares)); err != nil {
				return err
			}
			share, err := d.tree.changed(peers[0].target)
			shares = append(shares, share)
			if err != nil {
				return err
			}
			_, err = b.output(ctx, repo.argv("repo", "--type=incr", "backup")...)
			return err
		},
		before: leave, after: leave,
	})
	if err != nil {
		return err
	}
	b.say("%.2f %% of the pages changed before each round; MB/s of files, changed or not", median(shares))
	return errors.Join(d.stop(ctx), b.discard(dir))
}

func (b *bench) deltaPeers(ctx context.Context, dir string, d *database) ([]*transfer, *backupRepo, error) {
	l, err := b.newLink(ctx)
	if err != nil {
		return nil, nil, err
	}
	target := filepath.Join(dir, "warmrun")
	site, err := b.copySite(l, filepath.Join(dir, "wr"), d.pgdata, target)
	if err != nil {
		return nil, nil, err
	}
	rsyncs, err := b.rsyncPeers(ctx, d, dir, [][]string{{"-cva"}, {"-a", "--inplace"}})
	if err != nil {
		return nil, nil, err
	}
	repo, err := b.newBackupRepo(ctx, filepath.Join(dir, "br"), d)
	if err != nil {
		return nil, nil, err
	}
	peers := append([]*transfer{site.base(target, "")}, rsyncs...)
	return append(peers, repo.restore()), repo, nil
}
