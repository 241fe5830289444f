package walcore

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Wanted is what one data directory's server waits for. Each restore writes it
// before its last look at the archive, and whoever stores a file reads it
// after the file has its name, so that no arrival falls between the two.
type Wanted struct {
	// PGData is the data directory's real path.
	PGData string `json:"pgdata"`
	// Server is the run of the server that asked; zero when none was running.
	Server
	// Names is every file refused since the last segment was served, and what
	// comes after that one of those refused before, oldest first: each round of
	// the server asks for the next timeline's segment, this one's, and a history.
	Names []FileName `json:"names"`
	// Since is when the first of Names was refused.
	Since time.Time `json:"since,omitzero"`
	// Waiting says that a restore is waiting inside the server; it watches the
	// archive by itself.
	Waiting bool `json:"waiting,omitempty"`
	// LastServed is the segment that was served last, and ServedAt when.
	LastServed SegmentName `json:"last_served,omitempty"`
	ServedAt   time.Time   `json:"served_at,omitzero"`
	// Replays is how long the server was busy with each of the segments served
	// last, newest last: from the time it got one to its question for the next.
	Replays []time.Duration `json:"replays_ns,omitempty"`
	// Furthest is the segment furthest on that was ever served; a server that
	// is started again begins some segments before it.
	Furthest SegmentName `json:"furthest_served,omitempty"`
	// Opening says that a trigger file or a promotion was seen in this
	// recovery, so that no later call of it waits.
	Opening bool `json:"promotion_seen,omitempty"`
	// HistoryOffered is the newest timeline whose history the server has had
	// the chance to find.
	HistoryOffered Timeline `json:"history_offered,omitempty"`
	// Reported is what was said already and is not said again.
	Reported []string `json:"reported,omitempty"`
	// Cleaned is how far old segments were removed.
	Cleaned cleanMark `json:"cleaned,omitzero"`
	// ArchiveInode is the archive directory that the last segment came from.
	ArchiveInode uint64 `json:"archive_inode,omitempty"`

	// stopped: this run of the server has not been served yet, so that the time
	// since then says nothing of its pace.
	stopped bool
}

// maxNames bounds Names and Reported; a round of a server asks for a handful.
const maxNames = 64

// maxReplays bounds Replays.
const maxReplays = 8

// Running reports whether the server that asked is still up.
func (w Wanted) Running() bool {
	return w.PID != 0 && hostProcesses.alive(w.Server)
}

// Wanted is what the servers that restore from this archive wait for, in no
// particular order. Files that cannot be understood are left out: they say
// nothing, and the next restore writes them anew.
func (a *Archive) Wanted() ([]Wanted, error) {
	entries, err := os.ReadDir(a.state("wanted"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, a.present()
	}
	if err != nil {
		return nil, err
	}
	var all []Wanted
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".json") {
			continue
		}
		var w Wanted
		found, err := readState(a.state("wanted", entry.Name()), &w)
		if err == nil && found {
			all = append(all, w)
		}
	}
	return all, nil
}

// wants reports whether the arrival of name is news to the server: it was
// refused, it is a history, or it is the segment served last in a new form.
func (w Wanted) wants(name FileName) bool {
	return slices.Contains(w.Names, name) || name.Kind() == KindHistory ||
		name.Kind() == KindSegment && name.Segment() == w.LastServed
}

// refuse adds a name to those that the server waits for, and reports whether
// it is new there.
func (w *Wanted) refuse(name FileName, now time.Time) bool {
	if slices.Contains(w.Names, name) {
		return false
	}
	if len(w.Names) == 0 {
		w.Since = now.UTC()
	}
	w.Names = append(w.Names[max(0, len(w.Names)-maxNames+1):], name)
	return true
}

// got forgets the names that the server needs no more once it was served a
// segment. It still needs the same one of a later timeline: where its timeline
// ends within a segment, it reads that again each time it asks for what comes next.
func (w *Wanted) got(served SegmentName) {
	w.Names = slices.DeleteFunc(w.Names, func(name FileName) bool {
		s := name.Segment()
		return s == "" || s.Position() < served.Position() || s.Position() == served.Position() && s.Timeline() <= served.Timeline()
	})
	if len(w.Names) == 0 {
		w.Names, w.Since = nil, time.Time{}
	}
}

