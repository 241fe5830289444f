package walcore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"time"
)

// ControlState is the state that a server last wrote into pg_control. It says
// what the server was doing, not whether it still runs: a killed primary stays
// "in production".
type ControlState int

// The states of catalog/pg_control.h (DBState), the same since 9.2.
const (
	StateStartingUp ControlState = iota
	StateShutDown
	StateShutDownInRecovery
	StateShuttingDown
	StateInCrashRecovery
	StateInArchiveRecovery
	StateInProduction
)

var controlStates = [...]string{
	"starting up", "shut down", "shut down in recovery", "shutting down",
	"in crash recovery", "in archive recovery", "in production",
}

// String prints the state as pg_controldata does.
func (s ControlState) String() string {
	if s < 0 || int(s) >= len(controlStates) {
		return "unrecognized status code"
	}
	return controlStates[s]
}

// MarshalText is String, for JSON.
func (s ControlState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *ControlState) UnmarshalText(text []byte) error {
	for state, name := range controlStates {
		if name == string(text) {
			*s = ControlState(state)
			return nil
		}
	}
	return fmt.Errorf("%q is not a state of pg_control", text)
}

// ControlFile is what pg_control says of a cluster (ControlFileData and
// CheckPoint in catalog/pg_control.h).
type ControlFile struct {
	SystemID       uint64       `json:"system_identifier,string"`
	ControlVersion uint32       `json:"control_version"`
	CatalogVersion uint32       `json:"catalog_version"`
	State          ControlState `json:"state"`
	ModifiedAt     time.Time    `json:"modified_at"`

	Checkpoint     LSN       `json:"checkpoint"` // where the latest checkpoint's record begins
	Redo           LSN       `json:"redo"`       // where recovery from it begins
	Timeline       Timeline  `json:"timeline"`
	PrevTimeline   Timeline  `json:"prev_timeline"`
	CheckpointTime time.Time `json:"checkpoint_time"`

	MinRecoveryPoint    LSN      `json:"min_recovery_point"` // zero unless in recovery
	MinRecoveryTimeline Timeline `json:"min_recovery_timeline"`
	BackupStart         LSN      `json:"backup_start"`
	BackupEnd           LSN      `json:"backup_end"`
	BackupEndRequired   bool     `json:"backup_end_required"`

	WALLevel    string `json:"wal_level"`
	WALLogHints bool   `json:"wal_log_hints"`

	// Settings of the server that a hot standby must not fall below.
	MaxConnections       int  `json:"max_connections"`
	MaxWorkerProcesses   int  `json:"max_worker_processes"`
	MaxWALSenders        int  `json:"max_wal_senders"` // zero before 12, where it does not matter
	MaxPreparedXacts     int  `json:"max_prepared_xacts"`
	MaxLocksPerXact      int  `json:"max_locks_per_xact"`
	TrackCommitTimestamp bool `json:"track_commit_timestamp"`

	BlockSize       uint32      `json:"block_size"`      // of a data page, in bytes
	RelationBlocks  uint32      `json:"relation_blocks"` // in each file of a relation but the last
	WALBlockSize    uint32      `json:"wal_block_size"`  // of a page of WAL, in bytes
	SegmentSize     SegmentSize `json:"segment_size"`
	ChecksumVersion uint32      `json:"checksum_version"` // of data pages; zero: none
}

// Identity is the identity of the cluster's WAL.
func (c ControlFile) Identity() Identity {
	return Identity{SystemID: c.SystemID, SegmentSize: c.SegmentSize}
}

// Versions of pg_control, by the release that introduced each.
const (
	control95 = 942
	control96 = 960
	control10 = 1002
	control11 = 1100
	control12 = 1201
	control13 = 1300 // through 16
	control17 = 1700
	control18 = 1800
)

const (
	controlFileSize = 8192
	controlReads    = 10 // get_controlfile in common/controldata_utils.c gives up after as many
	controlPause    = 10 * time.Millisecond
)

// errTorn marks content whose checksum does not match.
var errTorn = errors.New("its checksum does not match")

