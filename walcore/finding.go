package walcore

import "fmt"

// Kinds of Finding.
const (
	FindingMissing  = "missing"  // a segment or a history that must be there is not
	FindingSize     = "size"     // not as long as a segment of this cluster
	FindingHeader   = "header"   // the first page is not that of the segment
	FindingCluster  = "cluster"  // of another cluster
	FindingTimeline = "timeline" // not of the timeline that its name stands for
	FindingRecord   = "record"   // its records end where they should not
	FindingLink     = "link"     // its records do not follow those of the segment before
	FindingHistory  = "history"  // a history that contradicts another one, or the WAL
	FindingBackup   = "backup"   // a .backup file that is none
	FindingFrames   = "frames"   // its zstd or lz4 frames are damaged, or it is stored twice and differs
	FindingRead     = "read"     // it cannot be read
	FindingOther    = "other"    // worth knowing; only ever a note
)

// Finding is one thing that is wrong with an archive.
type Finding struct {
	Kind   string `json:"kind"` // one of the Finding constants
	File   string `json:"file"`
	LSN    LSN    `json:"lsn,omitzero"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"` // what the operator does next
}

// String is the finding in one line.
func (f Finding) String() string {
	line := fmt.Sprintf("%s: %s", f.File, f.Detail)
	if f.Remedy != "" {
		line += "; " + f.Remedy
	}
	return line
}

// Remedies that several findings share.
const (
	remedyBringIt   = "bring it from another node's archive or its server's pg_wal, or make a new base copy for a standby that still needs it"
	remedyReplace   = "move it aside and " + remedyBringIt
	remedyMoveAside = "move it out of the archive, once it is clear how it came there"
)
