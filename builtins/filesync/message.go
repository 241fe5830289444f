package filesync

import (
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// greeting opens a stream from either side.
type greeting struct {
	Magic   string
	Version uint64
	Machine string // the boot id of the kernel, the same for all processes of one machine
}

const (
	magic = "warmrun filesync"
	// protocolVersion is raised with every change to what is on the wire. Both
	// sides must have the same one: distrib puts one binary on all nodes.
	protocolVersion = 5
)

func (g greeting) encode() []byte {
	var e encoder
	return e.string(g.Magic).uint(g.Version).string(g.Machine).b
}

func decodeGreeting(payload []byte) (greeting, error) {
	d := decoder{b: payload}
	g := greeting{Magic: d.string(), Version: d.uint(), Machine: d.string()}
	if err := d.finish(); err != nil {
		return g, err
	}
	if g.Magic != magic {
		return g, protocolError("the stream begins with %q", g.Magic)
	}
	if g.Version != protocolVersion {
		return g, fmt.Errorf("protocol version %d here, %d there: %w", protocolVersion, g.Version, errVersion)
	}
	return g, nil
}

// role is what a stream is opened for.
type role uint64

const (
	roleReceive role = iota + 1 // the far side holds the target
	roleSend                    // the far side holds the source
	roleLook                    // single requests on small files
)

// openRequest names the root and how it is to be treated.
type openRequest struct {
	Role       role
	Root       string // absolute
	Create     bool   // make the root if it is not there
	FollowRoot bool   // allow it to be a symbolic link
	Lock       bool   // refuse while another copy into it is under way
	Copy       uint64 // a number for this copy, the same on all its streams that receive
	InPlace    bool
	Delete     bool
	Compress   Compression
	Key        hashKey  // of the hashes
	Resume     string   // as in Options
	Same       identity // when not zero, the root must be this directory
}

// identity tells two directories of one machine apart.
type identity struct{ Device, Inode uint64 }

func (r openRequest) encode() []byte {
	var e encoder
	return e.uint(uint64(r.Role)).string(r.Root).bool(r.Create).bool(r.FollowRoot).bool(r.Lock).uint(r.Copy).bool(r.InPlace).
		bool(r.Delete).string(string(r.Compress)).string(string(r.Key[:])).string(r.Resume).uint(r.Same.Device).uint(r.Same.Inode).b
}

func decodeOpen(payload []byte) (openRequest, error) {
	d := decoder{b: payload}
	r := openRequest{Role: role(d.uint()), Root: d.string(), Create: d.bool(), FollowRoot: d.bool(), Lock: d.bool(), Copy: d.uint(),
		InPlace: d.bool(), Delete: d.bool(), Compress: Compression(d.string()), Key: d.key(), Resume: d.string(), Same: identity{Device: d.uint(), Inode: d.uint()}}
	return r, errors.Join(d.finish(), r.Compress.Check())
}

// openReply describes the root that was opened.
type openReply struct {
	Same   identity
	Owners bool // the far side can give files away
}

func (r openReply) encode() []byte {
	var e encoder
	return e.uint(r.Same.Device).uint(r.Same.Inode).bool(r.Owners).b
}

func decodeOpenReply(payload []byte) (openReply, error) {
	d := decoder{b: payload}
	r := openReply{Same: identity{Device: d.uint(), Inode: d.uint()}, Owners: d.bool()}
	return r, d.finish()
}

// fetchRequest asks the far side for one file, or a part of one, in a pull.
type fetchRequest struct {
	ID       uint32
	Path     string
	Size     int64     // as listed
	Stamp    time.Time // as listed
	Sure     []span    // as in job
	Stale    bool      // as in job
	From, To int64
	Known    int64 // up to where the target has something to compare; -1 for nothing
}

func (r fetchRequest) encode() []byte {
	var e encoder
	return e.uint(uint64(r.ID)).string(r.Path).int(r.Size).time(r.Stamp).int(r.From).int(r.To).int(r.Known).spans(r.Sure).bool(r.Stale).b
}

// decodeFetch returns the job that is asked for.
func decodeFetch(payload []byte) (job, error) {
	d := decoder{b: payload}
	r := fetchRequest{ID: d.uint32(), Path: d.string(), Size: d.int(), Stamp: d.time(), From: d.int(), To: d.int(), Known: d.int(), Sure: d.spans(), Stale: d.bool()}
	if err := d.finish(); err != nil {
		return job{}, err
	}
	e := Entry{Path: r.Path, Kind: File, Size: r.Size, ModTime: r.Stamp}
	j := job{id: r.ID, entry: &e, from: r.From, to: r.To, basis: r.Known, partial: -1, sure: r.Sure, stale: r.Stale}
	return j, errors.Join(checkEntry(e), j.check())
}

// encodeOutcome is what a push is told of a part.
func encodeOutcome(id uint32, o outcome) []byte {
	return new(encoder).uint(uint64(id)).bool(o.gone).bool(o.touched).time(o.stamp).time(o.old).b
}

func decodeOutcome(payload []byte) (uint32, outcome, error) {
	d := decoder{b: payload}
	id, o := d.uint32(), outcome{gone: d.bool(), touched: d.bool(), stamp: d.time(), old: d.time()}
	return id, o, d.finish()
}

// smallFile is a file in one frame: a request to read it (Limit), or to write
// it (Perm and Data).
type smallFile struct {
	Name  string
	Limit int64
	Perm  fs.FileMode
	Data  []byte
}

// maxSmallFile is the most that ReadFile and WriteFile carry.
const maxSmallFile = chunkSize

func (f smallFile) encode() []byte {
	var e encoder
	e.string(f.Name).int(f.Limit).uint(uint64(f.Perm))
	e.b = append(e.b, f.Data...)
	return e.b
}

func decodeSmallFile(payload []byte) (smallFile, error) {
	d := decoder{b: payload}
	f := smallFile{Name: d.string(), Limit: d.int(), Perm: fs.FileMode(d.uint32()) & fs.ModePerm, Data: d.rest()}
	if err := d.finish(); err != nil {
		return f, err
	}
	if f.Limit < 0 || f.Limit > maxSmallFile {
		return f, protocolError("a request to read %d bytes at once", f.Limit)
	}
	return f, checkPath(f.Name)
}

func encodePath(p string) []byte {
	var e encoder
	return e.string(p).b
}

func decodePath(payload []byte) (string, error) {
	d := decoder{b: payload}
	p := d.string()
	if err := d.finish(); err != nil {
		return "", err
	}
	return p, checkPath(p)
}

func encodeEntry(x Entry) []byte {
	var e encoder
	return e.entry(x).b
}

func decodeEntry(payload []byte) (Entry, error) {
	d := decoder{b: payload}
	x := d.entry()
	return x, d.finish()
}
