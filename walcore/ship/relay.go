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

// RelayRequest says what to relay where.
type RelayRequest struct {
	From *walcore.Archive
	To   *Client
	// Node is what messages call the destination.
	Node string
	// Need is where the destination's server would begin to replay if it
	// started now: gaps count from there on, and older WAL that has been removed
	// there is not sent again. Where it is 0, because there is no server yet,
	// gaps count from the last watermark on, or from the oldest segment that
	// either side has.
	Need walcore.LSN
	// Known are the chains of the cluster's other archives, as far as they
	// could be asked. The destination must have what they have, too.
	Known []Known
	Out   io.Writer
}

// Known is how far another node's archive goes.
type Known struct {
	Node  string
	Chain walcore.Chain
}

// RelayAll sends everything that another archive lacks of this one: histories
// first, then the rest in order. A provisional segment is sent as one, and
// again when it has been replaced. Then the destination's WAL is checked for
// gaps, and how far it has none is noted as the watermark of From. An error
// says what the destination lacks, or what could not be sent; one that refuses
// a file does not keep the others from being sent.
func RelayAll(ctx context.Context, request RelayRequest) (RelayResult, error) {
	r := &relay{RelayRequest: request}
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
	RelayRequest
	oldest walcore.SegmentName // that either side has, in WAL order
	// goal is the archive that goes furthest: the destination must get there.
	goal Known
	// start is the segment of Need, empty where it is unknown; there the oldest
	// segment at the destination.
	start, there walcore.SegmentName
	result       RelayResult
}

// lacking is what has to be sent, histories first.
func (r *relay) lacking(ctx context.Context) ([]walcore.FileName, error) {
	ours, err := r.From.List()
	if err != nil {
		return nil, err
	}
	chain, err := r.From.Chain("")
	if err != nil {
		return nil, err
	}
	r.goal = furthest(chain, r.Known)
	if err := r.begin(ctx, chain); err != nil {
		return nil, err
	}
	theirs, err := r.To.List(ctx)
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

// begin finds the segment from which on gaps count, where Need says.
func (r *relay) begin(ctx context.Context, ours walcore.Chain) error {
	if r.Need == 0 {
		return nil
	}
	size := ours.SegmentSize
	if size == 0 {
		theirs, err := r.To.Chain(ctx, "")
		if err != nil {
			return err
		}
		size = theirs.SegmentSize
	}
	if size != 0 {
		r.start = walcore.SegmentAt(max(ours.Timeline, 1), r.Need, size)
	}
	return nil
}

// furthest is the archive that goes furthest on the newest timeline that any of
// them knows: WAL of a timeline that was left may have gone on for a while. One
// that goes as far as ours is not told from it.
func furthest(ours walcore.Chain, known []Known) Known {
	best := Known{Chain: ours}
	for _, k := range known {
		a, b := k.Chain, best.Chain
		further := b.Newest == "" || a.Newest != "" && a.Newest.Position() > b.Newest.Position()
		if a.Timeline > b.Timeline || a.Timeline == b.Timeline && a.Newest != "" && further {
			best = k
		}
	}
	return best
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
	theirs, err := r.To.Provisionals(ctx)
	if err != nil {
		return nil, err
	}
	again := map[walcore.SegmentName]bool{}
	for name, end := range theirs {
		ours, provisional, err := r.From.Provisional(name)
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
		f.put, f.err = r.To.relay(ctx, r.From, name, sync.OnceFunc(func() { close(offered) }))
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
	case leftBehind(f.err):
		return nil // of a server that was superseded: the new timeline has no use for it
	case f.err != nil:
		return f.err
	case f.put.Identical:
		return nil
	}
	r.result.Files++
	r.result.Bytes += f.put.Bytes
	_, err := fmt.Fprintf(r.Out, "%s\n", f.name)
	return err
}

func leftBehind(err error) bool {
	var refused *walcore.RefusedError
	return errors.As(err, &refused) && refused.Reason == walcore.ReasonLeft
}

// check looks for gaps at the destination and moves the watermark.
func (r *relay) check(ctx context.Context) error {
	start, noted, err := r.From.Watermark()
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
	newest := r.goal.Chain.Newest
	if start == "" || newest != "" && newest.Position() < start.Position() {
		return nil // there is no WAL yet that could be missing
	}
	chain, err := r.To.Chain(ctx, start)
	if err != nil {
		return err
	}
	r.result.Chain, r.result.Watermark = chain, settled(chain)
	if now := r.result.Watermark; now != "" && (!noted || now != mark) {
		if err := r.From.SetWatermark(now); err != nil {
			return err
		}
	}
	if err := r.gapError(chain); err != nil {
		return hint.Wrap(fmt.Errorf("%s lacks WAL: %w", r.Node, err),
			"no archive that could be asked has it: look for it in the pg_wal of the node that wrote it, or make a new base copy of %s (copyToDR on the primary)", r.Node)
	}
	return r.short(chain)
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

// gapError is the first hole in the destination's WAL. WAL that ends in front of
// the fork of the newest timeline has one there: what lies between is the
// parent's, and was written before the promotion.
func (r *relay) gapError(chain walcore.Chain) error {
	if len(chain.Gaps) == 0 {
		if reached := max(chain.End, r.Need); reached != 0 && reached < chain.Fork {
			return fmt.Errorf("it ends at %s%s, and timeline %d begins at %s", reached, inSegment(chain.Last), uint32(chain.Timeline), chain.Fork)
		}
		return nil
	}
	gap, rest := chain.Gaps[0], fmt.Sprintf("(%d gaps up to %s)", len(chain.Gaps), chain.Newest)
	if len(chain.Gaps) == 1 {
		rest = fmt.Sprintf("(1 gap up to %s)", chain.Newest)
	}
	switch gap.After {
	case "":
		return fmt.Errorf("%s is missing %s", gap.Want, rest)
	case gap.Want:
		return fmt.Errorf("the copy of %s on %s is provisional and ends at %s, and the rest is missing %s", gap.Want, r.Node, chain.End, rest)
	}
	return fmt.Errorf("%s is missing after %s %s", gap.Want, gap.After, rest)
}

func inSegment(name walcore.SegmentName) string {
	if name == "" {
		return ""
	}
	return " in " + string(name)
}

// short is the error of a destination without gaps that does not reach as far
// as the archives that were compared.
func (r *relay) short(chain walcore.Chain) error {
	where, goal := "here", r.goal.Chain
	if r.goal.Node != "" {
		where = "in the archive of " + r.goal.Node
	}
	again := "run the relay again, also on the node that has it; if this stays, look at the two archives with their names side by side"
	switch {
	case goal.Timeline > chain.Timeline && r.goal.Node != "":
		return hint.Wrap(fmt.Errorf("%s lacks %s, which is %s", r.Node, goal.Timeline.HistoryName(), where), "%s", again)
	case goal.Newest == "" || chain.Newest != "" && chain.Newest.Position() >= goal.Newest.Position():
		return nil
	case chain.Newest == "":
		return hint.Wrap(fmt.Errorf("%s lacks WAL: it has none that it needs, and %s is %s", r.Node, goal.Newest, where), "%s", again)
	}
	return hint.Wrap(fmt.Errorf("%s lacks WAL: it ends with %s, and %s is %s", r.Node, chain.Newest, goal.Newest, where), "%s", again)
}
