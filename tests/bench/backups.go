package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
)

// pgBaseBackup copies over TCP on loopback, with no encryption.
func (b *bench) pgBaseBackup(d *database, target string) (*transfer, error) {
	p, err := startProxy(net.JoinHostPort("127.0.0.1", strconv.Itoa(d.port)))
	if err != nil {
		return nil, err
	}
	b.proxies = append(b.proxies, p)
	x := newTransfer("pg_basebackup, TCP", nil, target, filepath.Join(b.pgBin, "pg_basebackup"),
		"-D", target, "-h", "127.0.0.1", "-p", strconv.Itoa(p.port()), "-c", "fast", "-X", "none")
	x.wire, x.fsync, x.compress = p.bytes, "file, dir", "none"
	return x, nil
}

// backupRepo is a pgbackrest repository on "the other node" for backups of a
// database, which the repository's host fetches over ssh; and over ssh again
// they are restored.
type backupRepo struct {
	b    *bench
	dir  string
	link *link
}

// newBackupRepo gives pgbackrest what is best for it: lz4, two processes, small
// files in bundles, the fastest cipher.
func (b *bench) newBackupRepo(ctx context.Context, dir string, d *database) (*backupRepo, error) {
	l, err := b.newLink(ctx)
	if err != nil {
		return nil, err
	}
	r := &backupRepo{b: b, dir: dir, link: l}
	ssh := filepath.Join(dir, "ssh.sh")
	common := func(side string) string {
		return fmt.Sprintf("[global]\nlog-path=%[1]s/log\nlock-path=%[1]s/lock-%[2]s\nspool-path=%[1]s/spool-%[2]s\ncmd-ssh=%[3]s\n"+
			"log-level-file=off\nlog-level-console=warn\ncompress-type=lz4\nprocess-max=2\nstart-fast=y\narchive-check=n\n", dir, side, ssh)
	}
	remote := func(option, config string) string {
		return fmt.Sprintf("%[1]s-host=%[2]s\n%[1]s-host-port=%[3]d\n%[1]s-host-user=%[4]s\n%[1]s-host-config=%[5]s\n", option, l.host, l.port, b.user, config)
	}
	server := fmt.Sprintf("pg1-path=%s\npg1-port=%d\npg1-socket-path=%s\npg1-user=%s\n", d.pgdata, d.port, b.dir, sqlUser)
	repo := fmt.Sprintf("repo1-path=%s\nrepo1-bundle=y\n", r.repo())
	section := "[" + stanza + "]\n"
	return r, errors.Join(
		write(ssh, fmt.Sprintf("#!/bin/sh\nexec ssh -F %s \"$@\"\n", l.clientConfig()), 0o755),
		write(l.clientConfig(), l.config(bestSettings), 0o600),
		write(r.config("db"), common("db")+section+server, 0o600),
		write(r.config("repo"), common("repo")+repo+section+remote("pg1", r.config("db"))+server, 0o600),
		// What a restore starts on the repository's host.
		write(r.config("source"), common("source")+repo+section+server, 0o600),
		write(r.config("target"), common("target")+remote("repo1", r.config("source"))+section+fmt.Sprintf("pg1-path=%s\n", r.restored()), 0o600),
		os.MkdirAll(filepath.Join(dir, "log"), 0o700),
		r.empty(ctx))
}

func (r *backupRepo) config(side string) string { return filepath.Join(r.dir, side+".conf") }
func (r *backupRepo) repo() string              { return filepath.Join(r.dir, "repo") }
func (r *backupRepo) restored() string          { return filepath.Join(r.dir, "restored") }

func (r *backupRepo) argv(side string, words ...string) []string {
	return append([]string{"pgbackrest", "--config=" + r.config(side), "--stanza=" + stanza}, words...)
}

// empty makes a repository that has nothing.
func (r *backupRepo) empty(ctx context.Context) error {
	if err := errors.Join(r.b.discard(r.repo()), os.MkdirAll(r.repo(), 0o700)); err != nil {
		return err
	}
	_, err := r.b.output(ctx, r.argv("repo", "stanza-create")...)
	return err
}

// backup is a first backup, which a restore unpacks to compare it.
func (r *backupRepo) backup() *transfer {
	x := newTransfer("pgbackrest backup", r.link, r.repo(), r.argv("repo", "--type=full", "backup")...)
	x.fsync, x.compress = "file, dir", "rest lz4"
	x.verify = func(ctx context.Context, t *tree) error {
		restore := r.restore()
		if err := errors.Join(r.b.discard(r.restored()), os.MkdirAll(r.restored(), 0o700)); err != nil {
			return err
		}
		if _, err := r.b.output(ctx, restore.argv...); err != nil {
			return err
		}
		return errors.Join(restore.verify(ctx, t), r.b.discard(r.restored()))
	}
	return x
}

// restore brings a data directory to the newest backup.
func (r *backupRepo) restore() *transfer {
	x := newTransfer("pgbackrest restore --delta", r.link, r.restored(), r.argv("target", "--delta", "--type=none", "restore")...)
	x.fsync, x.compress = "file, dir", "rest lz4"
	return x
}
