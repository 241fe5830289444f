package filesync

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/klauspost/compress/s2"
)

// incoming is a job under way at the receiver.
type incoming struct {
	entry     Entry
	basis     *os.File // open while its content is compared
	basisInfo fs.FileInfo
	out       *os.File // what is written; nil until something must be
	temp      string   // its temporary name; empty where it is written in place
	wrote     int64
}

// sums hashes a span of the file that is there already.
func (r *receiver) sums(d *decoder) error {
	id, in, err := r.job(d)
	if err != nil {
		return err
	}
	offset, basis := d.int(), d.int()
	if err := d.finish(); err != nil {
		return err
	}
	if offset < 0 || offset%spanSize != 0 || offset >= basis {
		return protocolError("hashes asked for at %d of %d", offset, basis)
	}
	if in.basis == nil {
		if in.basis, in.basisInfo, err = openRegular(r.tree.root, in.entry.Path); err != nil {
			return in.fail(err)
		}
	}
	if in.basisInfo.Size() != basis {
		return in.fail(errBasisChanged)
	}
	if r.buf == nil {
		r.buf = make([]byte, chunkSize)
	}
	hashes, err := hashSpan(in.basis, basis, offset, r.buf)
	if err != nil {
		return in.fail(err)
	}
	return r.answer(frameHashes, new(encoder).uint(uint64(id)).int(offset).b, hashes)
}

// data writes content that differs.
func (r *receiver) data(d *decoder, packed bool) error {
	_, in, err := r.job(d)
	if err != nil {
		return err
	}
	offset, content := d.int(), d.rest()
	if d.err != nil {
		return d.err
	}
	if packed {
		if n, err := s2.DecodedLen(content); err != nil || n > chunkSize {
			return protocolError("a packed frame that unpacks to %d bytes", n)
		}
		if content, err = s2.Decode(nil, content); err != nil {
			return protocolError("a packed frame that cannot be unpacked")
		}
	}
	if offset < 0 || offset > in.entry.Size || int64(len(content)) > in.entry.Size-offset {
		return protocolError("%q gets %d bytes at %d, but has %d", in.entry.Path, len(content), offset, in.entry.Size)
	}
	return r.write(in, offset, content)
}

func (r *receiver) write(in *incoming, offset int64, content []byte) error {
	if err := r.openOut(in); err != nil {
		return in.fail(err)
	}
	if _, err := in.out.WriteAt(content, offset); err != nil {
		return in.fail(err)
	}
	in.wrote += int64(len(content))
	r.handled(len(content), len(content))
	return nil
}

// put takes a whole small file.
func (r *receiver) put(d *decoder) error {
	id, in, err := r.begin(d)
	if err != nil {
		return err
	}
	stamp, content := d.time(), d.rest()
	if err := d.finish(); err != nil {
		return err
	}
	if int64(len(content)) > in.entry.Size {
		return protocolError("%q gets %d bytes, but has %d", in.entry.Path, len(content), in.entry.Size)
	}
	if err := r.write(in, 0, content); err != nil {
		return err
	}
	return r.complete(id, in, int64(len(content)), stamp)
}

// end takes the end of a file.
func (r *receiver) end(d *decoder) error {
	id, in, err := r.job(d)
	if err != nil {
		return err
	}
	end, stamp := d.int(), d.time()
	if err := d.finish(); err != nil {
		return err
	}
	if end < 0 || end > in.entry.Size {
		return protocolError("%q ends at %d, but has %d bytes", in.entry.Path, end, in.entry.Size)
	}
	if in.basis == nil && in.wrote != end {
		return protocolError("%q ends at %d after %d bytes", in.entry.Path, end, in.wrote)
	}
	return r.complete(id, in, end, stamp)
}

// complete gives a file its length and hands it over to be made durable. The
// part between end and the listed size reads as zeros.
func (r *receiver) complete(id uint32, in *incoming, end int64, stamp time.Time) error {
	size := in.entry.Size
	unchanged := in.out == nil && in.basis != nil && in.basisInfo.Size() == size && end == size
	if !unchanged {
		if err := r.openOut(in); err != nil {
			return in.fail(err)
		}
		if err := setLength(in.out, end, size); err != nil {
			return in.fail(err)
		}
	}
	delete(r.jobs, id)
	r.handled(int(max(0, size-in.wrote)), 0)
	r.dirs[path.Dir(in.entry.Path)] = true
	w := &finished{file: in.out, temp: in.temp, path: in.entry.Path, mode: in.entry.Mode, modTime: stamp, uid: -1, gid: -1}
	if unchanged {
		w.file = in.basis
	} else if in.basis != nil {
		if err := in.basis.Close(); err != nil {
			return errors.Join(in.fail(err), w.discard(r.tree.root))
		}
	}
	if r.owners != nil {
		w.uid, w.gid = r.owners.ids(in.entry)
	}
	r.ended(id, !unchanged)
	return r.commits.add(w)
}

// gone drops a job whose file is no longer in the source.
func (r *receiver) gone(d *decoder) error {
	id, in, err := r.job(d)
	if err = errors.Join(err, d.finish()); err != nil {
		return err
	}
	delete(r.jobs, id)
	if err := in.abandon(r.tree.root); err != nil {
		return in.fail(err)
	}
	r.handled(int(max(0, in.entry.Size-in.wrote)), 0)
	r.ended(id, false)
	if !r.remove {
		return nil
	}
	return r.removeEntry(in.entry.Path)
}

// setLength makes f size bytes long; what lies past end becomes zeros.
func setLength(f *os.File, end, size int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() > end {
		if err := f.Truncate(end); err != nil {
			return err
		}
	}
	if info.Size() == size && end == size {
		return nil
	}
	return f.Truncate(size)
}

// fail says which file an error is about.
func (in *incoming) fail(err error) error {
	return fmt.Errorf("%s: %w", in.entry.Path, err)
}

// abandon closes what is open and removes what is half written.
func (in *incoming) abandon(root *os.Root) error {
	var err error
	if in.basis != nil {
		err = in.basis.Close()
	}
	if in.out != nil {
		err = errors.Join(err, in.out.Close())
	}
	if in.temp != "" {
		err = errors.Join(err, root.Remove(in.temp))
	}
	return err
}