// replayed notes how long the server took over the segment served last, when it
// asks for one further on for the first time.
func (w *Wanted) replayed(name FileName, now time.Time) {
	if name.Kind() != KindSegment || len(w.Names) > 0 || w.stopped || w.ServedAt.IsZero() || w.LastServed == "" || name.Segment().Position() <= w.LastServed.Position() {
		return
	}
	if took := now.Sub(w.ServedAt); took >= 0 {
		w.Replays = append(w.Replays[max(0, len(w.Replays)-maxReplays+1):], took)
	}
}

// report notes that something was said, and reports whether it is new.
func (w *Wanted) report(what string) bool {
	if slices.Contains(w.Reported, what) {
		return false
	}
	w.Reported = append(w.Reported[max(0, len(w.Reported)-maxNames+1):], what)
	return true
}

// stateKeeper reads and writes one data directory's Wanted. It lies in the
// archive, where those who store files find it. A second copy lies in the data
// directory once it matters there that it can be read while the archive cannot:
// whether a promotion was seen decides how a history that cannot be looked up
// is answered. It is in pg_stat_tmp, whose content pg_basebackup and pg_rewind
// leave out (excludeDirContents in basebackup.c and filemap.c).
//
// Neither is flushed to disk. After a crash of the machine the server is gone
// as well, and what it said is of no use to the next one.
type stateKeeper struct {
	archive string // directory of the archive
	pgdata  string // real path
	off     bool   // nothing is written
}

func (k stateKeeper) id() string {
	sum := sha256.Sum256([]byte(k.pgdata))
	return hex.EncodeToString(sum[:8])
}

func (k stateKeeper) inArchive() string {
	return filepath.Join(k.archive, stateDir, "wanted", k.id()+".json")
}

func (k stateKeeper) inPGData() string {
	return filepath.Join(k.pgdata, "pg_stat_tmp", "warmrun_wanted.json")
}

// load is the state as this run of the server left it. What an earlier run
// left says only which segments were served and removed. A file that is missing or
// damaged counts as empty.
func (k stateKeeper) load(server Server) Wanted {
	var here, local Wanted
	foundHere, errHere := readState(k.inArchive(), &here)
	foundLocal, errLocal := readState(k.inPGData(), &local)
	foundHere, foundLocal = foundHere && errHere == nil, foundLocal && errLocal == nil
	if !foundHere {
		here = local
	}
	same := server.PID != 0 && here.Server == server
	if foundLocal && server.PID != 0 && local.Server == server {
		if !same {
			here, same = local, true
		}
		here.Opening = here.Opening || local.Opening
		here.ArchiveInode = local.ArchiveInode
	}
	if here.Server != server {
		k.sweep()
	}
	if !same {
		here = Wanted{LastServed: here.LastServed, ServedAt: here.ServedAt, Replays: here.Replays, Furthest: here.Furthest, Cleaned: here.Cleaned}
		here.stopped = true
	}
	here.PGData, here.Server = k.pgdata, server
	return here
}

// save writes the state. Failing to is no reason to fail a restore: an archive
// may be read-only here, and the server asks again by itself.
func (k stateKeeper) save(w Wanted, alsoLocal bool) {
	if k.off {
		return
	}
	data, err := json.MarshalIndent(w, "", "  ")
	if err != nil {
		return
	}
	data = append(data, '\n')
	path := k.inArchive()
	err = replaceFile(path, data)
	if errors.Is(err, fs.ErrNotExist) && (&Archive{dir: k.archive}).prepare() == nil {
		err = replaceFile(path, data)
	}
	if err != nil || alsoLocal {
		_ = replaceFile(k.inPGData(), data) // no pg_stat_tmp: no data directory
	}
}

// sweep removes temporary files that a killed restore left behind.
func (k stateKeeper) sweep() {
	if k.off {
		return
	}
	for _, path := range []string{k.inArchive(), k.inPGData()} {
		left, _ := filepath.Glob(temporaryPattern(path)) // the pattern is well formed
		for _, name := range left {
			_ = os.Remove(name)
		}
	}
}

func temporaryPattern(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"-*")
}

// replaceFile gives a file new content at once for every reader. It flushes
// nothing: the space is allocated before the write, because ext4 brings data
// without a place on disk there when its file takes the name of another
// (ext4_alloc_da_blocks in fs/ext4), and a restore would wait for the disk.
func replaceFile(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(temporaryPattern(path)))
	if err != nil {
		return err
	}
	// Not every file system can, and none has to.
	_ = unix.Fallocate(int(tmp.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, int64(len(data)))
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}

// realPath resolves symbolic links where it can.
func realPath(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	if resolved, err := filepath.EvalSymlinks(abs); err == nil {
		return resolved
	}
	return abs
}
