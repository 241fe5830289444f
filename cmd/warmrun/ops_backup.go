package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/warmrun/warmrun/builtins/backups"
	"github.com/warmrun/warmrun/builtins/basebackup"
	"github.com/warmrun/warmrun/builtins/filesync"
	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// beginBackupOptions say whose copy it will be, and where recovery of that
// server would begin now.
type beginBackupOptions struct {
	Source      string              `json:"source"`
	SystemID    string              `json:"system_identifier"` // in digits: Lua's numbers have too few bits
	Redo        walcore.LSN         `json:"redo"`
	Timeline    walcore.Timeline    `json:"timeline"`
	SegmentSize walcore.SegmentSize `json:"segment_size"`
	// Seed begins with what the newest copy has.
	Seed bool `json:"seed"`
}

// takeBackupOptions are a base copy of the node's server into the copy ID that
// another node has begun.
type takeBackupOptions struct {
	To            cluster.NodeName     `json:"to"`
	ID            string               `json:"id"`
	Fast          bool                 `json:"fast"`
	Streams       int                  `json:"streams"`
	MaxRate       int64                `json:"max_rate"` // bytes a second; 0 is no limit
	Compress      filesync.Compression `json:"compress"`
	AllowBadPages bool                 `json:"allow_bad_pages"`
}

// takenBackup is a base copy that was taken.
type takenBackup struct {
	StartLSN     walcore.LSN         `json:"start_lsn"`
	StopLSN      walcore.LSN         `json:"stop_lsn"`
	StartSegment walcore.SegmentName `json:"start_segment"`
	StopSegment  walcore.SegmentName `json:"stop_segment"`
	Timeline     walcore.Timeline    `json:"timeline"`
	Version      int                 `json:"version"` // server_version_num
	Bytes        int64               `json:"bytes"`
	Finished     string              `json:"finished"` // by the server's clock
}

// completeBackupOptions are what has become of the copy.
type completeBackupOptions struct {
	ID           string              `json:"id"`
	StartLSN     walcore.LSN         `json:"start_lsn"`
	StopLSN      walcore.LSN         `json:"stop_lsn"`
	StartSegment walcore.SegmentName `json:"start_segment"`
	StopSegment  walcore.SegmentName `json:"stop_segment"`
	Timeline     walcore.Timeline    `json:"timeline"`
	Version      int                 `json:"version"`
	Bytes        int64               `json:"bytes"`
	Finished     string              `json:"finished"`
}

type backupIDOption struct {
	ID string `json:"id"`
}

type removedBackups struct {
	Removed []string `json:"removed"`
}

func backupOperations() []operation {
	return []operation{
		onNode("backup", "list", engine.Read, "the base copies that the node keeps, oldest first",
			func(_ context.Context, s *session, _ none) ([]backups.Copy, error) { return s.backups().List() }),
		onNode("backup", "sweep", engine.Change, "remove the node's base copies that were begun and not completed, by runs that were cut",
			func(_ context.Context, s *session, _ none) (removedBackups, error) {
				removed, err := s.backups().Sweep()
				return removedBackups{removed}, err
			}),
		onNode("backup", "begin", engine.Change, "begin a base copy that the node is to keep, and keep the WAL that it will need", beginBackup),
		onNode("backup", "take", engine.Change, "take a base copy of the node's running server into the one that another node has begun", takeBackup),
		onNode("backup", "complete", engine.Change, "note that the node's base copy is complete; its archive must have all WAL that it needs", completeBackup),
		onNode("backup", "verify", engine.Change, "compare a base copy that the node keeps with its backup manifest, and note the result", verifyBackup),
		onNode("backup", "discard", engine.Change, "remove a base copy that was not completed, and let its WAL go",
			func(_ context.Context, s *session, o backupIDOption) (none, error) {
				return none{}, s.backups().Remove(o.ID, true)
			}),
		onNode("backup", "expire", engine.Change, "remove the node's base copies that [backup] in cluster.toml does not ask to keep; the newest good one stays", expireBackups),
	}
}

// backups is where this node keeps base copies.
func (s *session) backups() backups.Store {
	return backups.Store{Dir: s.site.Self.Backups, Archive: s.site.Self.Archive}
}

func beginBackup(ctx context.Context, s *session, o beginBackupOptions) (backups.Copy, error) {
	if !o.SegmentSize.Valid() || o.Timeline == 0 {
		return backups.Copy{}, fmt.Errorf("no segment is at %s on timeline %d with segments of %d bytes", o.Redo, uint32(o.Timeline), o.SegmentSize)
	}
	system, err := strconv.ParseUint(o.SystemID, 10, 64)
	if err != nil {
		return backups.Copy{}, err
	}
	from := walcore.SegmentAt(o.Timeline, o.Redo, o.SegmentSize)
	c, err := s.backups().Begin(ctx, o.Source, system, from, o.Seed, time.Now())
	if err == nil && c.Seed != "" {
		say(ctx, s, "Beginning with what the base copy %s has; only what differs is sent", c.Seed)
	}
	return c, err
}

