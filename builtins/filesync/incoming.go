package filesync

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// incoming is a job under way at the receiver.
type incoming struct {
	job
	shared  bool     // other streams write their own parts of the same file
	old     *os.File // the file that is there already, while it is compared or copied from
	oldInfo fs.FileInfo
	out     *os.File // what is written; nil until something must be
	fresh   bool     // out was made for this job: it is as long as what was written
	temp    string   // its temporary name; empty where it is written in place
	at      int64    // up to where out holds what it shall
	kept    []bool   // by span: out held content from an earlier copy, and that was compared
	asked   int64    // up to where hashes were asked for
	wrote   int64
	literal bool // what was written last was no hole
}

// place takes the frame of a piece of content up to the content itself and
// makes everything ready to write it.
func (r *receiver) place(d *decoder) (*incoming, int64, error) {
	_, in, err := r.job(d)
	if err != nil {
		return nil, 0, err
	}
	offset := d.int()
	if d.err != nil {
		return nil, 0, d.err
	}
	if offset < max(in.at, in.from) || offset > in.to {
		return nil, 0, protocolError("%q gets content at %d, after that at %d", in.entry.Path, offset, in.at)
	}
	return in, offset, nil
}

// openResumed opens what holds something of the file that was not sent.
func (r *receiver) openResumed(in *incoming) error {
	if !in.resumes() {
		return nil
	}
	return r.openOut(in)
}

// data writes content that differs.
func (r *receiver) data(d *decoder, packed bool) error {
	in, offset, err := r.place(d)
	if err != nil {
		return err
	}
	content := d.rest()
	if packed {
		if content, err = r.unpack.unpack(content); err != nil {
			return err
		}
	}
	return r.write(in, offset, content)
}

func (r *receiver) write(in *incoming, offset int64, content []byte) error {
	if int64(len(content)) > in.to-offset {
		return protocolError("%q gets %d bytes at %d, but ends at %d", in.entry.Path, len(content), offset, in.to)
	}
	if err := r.advance(in, offset); err != nil {
		return in.fail(err)
	}
	if _, err := in.out.WriteAt(content, offset); err != nil {
		return in.fail(err)
	}
	in.proceed(len(content))
	in.literal = true
	r.handled(len(content), len(content))
	return nil
}

// zeros makes a stretch of a file read as zeros, as a hole where that can be.
func (r *receiver) zeros(d *decoder) error {
	in, offset, err := r.place(d)
	if err != nil {
		return err
	}
	n := d.int()
	if err := d.finish(); err != nil {
		return err
	}
	if n < 0 || n > in.to-offset {
		return protocolError("%q gets %d zeros at %d, but ends at %d", in.entry.Path, n, offset, in.to)
	}
	if err := r.advance(in, offset); err != nil {
		return in.fail(err)
	}
	if err := clearRange(in.out, offset, n); err != nil {
		return in.fail(err)
	}
	in.proceed(int(n))
	in.literal = false
	r.handled(int(n), 0)
	return nil
}

func (in *incoming) proceed(n int) {
	in.at += int64(n)
	in.wrote += int64(n)
}

// put takes a whole small file.
func (r *receiver) put(d *decoder) error {
	id, in, err := r.begin(d)
	if err != nil {
		return err
	}
	stamp, packed, content := d.time(), d.bool(), d.rest()
	if err := d.finish(); err != nil {
		return err
	}
	if packed {
		if content, err = r.unpack.unpack(content); err != nil {
			return err
		}
	}
	if in.shared || int64(len(content)) != in.entry.Size {
		return protocolError("%q gets %d bytes, but has %d", in.entry.Path, len(content), in.entry.Size)
	}
	if err := r.write(in, 0, content); err != nil {
		return err
	}
	return r.complete(id, in, stamp)
}

// end takes the end of a file, or of a part of one.
func (r *receiver) end(d *decoder) error {
	id, in, err := r.job(d)
	if err != nil {
		return err
	}
	stamp := d.time()
	if err := d.finish(); err != nil {
		return err
	}
	if in.asked == 0 && len(in.sure) == 0 && in.wrote != in.size() {
		return protocolError("%q ends after %d bytes of %d", in.entry.Path, in.wrote, in.size())
	}
	if in.shared {
		return r.completePart(id, in, stamp)
	}
	return r.complete(id, in, stamp)
}

