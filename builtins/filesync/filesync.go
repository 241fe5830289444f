// Package filesync copies a tree of files from one node to another, one way,
// over several streams at once, and sends only what the other side lacks.
//
// Terms:
//
//   - root: the directory that is copied or copied into. Everything on the wire
//     is named relative to it, and nothing outside it is ever touched: a
//     symbolic link below the root is an object to copy, never a way to go.
//   - source and target: the tree that is read and the tree that is changed.
//   - stream: one connection to a process on the other node that runs Serve
//     (the program's sync-agent command), started by a Dialer.
//   - basis: the file that the target already has under the name of one that
//     is to be copied. It is compared block by block and only blocks that
//     differ are sent. Both sides hash at the same time, ahead of what is sent.
//   - part: a range of a file too large for one stream (see rangeSize). All
//     streams write theirs to one temporary file, and the last one finishes it.
//
// A file appears under its final name whole: it is written under a temporary
// name beside it, flushed and renamed. Options.InPlace gives that up for speed
// where the caller has made a half-written tree harmless by other means. When
// Push or Pull returns nil, every file and every directory entry has been
// flushed to disk on the target.
//
// A copy that was cut, by whatever, is gone on with by the next one: complete
// files have their source's time, and what there is of a large one is found
// under its temporary name. What of it has been noted as complete and flushed is
// left alone (see note), and the rest is compared. Zeros are sent as their number
// and become holes.
//
// The package knows nothing of PostgreSQL.
package filesync

import (
	"context"
	"fmt"
	"io"
	"time"
)

// Dialer starts a process on the other node that runs Serve on its standard
// input and output, and returns them as one stream. It is called once per
// stream, from several goroutines at once. Close must end the process; the
// error it returns is shown to the user when the stream broke.
type Dialer func(ctx context.Context) (io.ReadWriteCloser, error)

// Change is something that happened to a source file between the moment it was
// listed and the moment it had been read.
type Change int

// The changes that are noticed.
const (
	Vanished Change = iota + 1 // gone, or no longer a regular file; it is left out, and removed from the target with Options.Delete
	Shrunk                     // shorter than listed; the copy is filled up with zeros to the listed size
	Grown                      // longer than listed; what was added is left out
	Modified                   // written to while it was read; the copy may mix old and new bytes
)

// String is the word used in messages.
func (c Change) String() string {
	switch c {
	case Vanished:
		return "vanished"
	case Shrunk:
		return "shrank"
	case Grown:
		return "grew"
	case Modified:
		return "was modified"
	}
	return "changed"
}

// LetPass is an Options.OnChange for a source that is in use: every change is
// let pass.
func LetPass(string, Change) error { return nil }

