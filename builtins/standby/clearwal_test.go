package standby

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/walcore"
)

// What the primary's history has nothing of goes, with its marks; WAL in it is
// kept elsewhere. The segment in which the history leaves is needed.
func TestClearWAL(t *testing.T) {
	const size = 1 << 20
	control := walcore.Identity{SystemID: 42, SegmentSize: size}
	dir := t.TempDir()
	segment := func(number uint64) string { return string(walcore.MakeSegmentName(1, number, control.SegmentSize)) }
	page := func(number uint64) []byte {
		b := make([]byte, 8192)
		binary.LittleEndian.PutUint16(b, 0xD110)
		binary.LittleEndian.PutUint16(b[2:], 2) // XLP_LONG_HEADER
		binary.LittleEndian.PutUint32(b[4:], 1)
		binary.LittleEndian.PutUint64(b[8:], number*size)
		binary.LittleEndian.PutUint64(b[24:], control.SystemID)
		binary.LittleEndian.PutUint32(b[32:], uint32(size))
		binary.LittleEndian.PutUint32(b[36:], 8192)
		return b
	}
	files := map[string][]byte{
		segment(4): page(4), segment(5): page(5), segment(6): page(6), segment(7): page(2), segment(8): nil,
		"archive_status/" + segment(5) + ".done": nil, "archive_status/" + segment(6) + ".ready": nil,
		"000000020000000000000006": page(6), "00000002.history": []byte("1\t0/0\tx\n"),
	}
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, content, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	primary := Lineage{Opened: Opened{Timeline: 2}, History: walcore.History{{Timeline: 1, End: walcore.LSN(5*size + 160)}}}
	to := filepath.Join(t.TempDir(), "kept")
	for round, want := range []int{1, 0} {
		if kept, err := clearWAL(dir, control, primary, to); err != nil || kept != want {
			t.Errorf("round %d: kept %d, %v; want %d", round+1, kept, err, want)
		}
	}
	for where, want := range map[string][]string{
		dir:                                  {"00000002.history", "000000020000000000000006", segment(4), segment(5), "archive_status"},
		filepath.Join(dir, "archive_status"): {segment(5) + ".done"},
		to:                                   {segment(6)},
	} {
		entries, err := os.ReadDir(where)
		var got []string
		for _, entry := range entries {
			got = append(got, entry.Name())
		}
		slices.Sort(want)
		slices.Sort(got)
		if err != nil || strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s: got %v, %v; want %v", where, got, err, want)
		}
	}
}
