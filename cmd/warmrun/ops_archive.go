package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

type setActiveOptions struct {
	Active bool `json:"active"`
}

type setActiveResult struct {
	Was bool        `json:"was"`
	LSN walcore.LSN `json:"lsn"` // zero where no server answers
}

type acceptsOptions struct {
	SystemID    uint64              `json:"system_identifier,string"`
	SegmentSize walcore.SegmentSize `json:"segment_size"`
}

type checkArchiveOptions struct {
	Source string `json:"source"`
}

type backlogResult struct {
	Ready  int    `json:"ready"`
	Oldest string `json:"oldest"`
	// Drain is how long these take, in words, at the pace of the last minute.
	Drain string `json:"drain"`
}

type switchResult struct {
	LSN      walcore.LSN         `json:"lsn"`
	Segment  walcore.SegmentName `json:"segment"`
	Timeline walcore.Timeline    `json:"timeline"`
}

// waitOptions name what must be in the archive: a segment, with From all from
// that one to it, or the history of a timeline.
type waitOptions struct {
	From    walcore.SegmentName `json:"from"`
	Segment walcore.SegmentName `json:"segment"`
	History walcore.Timeline    `json:"history"`
	Timeout time.Duration       `json:"timeout"`
}

func archiveOperations() []operation {
	return []operation{
		onNode("archive", "active", engine.Read, "whether the node ships its WAL (archiving_active exists)",
			func(_ context.Context, s *session, _ none) (bool, error) { return s.site.ArchivingActive() }),
		onNode("archive", "set_active", engine.Change, "create or remove archiving_active, durably", setActive),
		here("archive", "check", engine.Read, "that the node's archive exists, can be written and belongs to the source's cluster", []string{"node"},
			func(s *session) any {
				return func(ctx context.Context, node string, o checkArchiveOptions) (bool, error) {
					return checkArchive(ctx, s, cluster.NodeName(node), cluster.NodeName(o.Source))
				}
			}),
		onNode("archive", "accepts", engine.Read, "that the archive here takes WAL of the cluster named", archiveAccepts),
		onNode("archive", "check_command", engine.Read, "that the server archives through this program", checkArchiveCommand),
		onNode("archive", "working", engine.Read, "that the server's archiver does not fail, or why it does", checkArchiver),
		onNode("archive", "backlog", engine.Read, "how many files wait in pg_wal to be archived, and how long that takes",
			func(_ context.Context, s *session, _ none) (backlogResult, error) { return backlog(s.site.Self.PGData) }),
		here("archive", "outlook", engine.Read, "which nodes a new primary's archiver misses, and what to do about it", []string{"node"}, func(s *session) any {
			return func(ctx context.Context, node string) (outlook, error) {
				return archiverOutlook(ctx, s, cluster.NodeName(node))
			}
		}),
		onNode("archive", "switch", engine.Change, "end the current segment, so that it is archived now", switchWAL),
		onNode("archive", "drain", engine.Wait, "wait until no file waits to be archived", drainArchiver),
		onNode("archive", "wait", engine.Wait, "wait until the node's archive has a segment, or a timeline's history", waitArchive),
	}
}

func setActive(ctx context.Context, s *session, o setActiveOptions) (setActiveResult, error) {
	was, err := s.site.ArchivingActive()
	if err != nil {
		return setActiveResult{}, err
	}
	result := setActiveResult{Was: was}
	if conn, done, err := s.anySQL(ctx); err == nil {
		defer done()
		if state, err := conn.State(ctx); err == nil {
			result.LSN = max(state.CurrentLSN, state.ReplayLSN)
		}
	}
	return result, s.site.SetArchivingActive(o.Active, fmt.Sprintf("archiving_active written at %s", result.LSN))
}

func checkArchive(ctx context.Context, s *session, node, source cluster.NodeName) (bool, error) {
	control, err := controlOf(ctx, s, source)
	if err != nil {
		return false, fmt.Errorf("read the control file of %s: %w", source, err)
	}
	_, err = callOn(ctx, s, node, "archive.accepts", acceptsOptions{SystemID: control.SystemID, SegmentSize: control.SegmentSize}, archiveAccepts)
	return err == nil, err
}

func controlOf(ctx context.Context, s *session, node cluster.NodeName) (walcore.ControlFile, error) {
	return callOn(ctx, s, node, "pg_ctl.control", none{},
		func(_ context.Context, s *session, _ none) (walcore.ControlFile, error) { return s.server().Control() })
}

