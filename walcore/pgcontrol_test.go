package walcore

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// controlFile is what a real server of a major wrote, up to the checksum.
func controlFile(t *testing.T, major int) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", "pg_control", strconv.Itoa(major)))
	if err != nil {
		t.Fatal(err)
	}
	return append(content, make([]byte, controlFileSize-len(content))...)
}

// pgdata is a data directory that holds nothing but pg_control.
func pgdata(t *testing.T, content []byte) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "global"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "global", "pg_control"), content)
	return dir
}

func TestReadControlFile(t *testing.T) {
	for major := 10; major <= 18; major++ {
		c, err := ReadControlFile(pgdata(t, controlFile(t, major)))
		if err != nil {
			t.Errorf("%d: %v", major, err)
			continue
		}
		got, err := json.MarshalIndent(c, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join("testdata", "pg_control", strconv.Itoa(major)+".json"))
		if err != nil {
			t.Fatal(err)
		}
		if string(got)+"\n" != string(want) {
			t.Errorf("%d: got\n%s\nwant\n%s", major, got, want)
		}
		var again ControlFile
		if err := json.Unmarshal(got, &again); err != nil || again != c {
			t.Errorf("%d: got %+v, %v from the JSON of %+v", major, again, err, c)
		}
	}
}

// TestReadControlFileBefore10 lays the structures of 9.5 and 9.6 out by hand.
func TestReadControlFileBefore10(t *testing.T) {
	for _, version := range []uint32{control95, control96} {
		b := make([]byte, controlFileSize)
		put32 := func(at int, v uint32) { binary.LittleEndian.PutUint32(b[at:], v) }
		put64 := func(at int, v uint64) { binary.LittleEndian.PutUint64(b[at:], v) }
		put64(0, testSystemID)
		put32(8, version)
		put32(16, uint32(StateInProduction))
		put64(24, 1600000000)
		put64(32, 0x3000028)             // checkpoint; the one before it is at 40
		put64(48, 0x2000028)             // redo
		put32(56, 7)                     // timeline
		put64(128, 0x3e8)                // counter for unlogged relations
		put64(136, 0x4000000)            // minimum recovery point
		put64(152, 0x5000000)            // start of a backup
		b[168] = 1                       // its end is required
		put32(172, 2)                    // wal_level
		put32(180, 100)                  // max_connections
		put32(192, 64)                   // max_locks_per_xact
		put32(216, 8192)                 // block size
		put32(220, 131072)               // blocks per file of a relation
		put32(224, 8192)                 // WAL block size
		put32(228, 16<<20)               // segment size
		b[248], b[249], b[250] = 1, 1, 1 // integer times, float4 and float8 by value
		put32(252, 1)                    // checksums
		put32(256, crc32.Checksum(b[:256], crc32.MakeTable(crc32.Castagnoli)))

		c, err := ReadControlFile(pgdata(t, b))
		want := ControlFile{
			SystemID: testSystemID, ControlVersion: version, State: StateInProduction, ModifiedAt: time.Unix(1600000000, 0).UTC(),
			Checkpoint: 0x3000028, Redo: 0x2000028, Timeline: 7, MinRecoveryPoint: 0x4000000, BackupStart: 0x5000000, BackupEndRequired: true,
			WALLevel: map[uint32]string{control95: "hot_standby", control96: "logical"}[version], MaxConnections: 100, MaxLocksPerXact: 64,
			BlockSize: 8192, RelationBlocks: 131072, WALBlockSize: 8192, SegmentSize: 16 << 20, ChecksumVersion: 1,
		}
		if err != nil || c != want {
			t.Errorf("%d:\n got %+v, %v\nwant %+v", version, c, err, want)
		}
	}
}

func TestReadControlFileRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(b []byte) []byte
		want   string
	}{
		{"empty", func([]byte) []byte { return nil }, "only 0 bytes"},
		{"zeros", func(b []byte) []byte { clear(b); return b }, "all zeros"},
		{"cut off", func(b []byte) []byte { return b[:200] }, "only 200 bytes"},
		{"damaged", func(b []byte) []byte { b[33]++; return b }, "its checksum does not match"},
		{"another version", func(b []byte) []byte { b[8]++; return b }, "its version 1301 is not one of PostgreSQL 9.5 to 18"},
	}
	for _, tt := range tests {
		_, err := ReadControlFile(pgdata(t, tt.change(controlFile(t, 15))))
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "global/pg_control") {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
	if _, err := ReadControlFile(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: got %v, want fs.ErrNotExist", err)
	}
}

// TestReadControlFileTorn has a server in the middle of writing the file.
func TestReadControlFileTorn(t *testing.T) {
	whole := controlFile(t, 15)
	torn := bytes.Clone(whole)
	copy(torn[100:], controlFile(t, 14)[100:])
	reads := 0
	c, err := retryControlFile(func() ([]byte, error) {
		reads++
		if reads < 4 {
			return torn, nil
		}
		return whole, nil
	})
	if err != nil || reads != 4 || c.State != StateShutDown {
		t.Errorf("got %q, %v after %d reads, want it good on the fourth", c.State, err, reads)
	}
	reads = 0
	_, err = retryControlFile(func() ([]byte, error) { reads++; return torn, nil })
	if !errors.Is(err, errTorn) || reads != controlReads {
		t.Errorf("got %v after %d reads, want to give up after %d", err, reads, controlReads)
	}
}

func FuzzParseControlFile(f *testing.F) {
	for major := 10; major <= 18; major++ {
		content, err := os.ReadFile(filepath.Join("testdata", "pg_control", strconv.Itoa(major)))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Fuzz(func(_ *testing.T, content []byte) {
		parseControlFile(content) //nolint:errcheck // it must only not panic
	})
}
