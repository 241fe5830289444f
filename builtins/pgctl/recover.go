package pgctl

import (
	"context"
	"errors"
	"fmt"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
)

// EndAction is what a server does when its recovery has reached its target.
type EndAction string

// The ends of a recovery that are used here.
const (
	EndPromote EndAction = "promote" // it becomes an ordinary server
	EndPause   EndAction = "pause"   // it answers queries, read-only, until it is stopped
)

// PointInTime is a recovery outside standby mode: to a target, or to the end of
// the archive. A restore_command that answers 1 to 125 there ends recovery and
// opens the database.
type PointInTime struct {
	RestoreCommand string
	Target         walcore.Target
	// Timeline is the one to recover along. It is written out, so that one which
	// arrives meanwhile makes no difference.
	Timeline walcore.Timeline
	Action   EndAction
}

// oldStandbySettings are the ordinary settings, from 12 on, that would make of a
// recovery to a point in time something else.
var oldStandbySettings = [...]string{"primary_conninfo", "primary_slot_name", "recovery_min_apply_delay", "recovery_end_command",
	"archive_cleanup_command", "recovery_target_inclusive", "promote_trigger_file"}

// ConfigureRecovery makes the next start of the server a recovery to a point in
// time: the settings first, then recovery.signal (from 12 on) or recovery.conf in
// whole. What a standby's configuration has left is taken out of
// postgresql.auto.conf. When it returns nil everything is durable.
func (s Server) ConfigureRecovery(p PointInTime) error {
	v, err := s.Version()
	if err != nil {
		return err
	}
	settings, err := p.settings(v)
	if err != nil {
		return fmt.Errorf("recovery settings for PostgreSQL %s: %w", v, err)
	}
	if !FeaturesOf(v).SignalFiles {
		text, err := recoveryConf(v, settings)
		if err != nil {
			return err
		}
		return s.write(s.inData("recovery.conf"), text)
	}
	if err := s.editAuto(settings, append(oldStandbySettings[:], targets[:]...)); err != nil {
		return err
	}
	if err := s.removeIfThere("standby.signal"); err != nil {
		return err
	}
	return s.write(s.inData("recovery.signal"), "")
}

// settings are those of recovery, under the names that they have in every
// version.
func (p PointInTime) settings(v Version) (map[string]string, error) {
	settings := map[string]string{
		"restore_command": p.RestoreCommand, "recovery_target_timeline": fmt.Sprint(uint32(p.Timeline)),
	}
	if !p.Target.IsEnd() {
		if v < 9.5 {
			return nil, hint.Wrap(errors.New("recovery_target_action exists only from PostgreSQL 9.5 on"), "recover to the end of the archive")
		}
		settings["recovery_target_action"] = string(p.Action)
		settings["recovery_target_inclusive"] = fmt.Sprint(!p.Target.Exclusive)
	}
	t := p.Target
	switch {
	case !t.Time.IsZero():
		settings["recovery_target_time"] = t.Time.UTC().Format("2006-01-02 15:04:05.999999") + "+00"
	case t.LSN != 0 && v < 10:
		return nil, hint.Wrap(errors.New("recovery_target_lsn exists only from PostgreSQL 10 on"), "give a time or a transaction")
	case t.LSN != 0:
		settings["recovery_target_lsn"] = t.LSN.String()
	case t.XID != 0:
		settings["recovery_target_xid"] = fmt.Sprint(t.XID)
	case t.Name != "":
		settings["recovery_target_name"] = t.Name
	}
	return settings, nil
}

// ForgetRecovery takes the settings of a recovery that has ended out of
// postgresql.auto.conf. Without them nothing would be different, but whoever
// reads the file might think so. Before 12 the server itself has renamed
// recovery.conf.
func (s Server) ForgetRecovery() error {
	v, err := s.Version()
	if err != nil || !FeaturesOf(v).SignalFiles {
		return err
	}
	return s.ResetAuto(append([]string{"restore_command", "recovery_target_timeline", "recovery_target_action", "recovery_target_inclusive"}, targets[:]...)...)
}

// Minima are the settings that a server needs, at the least, to answer queries
// during the recovery of the cluster whose control file this is
// (CheckRequiredParameterValues in access/transam/xlogrecovery.c).
func Minima(c walcore.ControlFile, v Version) map[string]string {
	minima := map[string]string{}
	for name, value := range map[string]int{
		"max_connections": c.MaxConnections, "max_worker_processes": c.MaxWorkerProcesses,
		"max_prepared_transactions": c.MaxPreparedXacts, "max_locks_per_transaction": c.MaxLocksPerXact,
	} {
		minima[name] = fmt.Sprint(value)
	}
	if v >= 12 {
		minima["max_wal_senders"] = fmt.Sprint(c.MaxWALSenders)
	}
	return minima
}

// AwaitOpen waits until the server has ended its recovery and accepts writes. A
// server that ends meanwhile is an error, with its last words from the file that
// it logs to.
func (s Server) AwaitOpen(ctx context.Context, log string) error {
	return poll(ctx, func() (bool, error) {
		status, err := s.StatusNow()
		if err != nil {
			return false, err
		}
		if !status.Running {
			return false, s.Ended(log)
		}
		control, err := s.Control()
		return status.Ready == ReadyYes && control.State == walcore.StateInProduction, err
	})
}

// Ended is the error of a server that ended during its recovery, with its last
// words from the file that it logs to.
func (s Server) Ended(log string) error {
	return fmt.Errorf("the server in %s ended during its recovery%s", s.PGData, serverLog{file: log}.tail())
}