// takeBackup runs on the server's node. The times of transactions are by that
// node's clock, and so is the time at which the copy was complete.
func takeBackup(ctx context.Context, s *session, o takeBackupOptions) (takenBackup, error) {
	if err := (copyOptions{Streams: o.Streams, MaxRate: o.MaxRate, Compress: o.Compress}).check(); err != nil {
		return takenBackup{}, err
	}
	to, err := s.site.Node(o.To)
	if err != nil {
		return takenBackup{}, err
	}
	request, err := s.backupRequest(ctx, o, to)
	if err != nil {
		return takenBackup{}, err
	}
	conn, err := s.sql(ctx, s.site.Self.Name)
	if err != nil {
		return takenBackup{}, err
	}
	defer conn.Close(ctx)
	request.Conn = conn
	result, err := basebackup.Copy(ctx, request)
	if err != nil {
		return takenBackup{}, err
	}
	fmt.Fprintln(s.live(ctx), result.Summary)
	finished, err := conn.Value(ctx, "SELECT clock_timestamp()")
	return takenBackup{
		StartLSN: result.StartLSN, StopLSN: result.StopLSN, StartSegment: result.StartSegment, StopSegment: result.StopSegment,
		Timeline: result.Timeline, Version: conn.Version(), Bytes: result.Summary.TotalSize, Finished: fmt.Sprint(finished),
	}, err
}

// backupRequest is a base copy into a directory of its own, with its tablespaces
// beside it.
func (s *session) backupRequest(ctx context.Context, o takeBackupOptions, to cluster.Node) (basebackup.Request, error) {
	kept := backups.Copy{ID: o.ID, Dir: filepath.Join(to.Backups, o.ID)}
	here, err := s.views(ctx, s.site.Self.Name, s.site.Self.PGData)
	if err != nil {
		return basebackup.Request{}, err
	}
	spaces, err := basebackup.TablespaceDirs(s.site.Self.PGData)
	if err != nil {
		return basebackup.Request{}, err
	}
	moved := map[string]string{}
	for oid, dir := range spaces {
		moved[dir] = kept.Tablespace(oid)
	}
	request := s.baseRequest(baseOptions{
		To: o.To, Fast: o.Fast, Streams: o.Streams, MaxRate: o.MaxRate, Compress: o.Compress, AllowBadPages: o.AllowBadPages, Tablespaces: moved,
	}, to, s.progress(ctx))
	if s.site.IsSelf(o.To) {
		request.Dial = s.farEnd(s.at(o.To, kept.PGData()))
	}
	request.TargetPGData, request.Exclude = kept.PGData(), insidePGDATA(here...)
	request.Label = fmt.Sprintf("warmrun base copy %s of %s on %s", o.ID, s.site.Self.Name, o.To)
	request.CheckTarget = func(ctx context.Context) error { return s.checkBegun(ctx, o) }
	return request, nil
}

// checkBegun refuses a copy into what no run has begun, or another has completed.
func (s *session) checkBegun(ctx context.Context, o takeBackupOptions) error {
	kept, err := callOn(ctx, s, o.To, "backup.list", none{},
		func(_ context.Context, s *session, _ none) ([]backups.Copy, error) { return s.backups().List() })
	if err != nil {
		return err
	}
	for _, c := range kept {
		if c.ID == o.ID && !c.Complete() && !c.Begun.IsZero() {
			return nil
		}
	}
	return fmt.Errorf("the base copy %s on %s was not begun, or is complete", o.ID, o.To)
}

func completeBackup(_ context.Context, s *session, o completeBackupOptions) (backups.Copy, error) {
	c, err := s.backups().Find(o.ID)
	if err != nil {
		return c, err
	}
	if c.Finished, err = time.Parse(time.RFC3339Nano, o.Finished); err != nil {
		return c, err
	}
	c.StartLSN, c.StopLSN, c.StartSegment, c.StopSegment = o.StartLSN, o.StopLSN, o.StartSegment, o.StopSegment
	c.Timeline, c.Version, c.Bytes = o.Timeline, o.Version, o.Bytes
	return c, s.backups().Complete(c)
}

// verifyBackup notes what it finds, and fails where the copy is not as it was
// made.
func verifyBackup(ctx context.Context, s *session, o backupIDOption) (backups.Copy, error) {
	store := s.backups()
	c, err := store.Find(o.ID)
	if err != nil {
		return c, err
	}
	bar, begun := s.progress(ctx), time.Now()
	report, err := verifyCopy(ctx, basebackup.VerifyRequest{Dir: c.PGData(), Progress: bar.verifying(begun)})
	bar.clear()
	if err != nil && !errors.Is(err, basebackup.ErrNoManifest) {
		return c, err
	}
	c.Verified, c.Damaged = begun.UTC().Truncate(time.Second), ""
	if err != nil {
		c.Damaged = err.Error()
	} else if n := len(report.Findings); n > 0 {
		c.Damaged = fmt.Sprintf("%s, the first: %s", counted(n, "finding"), report.Findings[0])
	}
	if err := store.Save(c); err != nil {
		return c, err
	}
	if c.Damaged != "" {
		return c, hint.Wrap(fmt.Errorf("the base copy %s in %s is damaged: %s", c.ID, c.Dir, c.Damaged),
			"look for a failing disk, and take another one: warmrun backup; warmrun verifyCopy %s lists all that is wrong", c.PGData())
	}
	say(ctx, s, "%s: %d files are as they were copied", c.ID, report.Files)
	return c, nil
}

func expireBackups(ctx context.Context, s *session, _ none) (removedBackups, error) {
	keeping := s.site.Keeping
	removed, err := s.backups().Expire(backups.Retention{Keep: keeping.Keep, For: time.Duration(keeping.KeepFor)}, time.Now())
	for _, id := range removed {
		say(ctx, s, "Removed the base copy %s, which is not to be kept any longer", id)
	}
	return removedBackups{removed}, err
}
