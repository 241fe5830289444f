package ship

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
)

// RelayResult is what one run of the relay did and found.
type RelayResult struct {
	Files int   `json:"files"` // sent in this run
	Bytes int64 `json:"bytes"`
	// Chain is what the destination holds now, from the watermark on.
	Chain walcore.Chain `json:"chain"`
	// Watermark is the last segment of its gap-free prefix that will not change
	// any more, as noted in the source; empty when there is none.
	Watermark walcore.SegmentName `json:"watermark"`
}

// RelayAll sends everything that another archive lacks of this one: histories
// first, then the rest in order. A provisional segment is sent as one, and
// again when it has been replaced. Then the destination's WAL is checked for
// gaps, and how far it has none is noted as the watermark of from. An error
// says what the destination lacks, or what could not be sent; one that refuses
// a file does not keep the others from being sent.
//
// need is where the destination's server would begin to replay if it started
// now: gaps count from there on, and older WAL that has been removed there is
// not sent again. Where need is 0, because there is no server yet, gaps count
// from the last watermark on, or from the oldest segment that either side has.
func RelayAll(ctx context.Context, from *walcore.Archive, to *Client, need walcore.LSN, out io.Writer) (RelayResult, error) {
	r := &relay{from: from, to: to, need: need, out: out}
	names, err := r.lacking(ctx)
	if err != nil {
		return r.result, err
	}
	refusals, err := r.sendAll(ctx, names)
	if err != nil {
		return r.result, err
	}
	err = r.check(ctx)
	if len(refusals) > 0 {
		first := fmt.Errorf("%d files were not taken, the first: %w", len(refusals), refusals[0])
		if err == nil {
			return r.result, first
		}
		err = oneLine(errors.Join(err, first))
	}
	return r.result, err
}

type relay struct {
	from   *walcore.Archive
	to     *Client
	need   walcore.LSN
	out    io.Writer
	oldest walcore.SegmentName // that either side has, in WAL order
	newest walcore.SegmentName // on the chain of from
	// start is the segment of need, empty where it is unknown; there the oldest
	// segment at the destination.
	start, there walcore.SegmentName
	result       RelayResult
}

// lacking is what has to be sent, histories first.
func (r *relay) lacking(ctx context.Context) ([]walcore.FileName, error) {
	ours, err := r.from.List()
	if err != nil {
		return nil, err
	}
	chain, err := r.from.Chain("")
	if err != nil {
		return nil, err
	}
	r.newest = chain.Newest
	if r.need != 0 && chain.SegmentSize != 0 {
		r.start = walcore.SegmentAt(max(chain.Timeline, 1), r.need, chain.SegmentSize)
	}
	theirs, err := r.to.List(ctx)
	if err != nil {
		return nil, err
	}
	r.there = oldest(theirs)
	r.oldest = oldest(slices.Concat(ours, theirs))
	again, err := r.outgrown(ctx)
	if err != nil {
		return nil, err
	}
	has := make(map[walcore.FileName]bool, len(theirs))
	for _, name := range theirs {
		has[name] = true
	}
	var names []walcore.FileName
	for _, name := range ours {
		if r.removed(name) {
			continue
		}
		// A history is offered even if it is there: two promotions to the same
		// timeline differ in nothing but its content.
		if !has[name] || name.Kind() == walcore.KindHistory || again[name.Segment()] && name.Kind() == walcore.KindSegment {
			names = append(names, name)
		}
	}
	slices.SortStableFunc(names, func(a, b walcore.FileName) int {
		return rank(a) - rank(b)
	})
	return names, nil
}

// rank puts histories before everything else.
func rank(name walcore.FileName) int {
	if name.Kind() == walcore.KindHistory {
		return 0
	}
	return 1
}

// oldest is the first segment in WAL order, whatever its timeline.
func oldest(names []walcore.FileName) walcore.SegmentName {
	first := walcore.SegmentName("")
	for _, name := range names {
		if s := name.Segment(); name.Kind() == walcore.KindSegment && (first == "" || s.Position() < first.Position()) {
			first = s
		}
	}
	return first
}

// removed reports whether the destination's server has done with a file and had
// it removed: it would only be removed again.
func (r *relay) removed(name walcore.FileName) bool {
	if r.start == "" || name.Kind() == walcore.KindHistory {
		return false
	}
	at := name.Segment().Position()
	return at < r.start.Position() && (r.there == "" || at < r.there.Position())
}