// completePart writes what is left of a part. The file it belongs to is
// finished when all its parts are there.
func (r *receiver) completePart(id uint32, in *incoming, stamp time.Time) error {
	if err := r.openResumed(in); err != nil {
		return in.fail(err)
	}
	touched := in.out != nil
	if touched {
		if err := r.advance(in, in.to); err != nil {
			return in.fail(err)
		}
		startFlush(in.out, in.from, in.size())
	}
	delete(r.jobs, id)
	r.handled(int(max(0, in.size()-in.wrote)), 0)
	if err := errors.Join(in.checkOld(), in.close()); err != nil {
		return in.fail(err)
	}
	o := outcome{touched: touched, stamp: stamp}
	if in.oldInfo != nil {
		o.old = in.oldInfo.ModTime()
	}
	return r.ended(in.job, o)
}

// complete gives a file its length and hands it over to be made durable.
func (r *receiver) complete(id uint32, in *incoming, stamp time.Time) error {
	if err := r.openResumed(in); err != nil {
		return in.fail(err)
	}
	size := in.entry.Size
	unchanged := in.out == nil && in.basis == size
	var err error
	if unchanged {
		err = r.openOld(in)
	} else if err = r.advance(in, size); err == nil {
		err = errors.Join(in.setLength(), in.checkOld(), in.closeOld())
	}
	if err != nil {
		return in.fail(err)
	}
	delete(r.jobs, id)
	r.handled(int(max(0, size-in.wrote)), 0)
	if err := r.commit(in, stamp); err != nil {
		return err
	}
	return r.ended(in.job, outcome{touched: !unchanged, stamp: stamp})
}

// setLength makes a file as long as it should be.
func (in *incoming) setLength() error {
	if in.fresh && in.literal && in.wrote == in.entry.Size {
		return nil
	}
	return setLength(in.out, in.entry.Size)
}

// commit hands a file over to be made durable.
func (r *receiver) commit(in *incoming, stamp time.Time) error {
	err := r.room()
	if err == nil && r.notes != nil {
		// A flush fails once, and the next one of the same file would not tell.
		err = r.notes.failure()
	}
	if err != nil {
		return errors.Join(err, in.close())
	}
	dir, _ := cutPath(in.entry.Path)
	r.dirs[dir] = true
	w := &finished{file: in.out, temp: in.temp, path: in.entry.Path, mode: in.entry.Mode, modTime: stamp, size: in.entry.Size, uid: -1, gid: -1}
	if in.out == nil {
		w.file = in.old
	}
	if r.owners != nil {
		w.uid, w.gid = r.owners.ids(*in.entry)
	}
	return r.commits.add(w)
}

// gone drops a job whose file is no longer in the source.
func (r *receiver) gone(d *decoder) error {
	id, in, err := r.job(d)
	if err = errors.Join(err, d.finish()); err != nil {
		return err
	}
	delete(r.jobs, id)
	r.handled(int(max(0, in.size()-in.wrote)), 0)
	if in.shared {
		return errors.Join(in.close(), r.ended(in.job, outcome{gone: true}))
	}
	if err := in.abandon(r.tree.root); err != nil {
		return in.fail(err)
	}
	if err := r.vanish(in.entry.Path); err != nil {
		return err
	}
	return r.ended(in.job, outcome{gone: true})
}

// vanish removes what the source no longer has, where that is wanted.
func (r *receiver) vanish(name string) error {
	if !r.remove {
		return nil
	}
	return r.removeEntry(name)
}

// fail says which file an error is about.
func (in *incoming) fail(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", in.entry.Path, err)
}

// close closes what is open.
func (in *incoming) close() error {
	err := in.closeOld()
	if in.out != nil {
		err = errors.Join(err, in.out.Close())
	}
	return err
}

// abandon closes what is open and removes what is half written.
func (in *incoming) abandon(root *os.Root) error {
	err := in.close()
	if in.temp != "" {
		err = errors.Join(err, root.Remove(in.temp))
	}
	return err
}

// worthKeeping is how much of a file must have been written for the next copy
// to go on with it, rather than to send it again.
const worthKeeping = 1 << 20

// interrupt closes what is open when a copy ends before its time. A large file
// keeps its temporary name, under which the next copy finds it.
func (in *incoming) interrupt(root *os.Root) error {
	if in.shared || in.wrote >= worthKeeping || in.kept != nil {
		return in.close()
	}
	return in.abandon(root)
}
