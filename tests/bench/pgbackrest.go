package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/warmrun/warmrun/walcore"
)

const stanza = "bench"

// backrest is a pgbackrest repository on "the other node", and the two
// configurations: the database host's, which reaches it over ssh, and the
// repository's own.
type backrest struct {
	b        *bench
	dir      string
	link     *link
	dbConf   string
	repoConf string
}

// newBackrest makes the repository and its stanza. pgdata is the primary's.
// Where the repository's host has a standby that restores from it, pass its
// data directory, else pgdata again.
func (b *bench) newBackrest(ctx context.Context, dir, pgdata, standby string) (*backrest, error) {
	l, err := b.newLink(ctx)
	if err != nil {
		return nil, err
	}
	r := &backrest{b: b, dir: dir, link: l, dbConf: filepath.Join(dir, "db.conf"), repoConf: filepath.Join(dir, "repo.conf")}
	ssh := filepath.Join(dir, "ssh.sh")
	// Asynchronous, lz4 and two processes: its best.
	common := func(side string) string {
		return fmt.Sprintf("[global]\nlog-path=%[1]s/log\nlock-path=%[1]s/lock-%[2]s\nspool-path=%[1]s/spool-%[2]s\n"+
			"log-level-file=off\nlog-level-console=warn\ncompress-type=lz4\nprocess-max=2\n", dir, side)
	}
	db := common("db") + fmt.Sprintf("archive-async=y\ncmd-ssh=%s\nrepo1-host=127.0.0.1\nrepo1-host-port=%d\nrepo1-host-user=%s\nrepo1-host-config=%s\n[%s]\npg1-path=%s\n",
		ssh, l.port, b.user, r.repoConf, stanza, pgdata)
	repo := common("repo") + fmt.Sprintf("repo1-path=%s\n[%s]\npg1-path=%s\n", r.repo(), stanza, standby)
	err = errors.Join(
		write(ssh, fmt.Sprintf("#!/bin/sh\nexec ssh -F %s \"$@\"\n", l.clientConfig()), 0o755),
		write(l.clientConfig(), l.config(bestSettings), 0o600),
		write(r.dbConf, db, 0o600), write(r.repoConf, repo, 0o600),
		os.MkdirAll(r.repo(), 0o700), os.MkdirAll(filepath.Join(dir, "log"), 0o700), r.clearSpool())
	if err != nil {
		return nil, err
	}
	_, err = b.output(ctx, "pgbackrest", "--config="+r.repoConf, "--stanza="+stanza, "--pg1-path="+pgdata, "--no-online", "stanza-create")
	return r, err
}

func (r *backrest) repo() string { return filepath.Join(r.dir, "repo") }

func (r *backrest) clearSpool() error {
	return errors.Join(emptyDir(filepath.Join(r.dir, "spool-db")), emptyDir(filepath.Join(r.dir, "spool-repo")))
}

func (r *backrest) archiveCommand() string {
	return fmt.Sprintf("pgbackrest --config=%s --stanza=%s archive-push %%p", r.dbConf, stanza)
}

// restoreCommand restores from the repository on this node.
func (r *backrest) restoreCommand(async bool) string {
	flag := ""
	if async {
		flag = " --archive-async --archive-get-queue-max=1GB"
	}
	return fmt.Sprintf("pgbackrest --config=%s --stanza=%s%s archive-get %%f %%p", r.repoConf, stanza, flag)
}

// reset waits for the asynchronous process and removes every segment.
func (r *backrest) reset(ctx context.Context) error {
	if err := r.b.procs.finish(ctx, "/usr/bin/pgbackrest"); err != nil {
		return err
	}
	dirs, err := filepath.Glob(filepath.Join(r.repo(), "archive", stanza, "*", "*"))
	for _, dir := range dirs {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return errors.Join(err, r.clearSpool())
}

func (r *backrest) shipping() *shipping {
	return &shipping{
		who: "pgbackrest async", fsync: "file, dir", compress: "rest lz4", link: r.link,
		command: r.archiveCommand(), reset: r.reset, fetch: r.fetch,
	}
}

// fetch lets pgbackrest unpack the segment again.
func (r *backrest) fetch(ctx context.Context, name walcore.SegmentName) ([]byte, error) {
	target := filepath.Join(r.dir, "fetched")
	if _, err := r.b.output(ctx, "pgbackrest", "--config="+r.repoConf, "--stanza="+stanza, "archive-get", string(name), target); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(target)
	return data, errors.Join(err, os.Remove(target))
}
