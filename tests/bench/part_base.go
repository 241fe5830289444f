package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/warmrun/warmrun/builtins/filesync"
)

// basePart: a first copy of a server that nobody uses, from memory to disk.
// warmrun, pg_basebackup and pgbackrest make a backup of the running server;
// rsync copies its files, which is all that is asked of it while they do not
// change.
func basePart(ctx context.Context, b *bench) error {
	if err := b.baseTable(ctx, b.path("base"), b.pgbenchDatabase); err != nil {
		return err
	}
	return b.baseTable(ctx, b.path("noise"), b.noiseDatabase)
}

func (b *bench) baseTable(ctx context.Context, dir string, fill func(context.Context, string) (*database, error)) error {
	d, err := fill(ctx, dir)
	if err != nil {
		return err
	}
	peers, repo, err := b.basePeers(ctx, dir, d)
	if err != nil {
		return err
	}
	err = b.runTransfers(ctx, transferTable{
		part: "base", load: d.title, title: "first base copy, " + d.title, rounds: b.rounds(3, 2), tree: d.tree, peers: peers,
		before: func(x *transfer) error {
			if x.target == repo.repo() {
				return repo.empty(ctx)
			}
			return b.discardCopy(x)
		},
		after: b.discardCopy,
	})
	if err != nil {
		return err
	}
	b.say("rsync copies the files of the idle server, without backup mode; MB/s of files; pages have checksums, which warmrun, pgbackrest and pg_basebackup verify")
	return errors.Join(d.stop(ctx), b.discard(dir))
}

func (b *bench) basePeers(ctx context.Context, dir string, d *database) ([]*transfer, *backupRepo, error) {
	target := func(name string) string { return filepath.Join(dir, name) }
	l, err := b.newLink(ctx)
	if err != nil {
		return nil, nil, err
	}
	site, err := b.copySite(l, target("wr"), d.pgdata, target("warmrun"))
	if err != nil {
		return nil, nil, err
	}
	rsyncs, err := b.rsyncPeers(ctx, d, dir, [][]string{{"-cva"}, {"-az"}, {"-azW", "--zc=lz4"}})
	if err != nil {
		return nil, nil, err
	}
	repo, err := b.newBackupRepo(ctx, target("br"), d)
	if err != nil {
		return nil, nil, err
	}
	direct, err := b.pgBaseBackup(d, target("pg_basebackup"))
	if err != nil {
		return nil, nil, err
	}
	var peers []*transfer
	for _, compress := range []filesync.Compression{"", filesync.CompressNone, filesync.CompressZstd} {
		peers = append(peers, site.base(target("warmrun"), compress))
	}
	return append(append(peers, rsyncs...), repo.backup(), direct), repo, nil
}

// rsyncPeers copy a database with each of the sets of flags: the first one as
// 2warm does, with OpenSSH's defaults, the others with its fastest settings.
func (b *bench) rsyncPeers(ctx context.Context, d *database, dir string, flags [][]string) ([]*transfer, error) {
	var peers []*transfer
	for i, set := range flags {
		l, err := b.newLink(ctx)
		if err != nil {
			return nil, err
		}
		settings := bestSettings
		if set[0] == "-cva" {
			settings = ""
		}
		target := filepath.Join(dir, fmt.Sprintf("rsync%d", i))
		x, err := b.rsyncTransfer(l, settings, d.pgdata, target, append(set, "--exclude=/pg_wal/*", "--exclude=postmaster.*")...)
		if err != nil {
			return nil, err
		}
		switch {
		case set[0] == "-cva":
			x.who = "2warm: " + x.who
		case set[0] == "-az":
			if x.compress, err = b.rsyncPacking(ctx, l); err != nil {
				return nil, err
			}
		case slices.Contains(set, "--zc=lz4"):
			x.compress = "wire lz4"
		}
		peers = append(peers, x)
	}
	return peers, nil
}
