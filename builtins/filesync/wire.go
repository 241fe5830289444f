package filesync

import (
	"encoding/binary"
	"io/fs"
	"time"
)

// encoder builds a payload.
type encoder struct{ b []byte }

func (e *encoder) uint(v uint64) *encoder { e.b = binary.AppendUvarint(e.b, v); return e }
func (e *encoder) int(v int64) *encoder   { e.b = binary.AppendVarint(e.b, v); return e }

func (e *encoder) bool(v bool) *encoder {
	if v {
		return e.uint(1)
	}
	return e.uint(0)
}

func (e *encoder) string(s string) *encoder {
	e.uint(uint64(len(s)))
	e.b = append(e.b, s...)
	return e
}

func (e *encoder) strings(list []string) *encoder {
	e.uint(uint64(len(list)))
	for _, s := range list {
		e.string(s)
	}
	return e
}

func (e *encoder) time(t time.Time) *encoder {
	return e.int(t.Unix()).uint(uint64(t.Nanosecond()))
}

func (e *encoder) entry(x Entry) *encoder {
	return e.string(x.Path).uint(uint64(x.Kind)).uint(uint64(x.Mode)).int(x.Size).time(x.ModTime).
		uint(uint64(x.UID)).uint(uint64(x.GID)).string(x.User).string(x.Group).string(x.Target).uint(x.link).bool(x.fresh)
}

func (e *encoder) job(j job) *encoder {
	return e.entry(*j.entry).int(j.from).int(j.to).int(j.basis).int(j.partial).spans(j.sure)
}

func (e *encoder) spans(list []span) *encoder {
	e.uint(uint64(len(list)))
	for _, s := range list {
		e.int(s.from).int(s.to)
	}
	return e
}

// decoder takes a payload apart. The first thing that is wrong sticks, and
// everything read after it is zero; finish returns it.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = protocolError("a frame with a bad %s", what)
	}
	d.b = nil
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail("number")
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) uint32() uint32 {
	v := d.uint()
	if v > 1<<32-1 {
		d.fail("number")
		return 0
	}
	return uint32(v)
}

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail("number")
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) bool() bool {
	v := d.uint()
	if v > 1 {
		d.fail("flag")
	}
	return v == 1
}

func (d *decoder) string() string {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.fail("string")
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

func (d *decoder) key() (k hashKey) {
	if s := d.string(); copy(k[:], s) != len(s) || len(s) != len(k) {
		d.fail("key")
	}
	return k
}

func (d *decoder) strings() []string {
	n := d.uint()
	if n > uint64(len(d.b)) { // each takes at least its length byte
		d.fail("list")
		return nil
	}
	list := make([]string, 0, n)
	for range n {
		list = append(list, d.string())
	}
	return list
}

func (d *decoder) time() time.Time {
	sec, nsec := d.int(), d.uint()
	if nsec >= 1e9 {
		d.fail("time")
		return time.Time{}
	}
	return time.Unix(sec, int64(nsec))
}

func (d *decoder) entry() Entry {
	x := Entry{Path: d.string(), Kind: Kind(min(d.uint(), 255)), Mode: fs.FileMode(d.uint32()), Size: d.int(), ModTime: d.time(),
		UID: d.uint32(), GID: d.uint32(), User: d.string(), Group: d.string(), Target: d.string(), link: d.uint(), fresh: d.bool()}
	if d.err == nil {
		d.err = checkEntry(x)
	}
	mask := keptFileModes
	if x.Kind == Dir {
		mask = keptDirModes
	}
	x.Mode &= mask
	return x
}

func (d *decoder) job() job {
	e := d.entry()
	return job{entry: &e, from: d.int(), to: d.int(), basis: d.int(), partial: d.int(), sure: d.spans()}
}

// spans are stretches in order, none of them empty.
func (d *decoder) spans() []span {
	var list []span
	at := int64(0)
	for n := d.uint(); n > 0 && d.err == nil; n-- {
		s := span{d.int(), d.int()}
		if s.from < at || s.from >= s.to {
			d.fail("range")
			return nil
		}
		list, at = append(list, s), s.to
	}
	return list
}

// rest is everything that has not been taken yet; it aliases the payload.
func (d *decoder) rest() []byte {
	b := d.b
	d.b = nil
	return b
}

// finish returns what was wrong, and refuses a payload that is too long.
func (d *decoder) finish() error {
	if d.err == nil && len(d.b) > 0 {
		d.fail("length")
	}
	return d.err
}
