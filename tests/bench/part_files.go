package main

import (
	"context"
	"errors"
	"path/filepath"
)

// filesPart: many small files, of which everyone has to look at each.
func filesPart(ctx context.Context, b *bench) error {
	dir := b.path("files")
	t, err := b.smallFiles(filepath.Join(dir, "src"))
	if err != nil {
		return err
	}
	peers, err := b.treePeers(ctx, dir, t, "-a")
	if err != nil {
		return err
	}
	err = b.runTransfers(ctx, transferTable{
		part: "files", load: "8 kB", title: "small files of 8 kB", rounds: b.rounds(3, 2), tree: t, peers: peers,
		before: b.discardCopy, after: b.discardCopy,
	})
	return errors.Join(err, b.discard(dir))
}

// smallFiles are 200,000 files of 8 kB, or a fortieth of them.
func (b *bench) smallFiles(root string) (*tree, error) {
	return randomTree(root, group{files: b.rounds(200_000, 5_000), bytes: 8192})
}

// treePeers copy a tree over links of their own.
func (b *bench) treePeers(ctx context.Context, dir string, t *tree, flags ...string) ([]*transfer, error) {
	ours, err := b.newLink(ctx)
	if err != nil {
		return nil, err
	}
	theirs, err := b.newLink(ctx)
	if err != nil {
		return nil, err
	}
	return b.peersOver(ours, theirs, dir, t, flags...)
}

func (b *bench) peersOver(ours, theirs *link, dir string, t *tree, flags ...string) ([]*transfer, error) {
	site, err := b.copySite(ours, filepath.Join(dir, "wr"), b.path("none"), b.path("none"))
	if err != nil {
		return nil, err
	}
	rsync, err := b.rsyncTransfer(theirs, bestSettings, t.root, filepath.Join(dir, "rsync"), flags...)
	if err != nil {
		return nil, err
	}
	return []*transfer{site.copy(t.root, filepath.Join(dir, "warmrun")), rsync}, nil
}
