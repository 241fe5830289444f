package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/ship"
)

// fetchPause is the least time between two searches for the same WAL that is
// missing here: an idle standby asks for its next segment every second.
const fetchPause = 30 * time.Second

// fetchCommand looks for a segment in the other nodes' archives and puts it
// into this node's. restore starts it in the background.
type fetchCommand struct {
	Name string `arg:""`
}

// Run gives up after fetchPause: restore will ask again.
func (c *fetchCommand) Run(ctx context.Context, p *process, g *globals) error {
	name, err := walcore.ParseFileName(c.Name)
	if err != nil {
		return usageError{err}
	}
	s, err := p.session(*g)
	if err != nil {
		return err
	}
	defer s.Close()
	own, err := walcore.OpenArchive(s.site.Self.Archive)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchPause)
	defer cancel()
	var failures []error
	for _, n := range s.site.Nodes {
		if s.site.IsSelf(n.Name) {
			continue
		}
		if err := fetchFrom(ctx, s, own, n.Name, name); err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", n.Name, err))
			continue
		}
		// The next one may be searched for at once: the pause is for what is
		// nowhere.
		return errors.Join(atomicfile.Remove(s.site.Local("fetch.lock")), own.Nudge(ctx, name))
	}
	return fmt.Errorf("%s is in no other archive: %w", name, errors.Join(failures...))
}

// fetchFrom fetches what another archive has at the position of name, on any
// timeline, and the histories that are missing here: the server asks for one
// timeline after the other, and each search takes its time.
func fetchFrom(ctx context.Context, s *session, own *walcore.Archive, from cluster.NodeName, name walcore.FileName) error {
	client, err := ship.Connect(ctx, s.agent(from))
	if err != nil {
		return err
	}
	defer client.Close()
	theirs, err := client.List(ctx)
	if err != nil {
		return err
	}
	found := false
	for _, file := range theirs {
		here := file.Kind() == walcore.KindSegment && file.Segment().Position() == name.Segment().Position()
		if !here && file.Kind() != walcore.KindHistory {
			continue
		}
		if f, err := own.Open(file); err == nil {
			_ = f.Close() // only looked for
			continue
		}
		if err := client.Fetch(ctx, own, file); err != nil {
			return err
		}
		found = found || here
	}
	if !found {
		return fmt.Errorf("%s: %w", name, walcore.ErrNotArchived)
	}
	return nil
}

// startFetch leaves `warmrun fetch NAME` behind in the background when a later
// segment is here already, which means that this one was shipped elsewhere, or
// when one destination is enough for the primary. It never waits.
func (s *session) startFetch(_ context.Context, name walcore.FileName) error {
	segment := name.Segment()
	if segment == "" || !(s.site.Archiving.Require == cluster.RequireAny || s.gapAt(segment)) {
		return nil
	}
	mark := s.site.Local("fetch.lock")
	if searched(mark, segment) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(mark), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(mark, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil // another restore is just doing this
	}
	if _, err := fmt.Fprintln(f, name); err != nil {
		return err
	}
	cmd := exec.Command("/proc/self/exe", "--home", s.site.Home, "--pgdata", s.site.Self.PGData, "fetch", string(name))
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	return cmd.Process.Release()
}

// searched reports whether the segment's position was searched for just now.
func searched(mark string, segment walcore.SegmentName) bool {
	info, err := os.Stat(mark)
	if err != nil || time.Since(info.ModTime()).Abs() >= fetchPause {
		return false
	}
	text, err := os.ReadFile(mark)
	last, parseErr := walcore.ParseSegmentName(strings.TrimSpace(string(text)))
	return err == nil && parseErr == nil && last.Position() == segment.Position()
}

// gapAt reports whether a later segment is here although this one is not. The
// next few are looked for, and then ever fewer: a gap of any length is noticed
// once as much has come after it, and an idle standby reads no directory of
// 200,000 files each second.
func (s *session) gapAt(segment walcore.SegmentName) bool {
	archive, err := walcore.OpenArchive(s.site.Self.Archive)
	if err != nil {
		return false
	}
	stamp, ok, err := archive.Stamp()
	if err != nil || !ok {
		return false
	}
	number := segment.Number(stamp.SegmentSize)
	for step := uint64(1); step <= 1<<16; step += max(1, step&^7) {
		later := walcore.MakeSegmentName(segment.Timeline(), number+step, stamp.SegmentSize)
		if _, err := os.Stat(filepath.Join(archive.Dir(), string(later))); err == nil {
			return true
		}
	}
	return false
}
