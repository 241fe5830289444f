package standby

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/warmrun/warmrun/builtins/pgctl"
	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/hint"
)

// defaultTemplate is used where the site has no global/recovery.conf.
func (n Node) defaultTemplate() string {
	wait, restart := "", " %r"
	// Where there is no data directory yet, the server is taken for a new one.
	if major, err := n.Server.Version(); err == nil {
		features := pgctl.FeaturesOf(major)
		if !features.WALRetryInterval {
			// No signal wakes it, and it looks again only every five seconds;
			// before 9.0 any answer but a file opens the database.
			wait = " --wait"
		}
		if !features.RestartPoint {
			restart = ""
		}
	}
	return "restore_command = '{warmrun} restore" + wait + " %f %p" + restart + "'\n"
}

// Configure makes the node able to start only as a standby: the site's saved
// configuration, the recovery settings and the signal file, all durable when
// it returns. It changes nothing that a running server would notice.
func (n Node) Configure(ctx context.Context) error {
	if err := n.checkStopped(ctx); err != nil {
		return err
	}
	conf, err := n.Server.ConfigPath()
	if err != nil {
		return err
	}
	if err := install(n.LocalConf, conf); err != nil {
		return err
	}
	if err := install(n.LocalHBA, filepath.Join(filepath.Dir(conf), "pg_hba.conf")); err != nil {
		return err
	}
	if err := n.ownArchiveCommand(); err != nil {
		return err
	}
	if err := n.configureRecovery(); err != nil {
		return err
	}
	return n.EndRewind() // what it had begun with is no longer there
}

// ownArchiveCommand puts an archive_command of this program right that has come
// in postgresql.auto.conf with a base copy: it names program and home as they
// are on the other node, and would win over the saved postgresql.conf.
func (n Node) ownArchiveCommand() error {
	auto, err := pgctl.ReadConf(filepath.Join(n.Server.PGData, "postgresql.auto.conf"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	command, _ := auto.Get("archive_command")
	words := strings.Fields(command)
	own := n.Vars["warmrun"] + " archive %p %f"
	if len(words) == 0 || filepath.Base(words[0]) != "warmrun" || n.Vars["warmrun"] == "" || command == own {
		return nil
	}
	return n.Server.SetAuto(map[string]string{"archive_command": own})
}

// Fence is Configure for an old primary: only the recovery settings and the
// signal file, nothing else of its configuration is touched. It looks twice: a
// service manager that restarted the server just before the signal file was
// durable has made it writable, and then it is not fenced.
func (n Node) Fence(ctx context.Context) error {
	if err := n.checkStopped(ctx); err != nil {
		return err
	}
	if err := n.configureRecovery(); err != nil {
		return err
	}
	return n.checkStopped(ctx)
}

// Unfence lets the node start as a primary again. The caller has proved that
// nobody else was promoted.
func (n Node) Unfence() error { return n.Server.UnconfigureStandby() }

// RecoveryTemplate is what the site's template says of recovery, filled in for this
// node: configStandby writes it, with what the server's version needs besides.
func (n Node) RecoveryTemplate() (pgctl.RecoverySettings, error) {
	text, err := os.ReadFile(n.Template)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = []byte(n.defaultTemplate()), nil
	}
	if err != nil {
		return pgctl.RecoverySettings{}, err
	}
	settings, err := pgctl.ParseRecoveryTemplate(string(text), n.Vars)
	if err != nil {
		return settings, fmt.Errorf("%s: %w", n.Template, err)
	}
	return settings, nil
}

func (n Node) configureRecovery() error {
	settings, err := n.RecoveryTemplate()
	if err != nil {
		return err
	}
	if settings.TargetTimeline == "" {
		// "latest" is the server's default only from 12 on.
		settings.TargetTimeline = "latest"
	}
	if settings.Extra == nil {
		settings.Extra = map[string]string{}
	}
	major, err := n.Server.Version()
	if err != nil {
		return err
	}
	if _, set := settings.Extra["wal_retrieve_retry_interval"]; !set && pgctl.FeaturesOf(major).WALRetryInterval {
		// The nudge wakes the server at once; the interval is the net below it.
		settings.Extra["wal_retrieve_retry_interval"] = "1s"
	}
	if _, set := settings.Extra["recovery_prefetch"]; !set && waits(settings.RestoreCommand) && pgctl.FeaturesOf(major).RecoveryPrefetch {
		// A restore_command that waits starves prefetch: records that have been
		// decoded are not replayed before the next segment is there.
		settings.Extra["recovery_prefetch"] = "off"
	}
	if err := n.delay(settings.Extra, pgctl.FeaturesOf(major)); err != nil {
		return err
	}
	n.stream(&settings, major)
	if err := n.Server.ConfigureStandby(settings); err != nil {
		return fmt.Errorf("configure %s as a standby: %w", n.Name, err)
	}
	return nil
}

// delay makes a standby stay behind on purpose, or no longer: a setting that an
// earlier configuration has left would go on delaying it.
func (n Node) delay(extra map[string]string, features pgctl.Features) error {
	if _, set := extra["recovery_min_apply_delay"]; set {
		return nil
	}
	if n.Delay > 0 {
		if !features.MinApplyDelay {
			return hint.Wrap(fmt.Errorf("PostgreSQL %s cannot delay replay", features.Version), "take delay out of cluster.toml for %s", n.Name)
		}
		extra["recovery_min_apply_delay"] = fmt.Sprintf("%ds", int64(n.Delay.Seconds()))
		return nil
	}
	if conf, err := n.Server.Conf(); err == nil && features.SignalFiles {
		if _, left := conf.Get("recovery_min_apply_delay"); left {
			extra["recovery_min_apply_delay"] = "0"
		}
	}
	return nil
}

// stream has the standby receive WAL from the server that it follows, too, where
// the site wants that and the version can.
func (n Node) stream(settings *pgctl.RecoverySettings, major pgctl.Version) {
	features := pgctl.FeaturesOf(major)
	if n.Upstream == nil || !features.Streaming {
		return
	}
	if settings.PrimaryConninfo == "" {
		settings.PrimaryConninfo = n.Upstream(int(major))
	}
	if _, set := settings.Extra["primary_slot_name"]; !set && n.Slot != "" && features.Slots {
		settings.Extra["primary_slot_name"] = n.Slot
	}
}

// waits reports whether a restore_command waits for the segment it is asked for
// instead of answering at once.
func waits(restoreCommand string) bool {
	for _, word := range []string{"--wait", "restoreWALFile", "pg_standby"} {
		if strings.Contains(restoreCommand, word) {
			return true
		}
	}
	return false
}

// checkStopped refuses where a server runs: what is written here is for the
// next start.
func (n Node) checkStopped(ctx context.Context) error {
	status, err := n.Server.Status(ctx)
	if err != nil {
		return err
	}
	if status.Running {
		return hint.Wrap(fmt.Errorf("the server on %s is running (process %d)", n.Name, status.PID),
			"stop it first: pg_ctl -D %s stop -m fast", n.Server.PGData)
	}
	return nil
}

// writeConfig replaces a configuration file and keeps its mode.
func writeConfig(path string, data []byte) error {
	perm := fs.FileMode(0o600)
	if info, err := os.Stat(path); err == nil {
		perm = info.Mode().Perm()
	}
	return atomicfile.WriteFile(path, data, perm)
}