// outgrown are the segments that are provisional there, and whole or longer
// here.
func (r *relay) outgrown(ctx context.Context) (map[walcore.SegmentName]bool, error) {
	theirs, err := r.to.Provisionals(ctx)
	if err != nil {
		return nil, err
	}
	again := map[walcore.SegmentName]bool{}
	for name, end := range theirs {
		ours, provisional, err := r.from.Provisional(name)
		if err != nil {
			return nil, err
		}
		again[name] = !provisional || ours > end
	}
	return again, nil
}

// relayed is one file on its way.
type relayed struct {
	name walcore.FileName
	put  walcore.PutResult
	err  error
	done chan struct{} // closed when the others count
}

// sendAll sends files in order, several at once. refusals are of one file each;
// any other error ends it.
func (r *relay) sendAll(ctx context.Context, names []walcore.FileName) (refusals []error, err error) {
	var queue []*relayed
	settle := func() {
		f := queue[0]
		queue = queue[1:]
		<-f.done
		var refused *walcore.RefusedError
		if told := r.settle(f); errors.As(told, &refused) {
			refusals = append(refusals, told)
		} else if told != nil && err == nil {
			err = fmt.Errorf("relay %s: %w", f.name, told)
		}
	}
	for _, name := range names {
		if len(queue) == lookAhead {
			settle()
		}
		if err != nil {
			break
		}
		queue = append(queue, r.send(ctx, name))
	}
	for len(queue) > 0 {
		settle()
	}
	return refusals, err
}

// send begins with one file, and returns when it has been offered.
func (r *relay) send(ctx context.Context, name walcore.FileName) *relayed {
	f := &relayed{name: name, done: make(chan struct{})}
	offered := make(chan struct{})
	go func() {
		defer close(f.done)
		f.put, f.err = r.to.relay(ctx, r.from, name, sync.OnceFunc(func() { close(offered) }))
	}()
	select {
	case <-offered:
	case <-f.done:
	}
	return f
}

// settle takes note of a file that has been sent, or not.
func (r *relay) settle(f *relayed) error {
	switch {
	case errors.Is(f.err, walcore.ErrNotArchived):
		return nil // cleaned up here in the meantime: the check tells whether it is missed
	case f.err != nil:
		return f.err
	case f.put.Identical:
		return nil
	}
	r.result.Files++
	r.result.Bytes += f.put.Bytes
	_, err := fmt.Fprintf(r.out, "%s\n", f.name)
	return err
}

// check looks for gaps at the destination and moves the watermark.
func (r *relay) check(ctx context.Context) error {
	start, noted, err := r.from.Watermark()
	if err != nil {
		return err
	}
	mark := start
	switch {
	case r.start != "":
		start = r.start
	case !noted:
		start = r.oldest
	}
	if start == "" || r.newest != "" && r.newest.Position() < start.Position() {
		return nil // there is no WAL yet that could be missing
	}
	chain, err := r.to.Chain(ctx, start)
	if err != nil {
		return err
	}
	r.result.Chain, r.result.Watermark = chain, settled(chain)
	if now := r.result.Watermark; now != "" && (!noted || now != mark) {
		if err := r.from.SetWatermark(now); err != nil {
			return err
		}
	}
	return r.gapError(chain)
}

// settled is the last segment of a chain that is not going to be replaced: the
// one before a segment that ends early. Watermarks count without timelines.
func settled(chain walcore.Chain) walcore.SegmentName {
	last := chain.Last
	if last == "" || chain.End == last.End(chain.SegmentSize) {
		return last
	}
	if chain.Segments == 1 {
		return ""
	}
	return walcore.MakeSegmentName(last.Timeline(), last.Number(chain.SegmentSize)-1, chain.SegmentSize)
}

func (r *relay) gapError(chain walcore.Chain) error {
	advice := "the standby no longer has it either: look for it in the primary's pg_wal, or make a new base copy of the DR node (copyToDR)"
	switch {
	case len(chain.Gaps) > 0 && chain.Gaps[0].After == "":
		return hint.Wrap(fmt.Errorf("the relay's destination lacks WAL: %s is missing (%d gaps up to %s)", chain.Gaps[0].Want, len(chain.Gaps), chain.Newest), "%s", advice)
	case len(chain.Gaps) > 0:
		gap := chain.Gaps[0]
		return hint.Wrap(fmt.Errorf("the relay's destination lacks WAL: %s is missing after %s (%d gaps up to %s)", gap.Want, gap.After, len(chain.Gaps), chain.Newest), "%s", advice)
	case r.newest != "" && (chain.Newest == "" || chain.Newest.Position() < r.newest.Position()):
		return hint.Wrap(fmt.Errorf("the relay's destination lacks WAL: it ends with %q, and %s is here", chain.Newest, r.newest),
			"run the relay again; if this stays, look at the two archives with their names side by side")
	}
	return nil
}
