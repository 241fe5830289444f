package filesync

import (
	"errors"
	"io/fs"
	"time"
)

// finishRequest tells the target that all parts of a file are there.
type finishRequest struct {
	ID    uint32
	Entry Entry
	Basis int64
	Gone  bool // the file vanished from the source meanwhile
	Stamp time.Time
	Same  []span    // parts that were left in the basis
	Old   time.Time // modification time of the basis when they were compared
}

func (f finishRequest) encode() []byte {
	return new(encoder).uint(uint64(f.ID)).entry(f.Entry).int(f.Basis).bool(f.Gone).time(f.Stamp).spans(f.Same).time(f.Old).b
}

func decodeFinish(payload []byte) (finishRequest, error) {
	d := decoder{b: payload}
	f := finishRequest{ID: d.uint32(), Entry: d.entry(), Basis: d.int(), Gone: d.bool(), Stamp: d.time(), Same: d.spans(), Old: d.time()}
	if n := len(f.Same); d.err == nil && (n > 0 && f.Same[n-1].to > f.Entry.Size || f.Entry.Kind != File || f.Basis < -1) {
		d.fail("file")
	}
	return f, d.finish()
}

// finish puts a file together whose parts have been written, by any stream,
// and hands it over to be made durable.
func (r *receiver) finish(f finishRequest) error {
	temp := tempName(f.Entry.Path)
	if f.Gone {
		if err := r.tree.root.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return r.vanish(f.Entry.Path)
	}
	in := &incoming{job: job{entry: &f.Entry, to: f.Entry.Size, basis: f.Basis, partial: -1}, shared: true}
	var same int64
	for _, s := range f.Same {
		same += s.to - s.from
	}
	var err error
	if same == f.Entry.Size && f.Basis == f.Entry.Size {
		err = r.openOld(in)
	} else if err = r.assemble(in, f.Same); err == nil {
		err = setLength(in.out, f.Entry.Size)
	}
	if err = errors.Join(err, in.checkSince(f.Old)); err == nil && in.out != nil {
		err = in.closeOld()
	}
	if err != nil {
		return errors.Join(in.fail(err), in.close())
	}
	return r.commit(in, f.Stamp)
}

// assemble opens what the parts were written to and brings those into it that
// are the same as before.
func (r *receiver) assemble(in *incoming, same []span) error {
	if err := r.openOut(in); err != nil || in.temp == "" {
		return err
	}
	for _, s := range same {
		if err := r.fromOld(in, s.from, s.to); err != nil {
			return err
		}
	}
	return nil
}
