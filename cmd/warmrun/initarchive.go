package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/warmrun/warmrun/builtins/pgctl"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
)

// archiving sets what the primary needs to ship its WAL.
func (i *initiation) archiving(ctx context.Context) error {
	server := i.s.server()
	if _, err := server.Version(); errors.Is(err, fs.ErrNotExist) {
		return hint.Wrap(err, "init is for the node that has the data; on the others: warmrun configStandby, after distrib")
	}
	kind, err := walcore.DetectRecovery(i.pgdata)
	if err != nil {
		return err
	}
	if kind != walcore.RecoveryNone {
		i.tell("ok", "the server is a standby: nothing is set in it")
		return nil
	}
	conf, err := server.Conf()
	if err != nil {
		return err
	}
	wanted, err := i.wantedSettings(conf)
	if err != nil {
		return err
	}
	for _, name := range []string{"wal_level", "archive_mode", "archive_command", "archive_timeout"} {
		value, change := wanted[name]
		if !change {
			had, _ := conf.Get(name)
			i.tell("ok", "%s = %s", name, orWord(had, "replica"))
			continue
		}
		if err := i.change(fmt.Sprintf("set %s = '%s'", name, value), func() error { return i.set(ctx, name, value) }); err != nil {
			return err
		}
	}
	return i.pending(ctx, wanted)
}

// wantedSettings are those that have to be changed, by the server's files.
func (i *initiation) wantedSettings(conf pgctl.Conf) (map[string]string, error) {
	wanted := map[string]string{}
	if level, _ := conf.Get("wal_level"); level == "minimal" {
		wanted["wal_level"] = "replica"
	}
	if mode, _ := conf.Get("archive_mode"); mode != "always" && !conf.Bool("archive_mode", false) {
		wanted["archive_mode"] = "on"
	}
	if timeout, _ := conf.Get("archive_timeout"); timeout == "" || timeout == "0" {
		wanted["archive_timeout"] = "60s"
	}
	command, _ := conf.Get("archive_command")
	if strings.Join(strings.Fields(command), " ") == i.s.archiveCommand() {
		return wanted, nil
	}
	if command != "" && !i.yes && !i.plan {
		return nil, hint.Wrap(fmt.Errorf("archive_command is %q already", command), "who relies on it? Repeat with --yes to have it replaced by: %s", i.s.archiveCommand())
	}
	wanted["archive_command"] = i.s.archiveCommand()
	return wanted, nil
}

// set changes a setting, through the server where it runs.
func (i *initiation) set(ctx context.Context, name, value string) error {
	status, err := i.s.server().StatusNow()
	if err != nil {
		return err
	}
	if !status.Running {
		return i.s.server().SetAuto(map[string]string{name: value})
	}
	conn, err := i.s.sql(ctx, i.s.site.Self.Name)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, statement := range []string{"ALTER SYSTEM SET " + name + " = '" + strings.ReplaceAll(value, "'", "''") + "'", "SELECT pg_reload_conf()"} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// pending finds what the running server takes over only at its next start.
func (i *initiation) pending(ctx context.Context, wanted map[string]string) error {
	status, err := i.s.server().StatusNow()
	if err != nil || !status.Running {
		return err
	}
	conn, err := i.s.sql(ctx, i.s.site.Self.Name)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	state, err := conn.State(ctx)
	if err != nil {
		return err
	}
	if state.ArchiveMode == "off" {
		i.restart = append(i.restart, "archive_mode = on")
	}
	if state.WALLevel == "minimal" && (wanted["wal_level"] != "" || !i.plan) {
		i.restart = append(i.restart, "wal_level = replica")
	}
	return nil
}
