package walcore

import (
	"bytes"
	"encoding/binary"
	"time"
)

// LandmarkKind says what sort of place in the WAL a landmark is.
type LandmarkKind string

// The landmarks that a recovery can stop at by time, transaction or name.
const (
	LandmarkCommit       LandmarkKind = "commit"
	LandmarkAbort        LandmarkKind = "abort"
	LandmarkRestorePoint LandmarkKind = "restore point"
)

// Landmark is a record that people know the WAL by.
type Landmark struct {
	Kind LandmarkKind `json:"kind"`
	At   LSN          `json:"at"`  // where the record begins
	End  LSN          `json:"end"` // and where the next one may
	Time time.Time    `json:"time"`
	// XID is the transaction, in the 32 bits that WAL has of it; 0 for a
	// restore point, and for a transaction that was prepared for a two-phase
	// commit, which its own record does not begin with.
	XID uint32 `json:"xid,omitempty"`
	// Name is the restore point's.
	Name string `json:"name,omitempty"`
}

// Facts of these records: XLOG_RESTORE_POINT and xl_restore_point in
// access/xlog_internal.h, xl_xact_commit and the operations in access/xact.h,
// the block IDs before a record's own data in access/xlogrecord.h.
const (
	infoRestorePoint  = 0x70
	restoreNameSize   = 64 // MAXFNAMELEN
	xactOperations    = 0x70
	xactCommit        = 0x00
	xactAbort         = 0x20
	xactCommitTwo     = 0x30 // of a prepared transaction
	xactAbortTwo      = 0x40
	recordXIDAt       = 4
	blockDataShort    = 255
	blockDataLong     = 254
	blockOrigin       = 253
	blockTopLevelXID  = 252
	originSize        = 2
	xidSize           = 4
	longLengthSize    = 4
	longestDataHeader = 1 + originSize + 1 + xidSize + 1 + longLengthSize

	// landmarkSize is how many bytes behind its header tell a landmark.
	landmarkSize = longestDataHeader + 8 + restoreNameSize
)

// serverEpoch is where the server's clock begins, in seconds since 1970
// (POSTGRES_EPOCH_JDATE in datatype/timestamp.h).
const serverEpoch = 946684800

// landmark says what the record that was read last is, if it is one. The reader
// must keep what it looks at.
func (w *walReader) landmark(rec record) (Landmark, bool) {
	p := &w.part
	mark := Landmark{At: rec.at, End: rec.end}
	switch rmgr, info := p.header[recordRmgrAt], p.header[recordInfoAt]; {
	case rmgr == rmgrXLOG && info&0xF0 == infoRestorePoint:
		mark.Kind = LandmarkRestorePoint
	case rmgr == rmgrXact && (info&xactOperations == xactCommit || info&xactOperations == xactCommitTwo):
		mark.Kind = LandmarkCommit
	case rmgr == rmgrXact && (info&xactOperations == xactAbort || info&xactOperations == xactAbortTwo):
		mark.Kind = LandmarkAbort
	default:
		return mark, false
	}
	data := ownData(p.body[:p.kept])
	if len(data) < 8 {
		return mark, false
	}
	micros := int64(binary.LittleEndian.Uint64(data))
	mark.Time = time.Unix(serverEpoch, 0).Add(time.Duration(micros) * time.Microsecond).UTC()
	if mark.Kind == LandmarkRestorePoint {
		name, _, _ := bytes.Cut(data[8:], []byte{0})
		mark.Name = string(name)
		return mark, true
	}
	if operation := p.header[recordInfoAt] & xactOperations; operation == xactCommit || operation == xactAbort {
		mark.XID = binary.LittleEndian.Uint32(p.header[recordXIDAt:])
	}
	return mark, true
}

// ownData is a record's own data, of one that refers to no data pages: what
// stands before it is at most an origin, a transaction and a length.
func ownData(body []byte) []byte {
	for len(body) > 0 {
		length := 0
		switch body[0] {
		case blockOrigin:
			length = 1 + originSize
		case blockTopLevelXID:
			length = 1 + xidSize
		case blockDataShort:
			return body[min(2, len(body)):]
		case blockDataLong:
			return body[min(1+longLengthSize, len(body)):]
		default:
			return nil
		}
		body = body[min(length, len(body)):]
	}
	return nil
}
