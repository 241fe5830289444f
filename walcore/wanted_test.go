package walcore

import (
	"os"
	"path/filepath"
	"testing"
)

// TestSweep: what a restore that was killed left behind is removed when the server
// has been started again, and not while another call of the same run may write it.
func TestSweep(t *testing.T) {
	archive, err := CreateArchive(filepath.Join(t.TempDir(), "archive"))
	if err != nil {
		t.Fatal(err)
	}
	keep := stateKeeper{archive: archive.Dir(), pgdata: t.TempDir()}
	server := Server{PID: 10, StartTicks: 20, StartTime: 30}
	keep.save(Wanted{Server: server}, false)
	left := filepath.Join(filepath.Dir(keep.inArchive()), "."+filepath.Base(keep.inArchive())+"-123")
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	keep.load(server)
	if _, err := os.Stat(left); err != nil {
		t.Errorf("the same run of the server: %v", err)
	}
	server.StartTicks++
	keep.load(server)
	if found, err := exists(left); found || err != nil {
		t.Errorf("after a start: found %t (%v), want it gone", found, err)
	}
}
