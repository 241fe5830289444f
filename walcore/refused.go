package walcore

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/warmrun/warmrun/walcore/hint"
)

// Reasons for which an archive refuses a file, as RefusedError gives them.
const (
	ReasonFenced    = "fenced"                   // WAL past a cut: the server that wrote it was superseded
	ReasonLeft      = "fenced by a new timeline" // WAL past the place where that left the one it is of
	ReasonDifferent = "different content"        // other bytes are archived under that name
	ReasonCluster   = "wrong cluster"            // system identifier is not the stamp's
	ReasonSize      = "wrong size"               // not a whole segment of this cluster
	ReasonName      = "bad name"                 // not the name of a WAL file
	ReasonHeader    = "bad header"               // the first page is not that of the segment
	ReasonCorrupt   = "corrupt"                  // the records do not reach where they should
)

// RefusedError says that an archive will not take a file, and that trying
// again changes nothing until somebody acts. Every one that this package
// returns carries the Remedy as its hint, too.
type RefusedError struct {
	Name   FileName `json:"name"`
	Reason string   `json:"reason"` // one of the Reason constants
	Detail string   `json:"detail"` // what was found, both sides of it
	Remedy string   `json:"remedy"` // what the operator does next
}

// Error is one line without the remedy.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s refused: %s: %s", e.Name, e.Reason, e.Detail)
}

// Hinted is the error with its remedy as the hint.
func (e *RefusedError) Hinted() error { return hint.Wrap(e, "%s", e.Remedy) }

func (r PutRequest) refuse(reason, remedy, detail string, args ...any) error {
	return (&RefusedError{Name: r.Name, Reason: reason, Detail: fmt.Sprintf(detail, args...), Remedy: remedy}).Hinted()
}

// SpaceError says that a file system has no room for a file. It is an ENOSPC
// to errors.Is.
type SpaceError struct {
	Name       FileName `json:"name"`
	Dir        string   `json:"dir"`         // the archive
	FileSystem string   `json:"file_system"` // where it is mounted
	Free       uint64   `json:"free"`        // bytes this process could still write there
	Need       uint64   `json:"need"`        // bytes of the file, and a little for its directory entries
}

// Error is one line with the file system, what is free and what is needed.
func (e *SpaceError) Error() string {
	if e.Free >= e.Need {
		return fmt.Sprintf("no room for %s in %s: file system %s says that it has %d bytes free, but what lies below it (a thin volume, a quota) had none for the %d that are needed",
			e.Name, e.Dir, e.FileSystem, e.Free, e.Need)
	}
	return fmt.Sprintf("no room for %s in %s: file system %s has %d bytes free, %d are needed",
		e.Name, e.Dir, e.FileSystem, e.Free, e.Need)
}

// Unwrap makes the error an ENOSPC.
func (e *SpaceError) Unwrap() error { return unix.ENOSPC }

// Hinted is the error with what to do as its hint.
func (e *SpaceError) Hinted() error {
	if e.Free >= e.Need {
		return hint.Wrap(e, "enlarge the volume below %s, or the quota: the next try goes through by itself, and until then the segment stays in pg_wal", e.FileSystem)
	}
	return hint.Wrap(e, "free space on %s, or enlarge it: the next try goes through by itself, and until then the segment stays in pg_wal", e.FileSystem)
}

// stateRoom is what is asked for beside a file's own size: directory entries,
// the stamp and the like.
const stateRoom = 64 << 10

// checkSpace looks for room before anything is written. What cannot be told,
// as on file systems that report no sizes, counts as enough. free is what there
// is, 0 where that cannot be told.
func (a *Archive) checkSpace(name FileName, size int64) (free uint64, err error) {
	free, known := a.free()
	if !known || free >= uint64(size)+stateRoom {
		return free, nil
	}
	return free, a.spaceError(name, size)
}

// explainSpace turns the kernel's refusal to write into a SpaceError.
func (a *Archive) explainSpace(err error, name FileName, size int64) error {
	var already *SpaceError
	if errors.As(err, &already) || !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
		return err
	}
	return a.spaceError(name, size)
}

func (a *Archive) spaceError(name FileName, size int64) error {
	free, _ := a.free()
	e := &SpaceError{Name: name, Dir: a.dir, FileSystem: mountPoint(a.dir), Free: free, Need: uint64(size) + stateRoom}
	return e.Hinted()
}

func (a *Archive) free() (bytes uint64, known bool) {
	var stat unix.Statfs_t
	if err := unix.Statfs(a.dir, &stat); err != nil || stat.Blocks == 0 {
		return 0, false
	}
	blocks := stat.Bavail
	if os.Geteuid() == 0 {
		blocks = stat.Bfree
	}
	return blocks * uint64(stat.Bsize), true
}

// mountPoint is where the file system of dir is mounted, from
// /proc/self/mountinfo; dir itself where that cannot be told.
func mountPoint(dir string) string {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return dir
	}
	best := ""
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		point := unescapeMount(fields[4])
		if len(point) >= len(best) && inside(dir, point) {
			best = point
		}
	}
	if best == "" {
		return dir
	}
	return best
}

func inside(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// unescapeMount undoes the octal escapes of /proc mount tables.
func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
