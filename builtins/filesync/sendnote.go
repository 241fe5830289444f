package filesync

import (
	"context"
	"time"
)

// vouch finds out whether a large file is sent as it was listed, and has what is
// noted of it made void where that is no longer so.
func (s *sender) vouch(o *outgoing) error {
	o.listed = o.entry.Size > spanSize && o.before.Size() == o.entry.Size && o.before.ModTime().Equal(o.entry.ModTime) &&
		time.Since(o.entry.ModTime) >= racy
	if !o.stale && (o.listed || len(o.sure) == 0) {
		return nil
	}
	var stamp time.Time
	if o.listed {
		stamp = o.entry.ModTime
	}
	return s.note(o, stamp, o.from, o.from)
}

// note tells the other side what it may note.
func (s *sender) note(o *outgoing, stamp time.Time, from, to int64) error {
	return s.c.write(frameNote, new(encoder).uint(uint64(o.id)).time(stamp).int(from).int(to).b)
}

// pass shows the inspector what the target has for sure.
func (s *sender) pass(ctx context.Context, o *outgoing, from, to int64) error {
	if _, nobody := o.inspect.(noInspector); nobody {
		s.handled(int(to-from), 0)
		return ctx.Err()
	}
	for at := from; at < to; at += readSize {
		buf := s.buf[:min(readSize, to-at)]
		if err := s.read(o, buf, at); err != nil {
			return err
		}
		s.handled(len(buf), 0)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}
