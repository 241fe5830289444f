package ship

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
)

// ShipWALDir brings an archive up to date from the pg_wal of a server that is
// stopped: everything the server has marked as ready to be archived, and every
// segment from the end of the archive's WAL, across timelines, to the one that
// holds the last byte before upTo. That one is sent as provisional where it is not complete.
// History files go first. Nothing beyond upTo is sent: pg_wal also holds
// segments that were recycled and have names of the future.
//
// from is what the server that restores from the archive has replayed already,
// 0 where that is unknown: no WAL before it is asked for, and all from it on
// must be there in the end. An archive may well lack WAL that its own server
// wrote, when it was the primary. timeline is the one that upTo is on; id the
// cluster's identity, with its segment size. The result is the segments that are in the archive now because
// of the call, those included that were there already. An error means that the
// archive does not hold all WAL up to upTo, or that it is on a newer timeline
// that left this one before that: then nothing is sent at all, because the
// server whose WAL this is was superseded.
func ShipWALDir(ctx context.Context, to *Client, walDir string, from, upTo walcore.LSN, timeline walcore.Timeline, id walcore.Identity, out io.Writer) ([]walcore.SegmentName, error) {
	if !id.SegmentSize.Valid() || timeline == 0 || upTo == 0 {
		return nil, fmt.Errorf("ship %s up to %s on timeline %d: the segment size, timeline and end must be known", walDir, upTo, uint32(timeline))
	}
	d := &walSource{ctx: ctx, to: to, dir: walDir, replayed: from, upTo: upTo, timeline: timeline, id: id, out: out}
	if err := d.list(); err != nil {
		return nil, err
	}
	if err := d.checkBranch(); err != nil {
		return nil, err
	}
	if err := d.shipOthers(); err != nil {
		return nil, err
	}
	segments, err := d.segments()
	if err != nil {
		return nil, err
	}
	var shipped []walcore.SegmentName
	for _, name := range segments {
		done, err := d.ship(name)
		if err != nil {
			return shipped, fmt.Errorf("ship %s from %s: %w", name, d.dir, err)
		}
		if done {
			shipped = append(shipped, name)
		}
	}
	return shipped, d.verify()
}

type walSource struct {
	ctx      context.Context
	to       *Client
	dir      string
	replayed walcore.LSN // 0: unknown
	upTo     walcore.LSN
	timeline walcore.Timeline
	id       walcore.Identity
	out      io.Writer

	names []walcore.FileName // in the directory, sorted
	ready map[walcore.FileName]bool
	// history is that of timeline, empty where it has no file here.
	history walcore.History
	// need is the first segment that must be in the archive in the end.
	need walcore.SegmentName
}

