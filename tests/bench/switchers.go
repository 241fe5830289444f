package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/warmrun/warmrun/builtins/pgctl"
)

// newSwitcher makes a contestant with two members that do not run yet.
func (b *bench) newSwitcher(dir, who string) *switcher {
	s := &switcher{
		gap:   row{Part: "switchover", Load: "gap", Who: who, Unit: "ms"},
		whole: row{Part: "switchover", Load: "command", Who: who, Unit: "ms"},
	}
	for i, name := range []string{"a", "b"} {
		s.pair[i] = b.newMember(b.path(dir, name))
	}
	return s
}

// switchFiles is warmrun with nothing but the archive between the two.
func (b *bench) switchFiles(ctx context.Context) (*switcher, error) {
	return b.switchWarmrun(ctx, "sw1", us, "")
}

// switchStreaming has streaming and slots besides.
func (b *bench) switchStreaming(ctx context.Context) (*switcher, error) {
	return b.switchWarmrun(ctx, "sw2", us+", streaming", "[streaming]\nenabled = true\nslots = true\nuser = '"+sqlUser+"'\n")
}

func (b *bench) switchWarmrun(ctx context.Context, dir, who, toml string) (*switcher, error) {
	s := b.newSwitcher(dir, who)
	s.gap.Fsync, s.whole.Fsync = "file, dir", "file, dir"
	l, err := b.newLink(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.warmrunSite(s.pair, l, toml); err != nil {
		return nil, err
	}
	primary, standby := s.pair[0], s.pair[1]
	conf := func(m *member) string {
		return m.conf("archive_mode = on", fmt.Sprintf("archive_command = '%s/bin/warmrun --home %s archive %%p %%f'", m.home, m.home))
	}
	if err := errors.Join(
		write(filepath.Join(standby.home, "local", "postgresql.conf"), conf(standby), 0o600),
		primary.initPrimary(ctx, conf(primary))); err != nil {
		return nil, err
	}
	if err := errors.Join(standby.warmrun(ctx, "configStandby"), primary.warmrun(ctx, "copyToStandby", "--start")); err != nil {
		return nil, err
	}
	s.change = func(ctx context.Context, from, _ *member) error {
		return from.warmrun(ctx, "switchover", "--drain", "0s")
	}
	return s, standby.catchUp(ctx, primary)
}

// warmrunSite writes the home directories of two nodes.
func (b *bench) warmrunSite(pair [2]*member, l *link, more string) error {
	program, err := os.ReadFile(b.path("warmrun"))
	if err != nil {
		return err
	}
	toml := "[cluster]\nname = 'bench'\n" + more
	for i, name := range []string{"a", "b"} {
		m := pair[i]
		toml += fmt.Sprintf("[[node]]\nname = '%s'\nhost = '%s'\nport = %d\npgdata = '%s'\nhome = '%s'\nuser = '%s'\nstream_host = '127.0.0.1'\nbin_dir = '%s'\n", name, l.host, m.port, m.pgdata, m.home, sqlUser, b.pgBin)
		toml += fmt.Sprintf("[node.ssh]\nuser = '%s'\nport = %d\nidentity_file = '%s'\nknown_hosts = '%s'\n", b.user, l.port, l.key(), l.knownHosts())
	}
	for i, name := range []string{"a", "b"} {
		home := pair[i].home
		err = errors.Join(err,
			write(filepath.Join(home, "global", "cluster.toml"), toml, 0o600),
			write(filepath.Join(home, "global", "pg_hba.conf"), memberHBA, 0o600),
			write(filepath.Join(home, "local", "node"), name+"\n", 0o600),
			write(filepath.Join(home, "bin", "warmrun"), string(program), 0o755))
	}
	return err
}

// switchRepmgr is repmgr with what suits it best: slots, and no archiving, which
// has made it lose its standby. Nil, with a word, where it is not installed.
func (b *bench) switchRepmgr(ctx context.Context) (*switcher, error) {
	repmgr := filepath.Join(b.pgBin, "repmgr")
	if _, err := os.Stat(repmgr); err != nil {
		b.say("repmgr for this server's version is not installed: left out")
		return nil, nil
	}
	s := b.newSwitcher("sw3", "repmgr standby switchover")
	l, err := b.newLink(ctx)
	if err != nil {
		return nil, err
	}
	for i, m := range s.pair {
		conf := fmt.Sprintf("node_id=%d\nnode_name='%s'\nconninfo='%s dbname=postgres connect_timeout=2'\ndata_directory='%s'\npg_bindir='%s'\nuse_replication_slots=yes\nssh_options='-F %s'\nlog_level=NOTICE\npromote_check_interval=1\n",
			i+1, filepath.Base(m.dir), m.conninfo(), m.pgdata, b.pgBin, l.clientConfig())
		if err := write(filepath.Join(m.dir, "repmgr.conf"), conf, 0o600); err != nil {
			return nil, err
		}
	}
	run := func(m *member, args ...string) error {
		_, err := b.timed(ctx, m.dir, append([]string{repmgr, "-f", filepath.Join(m.dir, "repmgr.conf")}, args...)...)
		return err
	}
	primary, standby := s.pair[0], s.pair[1]
	if err := errors.Join(
		primary.initPrimary(ctx, primary.conf()),
		run(primary, "primary", "register"),
		run(standby, "-h", "127.0.0.1", "-p", fmt.Sprint(primary.port), "-U", sqlUser, "-d", "postgres", "standby", "clone", "--fast-checkpoint"),
		write(filepath.Join(standby.pgdata, "postgresql.conf"), standby.conf(), 0o600),
		standby.start(ctx),
		run(standby, "standby", "register")); err != nil {
		return nil, err
	}
	s.change = func(_ context.Context, _, to *member) error { return run(to, "standby", "switchover") }
	return s, standby.catchUp(ctx, primary)
}

// switchBare is what nobody can be faster than: stop one, promote the other, and
// nothing in between. That nothing is lost is left to streaming.
func (b *bench) switchBare(ctx context.Context) (*switcher, error) {
	s := b.newSwitcher("sw4", "bare stop and promote, streaming")
	s.whole = row{}
	primary, standby := s.pair[0], s.pair[1]
	if err := primary.initPrimary(ctx, primary.conf("wal_keep_size = 512MB")); err != nil {
		return nil, err
	}
	if _, err := b.output(ctx, filepath.Join(b.pgBin, "pg_basebackup"), "-h", "127.0.0.1", "-p", fmt.Sprint(primary.port), "-U", sqlUser, "-D", standby.pgdata, "-c", "fast", "-X", "stream"); err != nil {
		return nil, err
	}
	follow := func(m, other *member) error {
		return errors.Join(
			write(filepath.Join(m.pgdata, "postgresql.conf"), m.conf("wal_keep_size = 512MB", "primary_conninfo = '"+other.conninfo()+"'", "wal_retrieve_retry_interval = 500ms"), 0o600),
			write(filepath.Join(m.pgdata, "standby.signal"), "", 0o600))
	}
	if err := errors.Join(follow(standby, primary), standby.start(ctx)); err != nil {
		return nil, err
	}
	s.change = func(ctx context.Context, from, to *member) error {
		if err := from.server.Stop(ctx, pgctl.StopOptions{Timeout: time.Minute}); err != nil {
			return err
		}
		if err := to.server.Promote(ctx, time.Minute); err != nil {
			return err
		}
		return errors.Join(follow(from, to), from.start(ctx))
	}
	return s, standby.catchUp(ctx, primary)
}
