package ship

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/storetest"
)

// fromPGWAL is a client of an agent beside a server with that pg_wal.
func fromPGWAL(t *testing.T, a *walcore.Archive, dir string) *Client {
	t.Helper()
	return connect(t, inProcess(t, AgentConfig{Archive: a.Dir(), WALDir: dir}))
}

func TestGetFromPGWAL(t *testing.T) {
	whole := func(name walcore.SegmentName) []byte { return segment(storetest.Segment{Name: name}) }
	history := []byte("1\t0/300000\tno recovery target specified\n")
	dir := walDir(t, map[string][]byte{
		string(seg1): whole(seg1), "+" + string(seg2): whole(seg2), string(seg3): whole(seg3),
		"+00000002.history": history, "+" + string(seg1) + ".00000028.backup": []byte("START WAL LOCATION"),
		"00000002" + string(seg4)[8:]: whole(seg1), // recycled, with a mark that it must not have
	})
	writeFile(t, filepath.Join(dir, string(seg4)), whole(seg4)) // being written: no mark
	tests := []struct {
		name walcore.FileName
		cut  walcore.LSN // of timeline 1, 0 for none
		want []byte      // nil: not archived
	}{
		{walcore.FileName(seg1), 0, whole(seg1)},
		{walcore.FileName(seg2), 0, whole(seg2)},
		{"00000002.history", 0, history},
		{walcore.FileName(seg4), 0, nil},
		{"000000010000000000000077", 0, nil},
		{walcore.FileName(seg1) + ".00000028.backup", 0, nil},
		{walcore.FileName(seg2), seg2.End(storetest.Small), whole(seg2)},
		{walcore.FileName(seg3), seg2.End(storetest.Small), nil},
		{walcore.FileName(seg3), seg3.Start(storetest.Small) + 800, nil},
	}
	for _, tt := range tests {
		a := newArchive(t)
		if tt.cut != 0 {
			if err := a.RaiseFence(walcore.Cut{Timeline: 1, LSN: tt.cut, By: "test"}); err != nil {
				t.Fatal(err)
			}
		}
		own := newArchive(t)
		err := fromPGWAL(t, a, dir).Fetch(t.Context(), own, tt.name)
		if tt.want == nil {
			if !errors.Is(err, walcore.ErrNotArchived) {
				t.Errorf("%s, cut %s: got %v, want ErrNotArchived", tt.name, tt.cut, err)
			}
			continue
		}
		got, readErr := os.ReadFile(filepath.Join(own.Dir(), string(tt.name)))
		if err != nil || readErr != nil || !bytes.Equal(got, tt.want) {
			t.Errorf("%s, cut %s: got %d bytes, %v, %v; want %d", tt.name, tt.cut, len(got), err, readErr, len(tt.want))
		}
	}
	recycled := walcore.FileName("00000002" + string(seg4)[8:])
	if err := fromPGWAL(t, newArchive(t), dir).Fetch(t.Context(), newArchive(t), recycled); err == nil {
		t.Error("a recycled segment was handed out under its new name")
	}
	if err := connectTo(t, newArchive(t)).Fetch(t.Context(), newArchive(t), walcore.FileName(seg1)); !errors.Is(err, walcore.ErrNotArchived) {
		t.Errorf("an agent that knows no pg_wal: got %v, want ErrNotArchived", err)
	}
}

// A server may recycle the segment while it is being read: what was read is
// then nothing.
func TestRecycledWhileRead(t *testing.T) {
	for what, recycle := range map[string]func(dir string) error{
		"renamed": func(dir string) error {
			return os.Rename(filepath.Join(dir, string(seg1)), filepath.Join(dir, string(seg4)))
		},
		"removed": func(dir string) error { return os.Remove(filepath.Join(dir, string(seg1))) },
		"unmarked": func(dir string) error {
			return os.Remove(filepath.Join(dir, "archive_status", string(seg1)+".done"))
		},
	} {
		dir := walDir(t, map[string][]byte{string(seg1): segment(storetest.Segment{Name: seg1})})
		f, err := openFinished(dir, newArchive(t), walcore.FileName(seg1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(f, make([]byte, 4096)); err != nil {
			t.Fatal(err)
		}
		if err := recycle(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, f); !errors.Is(err, walcore.ErrNotArchived) {
			t.Errorf("%s: got %v, want ErrNotArchived", what, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}