// list reads the directory and its archive_status.
func (d *walSource) list() error {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if name, err := walcore.ParseFileName(entry.Name()); err == nil {
			d.names = append(d.names, name)
		}
	}
	if d.history, err = readHistory(d.dir, d.timeline); err != nil {
		return err
	}
	d.ready = map[walcore.FileName]bool{}
	entries, err = os.ReadDir(filepath.Join(d.dir, "archive_status"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, entry := range entries {
		base, isReady := strings.CutSuffix(entry.Name(), ".ready")
		name, err := walcore.ParseFileName(base)
		if err == nil && isReady {
			d.ready[name] = true
		}
	}
	return nil
}

func readHistory(dir string, of walcore.Timeline) (walcore.History, error) {
	f, err := os.Open(filepath.Join(dir, string(of.HistoryName())))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	history, err := walcore.ParseHistory(f, of)
	return history, errors.Join(err, f.Close())
}

// shipOthers sends the histories, then backup and partial files that wait to
// be archived.
func (d *walSource) shipOthers() error {
	for _, kind := range []walcore.Kind{walcore.KindHistory, walcore.KindBackup, walcore.KindPartial} {
		for _, name := range d.names {
			if name.Kind() != kind || !d.ready[name] && kind != walcore.KindHistory {
				continue
			}
			if _, err := d.to.Put(d.ctx, name, filepath.Join(d.dir, string(name)), PutOptions{}); err != nil {
				return fmt.Errorf("ship %s from %s: %w", name, d.dir, err)
			}
		}
	}
	return nil
}

// last is the segment that holds the last byte before upTo.
func (d *walSource) last() walcore.SegmentName {
	return walcore.SegmentAt(d.timeline, d.upTo-1, d.id.SegmentSize)
}

// segments are the ones to send, in order: those of other timelines that are
// ready, and those of this one that are ready or past the archive's end.
func (d *walSource) segments() ([]walcore.SegmentName, error) {
	begin, err := d.begin()
	if err != nil {
		return nil, err
	}
	last := d.last()
	var names []walcore.SegmentName
	for _, file := range d.names {
		name := file.Segment()
		if file.Kind() != walcore.KindSegment || name.Position() > last.Position() {
			continue
		}
		if d.ready[file] || name.Position() >= begin.Position() && d.leads(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names) // older timelines first
	if n := len(names); n == 0 || names[n-1] != last {
		return nil, hint.Wrap(fmt.Errorf("%s is not in %s, and WAL up to %s ends in it", last, d.dir, d.upTo),
			"check that this is the pg_wal of the server whose WAL is wanted")
	}
	return names, nil
}

// leads reports whether a segment is on the way to upTo: of its timeline, or of
// an ancestor before that was left. Servers that were promoted keep such
// segments, and they are not ready there, because others archived them.
func (d *walSource) leads(name walcore.SegmentName) bool {
	if name.Timeline() == d.timeline {
		return true
	}
	fork, ok := d.history.Fork(name.Timeline())
	return ok && name.End(d.id.SegmentSize) <= fork
}

// begin is the segment to begin with, and settles what is needed: the segment
// that the archive's WAL ends in, counted from where it has been replayed to.
// Where the archive is empty and nothing is known, it is the first of the run
// in the directory that leads to the last.
func (d *walSource) begin() (walcore.SegmentName, error) {
	last := d.last()
	if d.replayed != 0 {
		d.need = min(walcore.SegmentAt(d.timeline, d.replayed, d.id.SegmentSize), last)
	}
	chain, err := d.to.Chain(d.ctx, d.need)
	if err != nil {
		return "", err
	}
	begin := d.need
	if chain.Last != "" {
		begin = min(chain.Last.OnTimeline(d.timeline), last)
	}
	if begin == "" {
		begin = d.firstOfRun()
	}
	if d.need == "" {
		d.need = begin
	}
	return begin, nil
}

// firstOfRun is the first segment of the gap-free run in the directory that
// ends with the last.
func (d *walSource) firstOfRun() walcore.SegmentName {
	begin := d.last()
	for {
		number := begin.Number(d.id.SegmentSize)
		if number == 0 {
			return begin
		}
		before := walcore.MakeSegmentName(d.timeline, number-1, d.id.SegmentSize)
		if _, found := slices.BinarySearch(d.names, walcore.FileName(before)); !found {
			return begin
		}
		begin = before
	}
}

// ship sends one segment, the last one up to upTo. One of an old timeline that
// the archive will not have, because that timeline was cut before it, is told
// and left where it is.
func (d *walSource) ship(name walcore.SegmentName) (done bool, err error) {
	path := filepath.Join(d.dir, string(name))
	opt, err := d.options(name, path)
	if err != nil {
		return false, err
	}
	put, err := d.to.Put(d.ctx, walcore.FileName(name), path, opt)
	var refused *walcore.RefusedError
	if errors.As(err, &refused) && name.Timeline() < d.timeline {
		_, err = fmt.Fprintf(d.out, "warning: left in %s: %v\n", d.dir, err)
		return false, err
	}
	if err != nil || put.Identical {
		return err == nil, err
	}
	text := string(name)
	if opt.Provisional != 0 {
		text = fmt.Sprintf("%s (up to %s)", name, opt.Provisional)
	}
	_, err = fmt.Fprintln(d.out, text)
	return true, err
}

// options looks at a segment before it is sent: it must be what its name says,
// and the last one must reach upTo.
func (d *walSource) options(name walcore.SegmentName, path string) (PutOptions, error) {
	f, err := os.Open(path)
	if err != nil {
		return PutOptions{}, err
	}
	opt, err := d.inspect(name, f)
	return opt, errors.Join(err, f.Close())
}

func (d *walSource) inspect(name walcore.SegmentName, f *os.File) (PutOptions, error) {
	header, err := walcore.ReadPageHeader(f)
	if err != nil {
		return PutOptions{}, err
	}
	if err := header.Check(name, d.id); err != nil {
		return PutOptions{}, err
	}
	if name != d.last() {
		return PutOptions{}, nil
	}
	extent, err := walcore.ScanSegment(f, name, d.id)
	if err != nil {
		return PutOptions{}, err
	}
	switch {
	case extent.End < d.upTo && !extent.Complete:
		return PutOptions{}, fmt.Errorf("its WAL ends at %s (%s), before %s", extent.End, extent.Stopped, d.upTo)
	case extent.Complete && extent.End <= d.upTo:
		return PutOptions{}, nil
	}
	return PutOptions{Provisional: d.upTo}, nil
}

// checkBranch refuses to send anything to an archive that is on a newer
// timeline which left this one before upTo, or never came from it.
func (d *walSource) checkBranch() error {
	chain, err := d.to.Chain(d.ctx, "")
	if err != nil {
		return err
	}
	return d.onBranch(chain)
}

func (d *walSource) onBranch(chain walcore.Chain) error {
	if chain.Timeline <= d.timeline {
		return nil
	}
	if chain.WantHistory != 0 {
		return hint.Wrap(fmt.Errorf("the archive there has WAL of timeline %d and not %s: whether that left timeline %d before %s cannot be told", uint32(chain.Timeline), chain.Timeline.HistoryName(), uint32(d.timeline), d.upTo),
			"bring %s there from the node that writes timeline %d; warmrun status shows which", chain.Timeline.HistoryName(), uint32(chain.Timeline))
	}
	fork, descends := chain.History.Fork(d.timeline)
	if descends && fork >= d.upTo {
		return nil
	}
	how := fmt.Sprintf("which does not come from timeline %d", uint32(d.timeline))
	if descends {
		how = fmt.Sprintf("which left timeline %d at %s, before the end of this WAL at %s", uint32(d.timeline), fork, d.upTo)
	}
	return hint.Wrap(fmt.Errorf("the archive there is on timeline %d, %s: the server in %s was superseded, and nothing was sent", uint32(chain.Timeline), how, d.dir),
		"the node that writes timeline %d is the primary: warmrun status shows it; rebuild this one from it", uint32(chain.Timeline))
}

// verify asks the archive whether its WAL leads to upTo now. Where a newer
// timeline left this one at its end or later, that end is no longer on its
// chain.
func (d *walSource) verify() error {
	chain, err := d.to.Chain(d.ctx, d.need)
	if err != nil {
		return err
	}
	if chain.Timeline > d.timeline {
		return d.onBranch(chain)
	}
	if len(chain.Gaps) > 0 {
		return hint.Wrap(fmt.Errorf("neither %s nor the archive there has %s, and WAL up to %s needs it", d.dir, chain.Gaps[0].Want, d.upTo),
			"look for it in the archives of the other nodes")
	}
	if chain.End < d.upTo {
		return fmt.Errorf("all WAL of %s was shipped, and yet the archive's ends at %s, before %s", d.dir, chain.End, d.upTo)
	}
	return nil
}
