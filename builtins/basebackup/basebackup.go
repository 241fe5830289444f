// Package basebackup takes a base copy: a copy of a running server's data
// directory, made between the start and the end of an online backup, from
// which another node recovers once it has the WAL written meanwhile.
//
// Terms:
//
//   - backup mode: what the server does between the start and the end of a
//     backup, so that whatever the files hold when they are read, replaying
//     WAL from the start mends it. From 9.6 on it is tied to the session that
//     started it and ends with that session; before, it was the server's
//     ("exclusive").
//   - backup_label: the file that tells recovery where the backup began. It is
//     written into the copy only; a copy that is started without it is corrupt
//     and does not say so.
//   - tablespace_map: the file that tells recovery where tablespaces are.
//   - backup_manifest: the list of a copy's files with their checksums, which
//     Verify and pg_verifybackup compare a copy with.
//
// The pages of relations are judged by their checksums while they pass, where
// the cluster has data_checksums on.
//
// A copy that is not complete cannot be started: pg_control is taken away from
// the target first and comes back last.
package basebackup

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/warmrun/warmrun/builtins/filesync"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
)

// Session is a session on the server that is copied, such as a psql.Conn. It
// must stay open until Copy returns: the backup ends with it.
type Session interface {
	// Version is server_version_num.
	Version() int
	Exec(ctx context.Context, sql string, args ...any) (string, error)
	Value(ctx context.Context, sql string, args ...any) (any, error)
}

// ClosingSession is a session that ends when it is closed.
type ClosingSession interface {
	Session
	Close(ctx context.Context) error
}

// Source is the server to copy. It runs on this node.
type Source struct {
	PGData string // its data directory
	Conn   Session
	// Connect opens a session with another database of the same server, where a
	// relation of which a page is bad has its name; nil: the name is left out.
	Connect func(ctx context.Context, database string) (ClosingSession, error)
}

// Request says what to copy where.
type Request struct {
	Source
	// Dial starts the far end of a copy on the target node.
	Dial filesync.Dialer
	// TargetPGData is the data directory there. It may hold an older copy of
	// the same cluster, which is then brought up to date.
	TargetPGData string
	// Label names the backup in backup_label; empty means "warmrun base copy".
	Label string
	// Fast asks for an immediate checkpoint, which costs the server some I/O.
	// Otherwise the start takes minutes, up to half of checkpoint_timeout.
	Fast bool
	// TablespaceMap says, by their location here, where tablespaces go that
	// are not to have the same location there.
	TablespaceMap map[string]string
	// Keep lists patterns (filesync.Match) of what in the data directory is
	// neither copied nor, on the target, deleted or overwritten: an archive
	// inside it, the target's own configuration. standby.signal and
	// recovery.conf are always kept. The copy's manifest says nothing of them.
	Keep []string
	// Exclude lists patterns of what is not copied, and is deleted there.
	Exclude []string
	// AllowBadPages goes on past pages whose checksum is wrong: the copy has
	// them as they are, and the result lists them. Otherwise the first of them
	// fails the copy. A cluster without data_checksums has none to judge.
	AllowBadPages bool
	// CheckTarget, when set, is asked before anything is changed whether the
	// target may be overwritten. The copy refuses by itself a directory of
	// another cluster and one whose postmaster runs.
	CheckTarget func(ctx context.Context) error

	Streams  int                  // as in filesync.Options
	MaxRate  int64                // as in filesync.Options
	Compress filesync.Compression // as in filesync.Options
	// Out gets messages, and the names of files with Verbose.
	Out     io.Writer
	Verbose bool
	// Progress is called for the data directory first and then for each
	// tablespace, each time from the beginning to a Progress that is Done.
	Progress func(filesync.Progress)
}

// Result is a base copy that was made. It can be started once the archive on
// the target node holds all WAL from StartSegment through StopSegment.
type Result struct {
	StartLSN     walcore.LSN         `json:"start_lsn"`
	StopLSN      walcore.LSN         `json:"stop_lsn"`
	StartSegment walcore.SegmentName `json:"start_segment"`
	StopSegment  walcore.SegmentName `json:"stop_segment"` // holds the last byte before StopLSN
	Timeline     walcore.Timeline    `json:"timeline"`
	// HistoryFile is the .backup file that a primary archives when the backup
	// ends.
	HistoryFile walcore.FileName `json:"history_file"`
	// Changed counts files that changed while they were read, as files of a
	// running server do. Replaying the WAL mends each of them.
	Changed int `json:"changed"`
	// PagesJudged counts pages of relations that passed by and have checksums.
	PagesJudged int64 `json:"pages_judged"`
	// BadPages are those among them that are bad, at most a thousand, and
	// BadPageCount is how many there were.
	BadPages     []BadPage        `json:"bad_pages,omitempty"`
	BadPageCount int              `json:"bad_page_count"`
	Summary      filesync.Summary `json:"summary"`
	Tablespaces  []Tablespace     `json:"tablespaces"`
}

