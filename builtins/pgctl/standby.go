package pgctl

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/hint"
)

// RecoverySettings are the settings of a standby, under the names that they
// had in recovery.conf.
type RecoverySettings struct {
	RestoreCommand string `json:"restore_command"`
	// TargetTimeline is recovery_target_timeline; empty means latest, which is
	// written out: a server before 12 would stay on the old timeline.
	TargetTimeline  string `json:"target_timeline,omitempty"`
	PrimaryConninfo string `json:"primary_conninfo,omitempty"`
	// TriggerFile is trigger_file, promote_trigger_file from 12 on; from 16 on
	// the server has no such thing and it is left out.
	TriggerFile        string `json:"trigger_file,omitempty"`
	RecoveryEndCommand string `json:"recovery_end_command,omitempty"`
	// Extra holds further settings. Before 12 those that recovery.conf does
	// not know go to postgresql.auto.conf.
	Extra map[string]string `json:"extra,omitempty"`
}

// recoveryNames are the settings of recovery.conf that a standby may have,
// with the first version that knows each.
func recoveryNames() map[string]Version {
	return map[string]Version{
		"restore_command": 8.0, "recovery_target_timeline": 8.0,
		"recovery_end_command":    8.4,
		"archive_cleanup_command": 9.0, "primary_conninfo": 9.0, "standby_mode": 9.0, "trigger_file": 9.0,
		"primary_slot_name": 9.4, "recovery_min_apply_delay": 9.4,
	}
}

// laterSettings are ordinary settings that this program or a site's template
// may ask for and that older servers refuse to start with.
func laterSettings() map[string]Version {
	return map[string]Version{
		"hot_standby": 9.0, "max_standby_archive_delay": 9.0, "max_standby_streaming_delay": 9.0, "hot_standby_feedback": 9.1,
		"wal_retrieve_retry_interval": 9.5, "recovery_prefetch": 15, "wal_decode_buffer_size": 15,
	}
}

// targets are the settings that end a recovery at a chosen point. One left
// over would end a standby's.
var targets = [...]string{"recovery_target", "recovery_target_lsn", "recovery_target_name", "recovery_target_time", "recovery_target_xid"}

// ConfigureStandby makes the data directory one that can only start as a
// standby: the settings first, then standby.signal (from 12 on) or
// recovery.conf in whole. When it returns nil everything is durable. It may be
// called while the server runs; nothing of it counts before the next start.
//
// Settings of an earlier point-in-time recovery are taken out of
// postgresql.auto.conf.
func (s Server) ConfigureStandby(r RecoverySettings) error {
	v, err := s.Version()
	if err != nil {
		return err
	}
	recovery, ordinary, err := r.split(v)
	if err != nil {
		return fmt.Errorf("recovery settings for PostgreSQL %s: %w", v, err)
	}
	if FeaturesOf(v).SignalFiles {
		maps.Copy(ordinary, recovery)
		if err := s.editAuto(ordinary, targets[:]); err != nil {
			return err
		}
		if err := s.write(s.inData("standby.signal"), ""); err != nil {
			return err
		}
		// standby.signal would win over it (readRecoverySignalFile in
		// xlogrecovery.c), and it would linger after the promotion.
		return s.removeIfThere("recovery.signal")
	}
	if len(ordinary) > 0 {
		if err := s.SetAuto(ordinary); err != nil {
			return err
		}
	}
	text, err := recoveryConf(v, recovery)
	if err != nil {
		return err
	}
	return s.write(s.inData("recovery.conf"), text)
}

// UnconfigureStandby takes the signal file away, durably, so that the next
// start makes the server a primary again; recovery.conf becomes recovery.done,
// as a promotion would leave it. With nothing there it does nothing. The
// settings stay: without the signal they have no effect.
func (s Server) UnconfigureStandby() error {
	v, err := s.Version()
	if err != nil {
		return err
	}
	if FeaturesOf(v).SignalFiles {
		return s.removeIfThere("standby.signal")
	}
	err = atomicfile.Rename(s.inData("recovery.conf"), s.inData("recovery.done"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (s Server) inData(name string) string { return filepath.Join(s.PGData, name) }

// removeIfThere also flushes the directory when the file is not there: an
// earlier call may have died between the two.
func (s Server) removeIfThere(name string) error { return atomicfile.Remove(s.inData(name)) }

// split sorts the settings into those of recovery and ordinary ones, and
// refuses what the version does not know.
func (r RecoverySettings) split(v Version) (recovery, ordinary map[string]string, err error) {
	features := FeaturesOf(v)
	recovery, ordinary = map[string]string{}, map[string]string{}
	for name, value := range r.Extra {
		name = strings.ToLower(name)
		_, known := recoveryNames()[name]
		if since := laterSettings()[name]; !known && v < since {
			return nil, nil, hint.Wrap(fmt.Errorf("%s exists only from PostgreSQL %s on", name, since), "leave it out: this server would not start with it")
		}
		if known {
			recovery[name] = value
		} else {
			ordinary[name] = value
		}
	}
	for name, value := range map[string]string{
		"restore_command": r.RestoreCommand, "primary_conninfo": r.PrimaryConninfo, "recovery_end_command": r.RecoveryEndCommand,
		"trigger_file": r.TriggerFile, "recovery_target_timeline": r.TargetTimeline,
	} {
		if value != "" {
			recovery[name] = value
		}
	}
	if recovery["recovery_target_timeline"] == "" {
		recovery["recovery_target_timeline"] = "latest"
	}
	for name := range recovery {
		if since := recoveryNames()[name]; v < since {
			return nil, nil, hint.Wrap(fmt.Errorf("%s exists only from PostgreSQL %s on", name, since), "leave it out: this server would not start with it")
		}
	}
	delete(recovery, "standby_mode")
	if features.StandbyMode && !features.SignalFiles {
		recovery["standby_mode"] = "on"
	}
	if trigger, ok := recovery["trigger_file"]; ok && features.TriggerSetting != "trigger_file" {
		delete(recovery, "trigger_file")
		if features.TriggerSetting != "" {
			recovery[features.TriggerSetting] = trigger
		}
	}
	return recovery, ordinary, nil
}

// recoveryConf is the text of a recovery.conf. Before 9.1 its reader knew no
// backslashes, so a value cannot hold one in a form that is right for both.
func recoveryConf(v Version, settings map[string]string) (string, error) {
	if v < 9.1 {
		for _, name := range slices.Sorted(maps.Keys(settings)) {
			if strings.Contains(settings[name], `\`) {
				return "", fmt.Errorf("%s: PostgreSQL %s cannot read a backslash in recovery.conf", name, v)
			}
		}
	}
	lines, err := confLines(settings)
	return "# Written by warmrun; configStandby writes it anew.\n" + lines, err
}

// StandbyConfigured reports whether the next start of the server is one into
// standby recovery: standby.signal is there, or recovery.conf before 12.
func (s Server) StandbyConfigured() (bool, error) {
	v, err := s.Version()
	if err != nil {
		return false, err
	}
	name := "recovery.conf"
	if FeaturesOf(v).SignalFiles {
		name = "standby.signal"
	}
	_, err = os.Lstat(s.inData(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