// Options bend one copy. The zero value copies everything, deletes nothing and
// fails when the source changes under its feet.
type Options struct {
	// Streams is how many streams may be used at once; 0 means 4, or as many
	// as there are processors, from 2 to 4, where the other side is near. A small
	// copy uses fewer, and so does one whose further streams cannot be opened: an
	// OpenSSH server allows ten on one connection (MaxSessions).
	Streams int
	// Exclude lists patterns (see Match) of what is not copied. Where the
	// target has such an entry it is left alone, unless DeleteExcluded.
	Exclude []string
	// Include lists patterns of what is copied though Exclude names it. What
	// is in an excluded directory stays excluded with it.
	Include []string
	// Keep lists patterns of what is neither copied nor, on the target,
	// deleted or overwritten, whatever else the options say.
	Keep []string
	// Delete removes from the target what the source does not have.
	Delete bool
	// DeleteExcluded makes Delete remove excluded entries too.
	DeleteExcluded bool
	// Checksum compares every file that both sides have by the hashes of its
	// blocks. Without it a file of the same size and modification time, to the
	// nanosecond, counts as the same.
	Checksum bool
	// Resume, when set, names what is copied, in any way that the caller likes.
	// The target remembers it until the copy is done. A later copy of the same
	// name then takes files that the earlier one had completed as the same by
	// size and time, though Checksum is set, since nobody else is expected to
	// have written there, and does not compare what it noted of large ones.
	Resume string
	// LeaveMark makes the target remember Resume also when the copy is done, as
	// one of several parts of something larger, until Remote.Unmark is called.
	LeaveMark bool
	// InPlace writes into existing files, and writes new ones under their
	// final names. A copy that fails leaves half-written files. A file with
	// several hard links is never written in place.
	InPlace bool
	// HardLinks is what is done with a file that has several names.
	HardLinks HardLinks
	// DryRun changes nothing: Verbose and the Summary tell what a copy would do.
	// A file whose size or time differs counts as transferred, though the copy
	// may find that its content does not. With Checksum it is refused.
	DryRun bool
	// FollowRoot allows the target root to be a symbolic link to a directory.
	FollowRoot bool
	// MaxRate bounds the bytes of file content sent per second, packed as
	// they are on the wire, over all streams together; 0 means no bound.
	MaxRate int64
	// Compress is how file content is packed on the wire where that makes it
	// smaller; empty means CompressS2.
	Compress Compression
	// Select, when set, is shown what was listed in the source, entry by entry and
	// parents first, and returns whether it is to be copied. It may alter all of
	// an entry but its path. What is below a directory that it leaves out, or
	// makes something else of, is left out with it. The root itself stays in any case.
	Select func(*Entry) (bool, error)
	// Inspect, when set, is asked once for each regular file that is about to
	// be read, and for empty ones; it returns who is to look at the content on
	// its way, or nil. Files that count as the same by size and time are not
	// read: with Checksum every file is. It is asked again for a file that was
	// written to while it was only looked at, because the target had it already;
	// who was asked first is not done with it then. It is called from several goroutines
	// at once. Only a Push can inspect; Pull refuses it.
	Inspect func(e Entry) Inspector
	// OnChange is told of source files that changed while they were copied.
	// nil lets the copy go on in the way the Change's comment says; an error
	// fails the copy. Without it every change fails the copy. It is called
	// from several goroutines, one call at a time.
	OnChange func(path string, c Change) error
	// Progress is called a few times a second, and once at the end, always
	// from one goroutine at a time.
	Progress func(Progress)
	// Verbose gets the name of everything that is transferred or deleted, one
	// a line, as rsync -v prints them.
	Verbose io.Writer
	// Prefix stands before each name that Verbose gets, such as "warmrun/".
	Prefix string

	listed func() // called when the source has been listed; for tests
}

// Progress is how far a copy has come.
type Progress struct {
	Files      int           `json:"files"`       // files dealt with
	TotalFiles int           `json:"total_files"` // files to deal with
	Bytes      int64         `json:"bytes"`       // bytes of those files, sent or found to be there already
	TotalBytes int64         `json:"total_bytes"`
	Sent       int64         `json:"sent"`     // bytes sent on the wire
	Received   int64         `json:"received"` // bytes received on the wire
	Elapsed    time.Duration `json:"elapsed"`
	Done       bool          `json:"done"` // the last call
}

// Summary is what a copy did.
type Summary struct {
	Files       int           `json:"files"`       // regular files in the source, without those left out
	Dirs        int           `json:"dirs"`        // directories in the source, the root among them
	Transferred int           `json:"transferred"` // files that differed
	Deleted     int           `json:"deleted"`     // entries removed from the target
	Literal     int64         `json:"literal"`     // bytes of file content sent
	Sent        int64         `json:"sent"`        // bytes that this side sent on the wire
	Received    int64         `json:"received"`    // bytes that this side received
	TotalSize   int64         `json:"total_size"`  // sum of the sizes of Files
	Elapsed     time.Duration `json:"elapsed"`
}

// String is the two lines that end rsync's output.
func (s Summary) String() string {
	wire := float64(s.Sent + s.Received)
	rate, speedup := 0.0, 0.0
	if s.Elapsed > 0 {
		rate = wire / s.Elapsed.Seconds()
	}
	if wire > 0 {
		speedup = float64(s.TotalSize) / wire
	}
	return fmt.Sprintf("sent %d bytes  received %d bytes  %.2f bytes/sec\ntotal size is %d  speedup is %.2f",
		s.Sent, s.Received, rate, s.TotalSize, speedup)
}

// Add adds the counts of another copy that followed this one.
func (s Summary) Add(o Summary) Summary {
	s.Files += o.Files
	s.Dirs += o.Dirs
	s.Transferred += o.Transferred
	s.Deleted += o.Deleted
	s.Literal += o.Literal
	s.Sent += o.Sent
	s.Received += o.Received
	s.TotalSize += o.TotalSize
	s.Elapsed += o.Elapsed
	return s
}