// Copy makes a base copy. When it returns nil, everything is on disk on the
// target and the backup is over. When it fails, the backup has been ended on
// the server, or the error says that it could not be, and the target cannot be
// started; the next Copy goes on from what is there.
//
// It does not wait for the WAL to be archived.
func Copy(ctx context.Context, r Request) (Result, error) {
	c := &copier{Request: r}
	result, err := c.run(ctx)
	if err == nil {
		return result, nil
	}
	err = fmt.Errorf("base copy of %s to %s: %w", r.PGData, r.TargetPGData, err)
	if c.marked && hint.Of(err) == "" {
		err = hint.Wrap(err, "the target cannot be started as it is; run the copy again, it goes on from what is there")
	}
	return result, err
}

// copier is one base copy under way.
type copier struct {
	Request
	control     walcore.ControlFile // of the source, as the backup began
	walDir      string              // pg_wal, or what it is called before 10
	tablespaces []Tablespace
	marked      bool   // the target has been changed
	marker      marker // that it has then
	inspection  *inspection
	root        filesync.Entry // the data directory itself
	changed     func(name string, c filesync.Change) error
	result      Result
}

func (c *copier) run(ctx context.Context) (Result, error) {
	if err := c.examineSource(ctx); err != nil {
		return c.result, err
	}
	if err := c.examineTarget(ctx); err != nil {
		return c.result, err
	}
	if c.CheckTarget != nil {
		if err := c.CheckTarget(ctx); err != nil {
			return c.result, err
		}
	}
	b, err := startBackup(ctx, c.Conn, c.Source.PGData, c.label(), c.Fast)
	if err != nil {
		return c.result, err
	}
	// Read again: a server that was promoted a moment ago has had the old
	// timeline there until this checkpoint.
	if c.control, err = walcore.ReadControlFile(c.PGData); err != nil {
		return c.result, b.abandon(ctx, err)
	}
	segment := walcore.SegmentAt(c.control.Timeline, b.start, c.control.SegmentSize)
	c.say("Starting online backup at WAL file %s\n", segment)
	c.inspection = &inspection{control: c.control, start: b.start, goOn: c.AllowBadPages}
	control, err := c.copyFiles(ctx)
	if errors.Is(err, errBadPage) {
		err = c.badPagesError(ctx)
	}
	if err != nil {
		return c.result, b.abandon(ctx, err)
	}
	c.reportBadPages(ctx)
	stopped, err := b.stop(ctx)
	if err != nil {
		return c.result, err
	}
	if err := c.describe(stopped); err != nil {
		return c.result, err
	}
	c.say("Stopping online backup at WAL file %s", c.result.StopSegment)
	return c.result, c.complete(ctx, stopped, control)
}

func (c *copier) label() string {
	if c.Label == "" {
		return "warmrun base copy"
	}
	return c.Label
}

// say prints a message for the operator.
func (c *copier) say(format string, args ...any) {
	if c.Out != nil {
		_, _ = fmt.Fprintf(c.Out, format+"\n", args...) // a copy does not fail because nobody reads along
	}
}

// describe fills in the result from what the server said at the end.
func (c *copier) describe(s stopped) error {
	label, err := s.parseLabel()
	if err != nil {
		return err
	}
	size := c.control.SegmentSize
	c.result.StartLSN, c.result.StartSegment = label.StartLSN, label.StartSegment
	c.result.Timeline = label.StartTimeline
	c.result.StopLSN = s.lsn
	c.result.StopSegment = walcore.SegmentAt(label.StartTimeline, s.lsn-1, size)
	offset := uint64(label.StartLSN) % uint64(size)
	c.result.HistoryFile = walcore.FileName(fmt.Sprintf("%s.%08X.backup", label.StartSegment, offset))
	return nil
}