// ReadControlFile reads pgdata/global/pg_control of a cluster of PostgreSQL
// 9.5 to 18, running or not. A running server may be writing it, so a checksum
// that does not match is read again a few times, within a tenth of a second,
// before it is an error. The error is fs.ErrNotExist when there is no such file.
func ReadControlFile(pgdata string) (ControlFile, error) {
	path := filepath.Join(pgdata, "global", "pg_control")
	c, err := retryControlFile(func() ([]byte, error) { return readAtMost(path, controlFileSize) })
	if err != nil {
		return ControlFile{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func retryControlFile(read func() ([]byte, error)) (ControlFile, error) {
	for attempt := 1; ; attempt++ {
		content, err := read()
		if err != nil {
			return ControlFile{}, err
		}
		c, err := parseControlFile(content)
		if err == nil {
			return c, nil
		}
		if !errors.Is(err, errTorn) || attempt == controlReads {
			return ControlFile{}, fmt.Errorf("not usable: %w", err)
		}
		pause := time.NewTimer(controlPause)
		<-pause.C
	}
}

func readAtMost(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read from
	content := make([]byte, limit)
	n, err := io.ReadFull(f, content)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return content[:n], err
}

// parseControlFile decodes the file's content. errTorn: read it again.
func parseControlFile(content []byte) (ControlFile, error) {
	if len(content) < 16 {
		return ControlFile{}, fmt.Errorf("it has only %d bytes", len(content))
	}
	d := &structDecoder{data: content}
	var c ControlFile
	c.SystemID = d.u64()
	c.ControlVersion = d.u32()
	c.CatalogVersion = d.u32()
	switch c.ControlVersion {
	case control95, control96, control10, control11, control12, control13, control17, control18:
	default:
		if bytes.Count(content, []byte{0}) == len(content) {
			return ControlFile{}, errors.New("it is all zeros")
		}
		return ControlFile{}, fmt.Errorf("its version %d is not one of PostgreSQL 9.5 to 18", c.ControlVersion)
	}
	c.State = ControlState(d.u32())
	c.ModifiedAt = d.time()
	c.Checkpoint = d.lsn()
	if c.ControlVersion < control11 {
		d.lsn() // the checkpoint before that one
	}
	c.decodeCheckpoint(d)
	d.lsn() // counter for unlogged relations
	c.MinRecoveryPoint = d.lsn()
	c.MinRecoveryTimeline = Timeline(d.u32())
	c.BackupStart = d.lsn()
	c.BackupEnd = d.lsn()
	c.BackupEndRequired = d.flag()
	c.decodeSettings(d)
	c.decodeBuild(d)
	return c, d.checksum()
}

// decodeCheckpoint reads the copy of the latest checkpoint's record. 17 put
// wal_level into it, in bytes that were padding before.
func (c *ControlFile) decodeCheckpoint(d *structDecoder) {
	d.align(8)
	c.Redo = d.lsn()
	c.Timeline = Timeline(d.u32())
	c.PrevTimeline = Timeline(d.u32())
	d.flag() // full_page_writes
	if c.ControlVersion >= control12 {
		d.u64() // next transaction, 64 bits
	} else {
		d.u32() // its epoch
		d.u32() // next transaction
	}
	for range 7 { // next oid, next multixact and offset, oldest xid and its database, oldest multixact and its
		d.u32()
	}
	c.CheckpointTime = d.time()
	for range 3 { // oldest and newest commit timestamp xid, oldest active xid
		d.u32()
	}
	d.align(8)
}

func (c *ControlFile) decodeSettings(d *structDecoder) {
	c.WALLevel = walLevel(d.u32(), c.ControlVersion)
	c.WALLogHints = d.flag()
	c.MaxConnections = d.integer()
	c.MaxWorkerProcesses = d.integer()
	if c.ControlVersion >= control12 {
		c.MaxWALSenders = d.integer()
	}
	c.MaxPreparedXacts = d.integer()
	c.MaxLocksPerXact = d.integer()
	c.TrackCommitTimestamp = d.flag()
}

func (c *ControlFile) decodeBuild(d *structDecoder) {
	d.u32() // alignment
	d.u64() // a floating point constant
	c.BlockSize = d.u32()
	c.RelationBlocks = d.u32()
	c.WALBlockSize = d.u32()
	c.SegmentSize = SegmentSize(d.u32())
	for range 4 { // name length, index keys, toast chunk, large object chunk
		d.u32()
	}
	if c.ControlVersion < control10 {
		d.flag() // integer timestamps
	}
	if c.ControlVersion < control13 {
		d.flag() // float4 by value
	}
	d.flag() // float8 by value
	c.ChecksumVersion = d.u32()
	if c.ControlVersion >= control18 {
		d.flag() // signedness of char
	}
	if c.ControlVersion >= control10 {
		d.skip(32) // authentication nonce
	}
}

func walLevel(level, version uint32) string {
	names := []string{"minimal", "replica", "logical"}
	if version < control96 {
		names = []string{"minimal", "archive", "hot_standby", "logical"}
	}
	if int64(level) >= int64(len(names)) {
		return fmt.Sprintf("unrecognized wal_level %d", level)
	}
	return names[level]
}

// structDecoder reads a C structure as a 64-bit little-endian machine lays it
// out: each member aligned to its own size. Reading past the end yields zeros
// and fails the checksum.
type structDecoder struct {
	data []byte
	at   int
}

func (d *structDecoder) align(to int) { d.at = (d.at + to - 1) &^ (to - 1) }

func (d *structDecoder) skip(n int) { d.at += n }

// next returns the next n bytes, aligned to n.
func (d *structDecoder) next(n int) []byte {
	d.align(n)
	start := d.at
	d.at += n
	if d.at > len(d.data) {
		return make([]byte, n)
	}
	return d.data[start:d.at]
}

func (d *structDecoder) u32() uint32  { return binary.LittleEndian.Uint32(d.next(4)) }
func (d *structDecoder) u64() uint64  { return binary.LittleEndian.Uint64(d.next(8)) }
func (d *structDecoder) lsn() LSN     { return LSN(d.u64()) }
func (d *structDecoder) integer() int { return int(int32(d.u32())) }
func (d *structDecoder) flag() bool   { return d.next(1)[0] != 0 }

// time reads a pg_time_t: seconds since 1970, zero when never set.
func (d *structDecoder) time() time.Time {
	seconds := int64(d.u64())
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

// checksum compares the CRC-32C of everything read so far with the one that
// comes next.
func (d *structDecoder) checksum() error {
	d.align(4)
	end := d.at
	want := d.u32()
	if d.at > len(d.data) {
		return fmt.Errorf("it has only %d bytes: %w", len(d.data), errTorn)
	}
	if got := crc32.Checksum(d.data[:end], crc32.MakeTable(crc32.Castagnoli)); got != want {
		return fmt.Errorf("it says checksum %08x, its content has %08x: %w", want, got, errTorn)
	}
	return nil
}