func archiveAccepts(_ context.Context, s *session, o acceptsOptions) (none, error) {
	self := s.site.Self
	archive, err := walcore.OpenArchive(self.Archive)
	if errors.Is(err, walcore.ErrNoArchive) {
		return none{}, hint.Wrap(fmt.Errorf("%s has no archive at %s", self.Name, self.Archive), "run configStandby on %s, or create the directory", self.Name)
	}
	if err != nil {
		return none{}, err
	}
	stamp, stamped, err := archive.Stamp()
	if err != nil {
		return none{}, err
	}
	if stamped && stamp.SystemID != o.SystemID {
		return none{}, hint.Wrap(fmt.Errorf("the archive %s on %s belongs to another cluster (system identifier %d, this one is %d)", self.Archive, self.Name, stamp.SystemID, o.SystemID),
			"give each cluster an archive of its own; after pg_upgrade move the old archive aside")
	}
	if stamped && stamp.SegmentSize != o.SegmentSize {
		return none{}, hint.Wrap(fmt.Errorf("the archive %s on %s holds segments of %d bytes, this cluster writes %d", self.Archive, self.Name, stamp.SegmentSize, o.SegmentSize),
			"move the old archive aside")
	}
	probe, err := os.CreateTemp(self.Archive, ".warmrun-probe-*")
	if err != nil {
		return none{}, hint.Wrap(fmt.Errorf("the archive %s on %s cannot be written: %w", self.Archive, self.Name, err), "make it writable for the server's user")
	}
	return none{}, errors.Join(probe.Close(), os.Remove(probe.Name()))
}

func checkArchiveCommand(ctx context.Context, s *session, _ none) (none, error) {
	conn, err := s.sql(ctx, s.site.Self.Name)
	if err != nil {
		return none{}, err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, "SELECT current_setting('archive_mode'), current_setting('archive_command'), current_setting('wal_level'), coalesce(current_setting('archive_library', true), '')")
	if err != nil {
		return none{}, err
	}
	mode, command, level, library := fmt.Sprint(rows.Values[0][0]), fmt.Sprint(rows.Values[0][1]), fmt.Sprint(rows.Values[0][2]), fmt.Sprint(rows.Values[0][3])
	want := s.archiveCommand()
	switch {
	case level == "minimal":
		return none{}, hint.Wrap(fmt.Errorf("wal_level is minimal on %s: its WAL cannot feed a standby", s.site.Self.Name), "set wal_level = replica and restart the server")
	case mode == "off":
		return none{}, hint.Wrap(fmt.Errorf("archive_mode is off on %s", s.site.Self.Name), "set archive_mode = on and archive_command = '%s', and restart the server", want)
	case library != "":
		return none{}, hint.Wrap(fmt.Errorf("archive_library on %s is %q, so archive_command is ignored", s.site.Self.Name, library), "ALTER SYSTEM RESET archive_library, set archive_command = '%s' and reload the server", want)
	case !archivesHere(command):
		return none{}, hint.Wrap(fmt.Errorf("archive_command on %s is %q, which does not call warmrun", s.site.Self.Name, command), "set archive_command = '%s' and reload the server", want)
	}
	return none{}, nil
}

func backlog(pgdata string) (backlogResult, error) {
	var result backlogResult
	entries, err := os.ReadDir(filepath.Join(walcore.WALDir(pgdata), "archive_status"))
	if errors.Is(err, fs.ErrNotExist) {
		return result, nil
	}
	if err != nil {
		return result, err
	}
	done := 0
	for _, entry := range entries {
		if name, ready := strings.CutSuffix(entry.Name(), ".ready"); ready {
			if result.Ready == 0 {
				result.Oldest = name
			}
			result.Ready++
		} else if doneLately(entry) {
			done++
		}
	}
	switch {
	case result.Ready > 0 && done == 0:
		result.Drain = "none was archived in the last minute"
	case result.Ready > 0:
		result.Drain = fmt.Sprintf("at the pace of the last minute that takes %s", (time.Duration(result.Ready) * time.Minute / time.Duration(done)).Round(time.Second))
	}
	return result, nil
}

// doneLately reports whether a file in archive_status is of one that was archived
// in the last minute. The archiver renames NAME.ready to NAME.done, which changes
// no more than the file's change time.
func doneLately(entry fs.DirEntry) bool {
	if !strings.HasSuffix(entry.Name(), ".done") {
		return false
	}
	info, err := entry.Info()
	if err != nil {
		return false // a checkpoint has removed it
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && time.Since(time.Unix(stat.Ctim.Unix())) < time.Minute
}

// switchWAL logs a message first, so that the segment has something in it and
// the switch is never a no-op (pg_switch_wal does nothing in an empty segment).
func switchWAL(ctx context.Context, s *session, _ none) (switchResult, error) {
	conn, err := s.sql(ctx, s.site.Self.Name)
	if err != nil {
		return switchResult{}, err
	}
	defer conn.Close(ctx)
	state, err := conn.State(ctx)
	if err != nil {
		return switchResult{}, err
	}
	mark, end, name := "pg_create_restore_point('warmrun')", "pg_switch_wal()", "pg_walfile_name"
	if state.Version < 100000 {
		end, name = "pg_switch_xlog()", "pg_xlogfile_name"
	}
	if _, err := conn.Value(ctx, "SELECT "+mark); err != nil {
		return switchResult{}, err
	}
	rows, err := conn.Query(ctx, fmt.Sprintf("SELECT l::text, %s(l) FROM (SELECT %s AS l) s", name, end))
	if err != nil {
		return switchResult{}, err
	}
	lsn, err := walcore.ParseLSN(fmt.Sprint(rows.Values[0][0]))
	if err != nil {
		return switchResult{}, err
	}
	return switchResult{LSN: lsn, Segment: walcore.SegmentName(fmt.Sprint(rows.Values[0][1])), Timeline: state.Timeline}, nil
}

func drainArchiver(ctx context.Context, s *session, o timeoutOption) (backlogResult, error) {
	defer s.telling(ctx, func(context.Context) string {
		waiting, err := backlog(s.site.Self.PGData)
		if err != nil || waiting.Ready == 0 {
			return ""
		}
		return fmt.Sprintf("%d files wait to be archived on %s, the oldest is %s; %s", waiting.Ready, s.site.Self.Name, waiting.Oldest, waiting.Drain)
	})()
	var last backlogResult
	err := until(ctx, orDefault(o.Timeout, 10*time.Minute), func() (bool, error) {
		var err error
		last, err = backlog(s.site.Self.PGData)
		return last.Ready == 0, err
	})
	if errors.Is(err, context.DeadlineExceeded) {
		err = hint.Wrap(fmt.Errorf("%d files still wait to be archived on %s, the oldest is %s", last.Ready, s.site.Self.Name, last.Oldest),
			"the server's log says why archive_command fails")
		if _, why := checkArchiver(ctx, s, none{}); why != nil {
			err = why
		}
	}
	return last, err
}

func waitArchive(ctx context.Context, s *session, o waitOptions) (none, error) {
	archive, err := walcore.OpenArchive(s.site.Self.Archive)
	if err != nil {
		return none{}, err
	}
	timeout := orDefault(o.Timeout, 10*time.Minute)
	defer s.telling(ctx, func(context.Context) string {
		missing, err := o.missing(archive)
		if err != nil || missing == "" {
			return ""
		}
		return fmt.Sprintf("%s is not in the archive on %s yet", missing, s.site.Self.Name)
	})()
	var missing walcore.FileName
	err = until(ctx, timeout, func() (bool, error) {
		var err error
		missing, err = o.missing(archive)
		return missing == "", err
	})
	if errors.Is(err, context.DeadlineExceeded) {
		err = hint.Wrap(fmt.Errorf("%s did not arrive in the archive on %s within %s", missing, s.site.Self.Name, timeout),
			"the primary's server log says why archive_command fails")
	}
	return none{}, err
}

// missing is the first file that is waited for and is not there; "" when all
// are.
func (o waitOptions) missing(archive *walcore.Archive) (walcore.FileName, error) {
	name := walcore.FileName(o.Segment)
	switch {
	case o.History > 0:
		name = o.History.HistoryName()
	case o.From != "":
		segment, err := archive.FirstMissing(o.From, o.Segment)
		return walcore.FileName(segment), err
	}
	if found, err := archive.Has(name); err != nil || !found {
		return name, err
	}
	return "", nil
}

// until asks every 50 ms until the answer is yes, an error, or the time is up.
func until(ctx context.Context, timeout time.Duration, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}
