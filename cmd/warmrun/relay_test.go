package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The standby keeps what the relay has not taken yet; the DR node relays to
// nobody, and keeps nothing for it.
func TestCleanupKeepsForTheRelayOnly(t *testing.T) {
	for node, want := range map[string]bool{"db2": true, "dr": false} {
		dir := t.TempDir()
		home, data := filepath.Join(dir, "warmrun"), filepath.Join(dir, "data")
		writeFiles(t, map[string]string{
			filepath.Join(home, "global", "cluster.toml"): fmt.Sprintf("[[node]]\nname = 'db1'\npgdata = '/none'\n[[node]]\nname = 'db2'\npgdata = '%s'\n[[node]]\nname = 'dr'\nrole = 'dr'\npgdata = '%s'\n", data, data),
			filepath.Join(home, "local", "node"):          node + "\n",
			filepath.Join(data, "PG_VERSION"):             "15\n",
			filepath.Join(data, "standby.signal"):         "",
			filepath.Join(data, "pg_wal", "x"):            "",
		})
		first := filepath.Join(home, "archive", "000000010000000000000001")
		for number := byte(1); number <= 4; number++ {
			writeFiles(t, map[string]string{first[:len(first)-1] + fmt.Sprint(number): walSegment(number)})
		}
		program, err := exec.LookPath("warmrun")
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(program, "--home", home, "restore", "000000010000000000000004", "pg_wal/RECOVERYXLOG", "000000010000000000000003")
		cmd.Dir, cmd.Env = data, append(os.Environ(), "PGDATA=", "WARMRUN_HOME=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("restore on %s: %v\n%s", node, err, out)
		}
		_, err = os.Stat(first)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if kept := err == nil; kept != want {
			t.Errorf("on %s the oldest segment is kept: %v, want %v", node, kept, want)
		}
	}
}

// walSegment is a whole segment of 1 MB with nothing but the header of its
// first page (XLogLongPageHeaderData in xlog_internal.h, PostgreSQL 15).
func walSegment(number byte) string {
	const size = 1 << 20
	page := make([]byte, size)
	le := binary.LittleEndian
	le.PutUint16(page[0:], 0xD110) // XLOG_PAGE_MAGIC
	le.PutUint16(page[2:], 2)      // XLP_LONG_HEADER
	le.PutUint32(page[4:], 1)      // timeline
	le.PutUint64(page[8:], uint64(number)*size)
	le.PutUint64(page[24:], 77) // system identifier
	le.PutUint32(page[32:], size)
	le.PutUint32(page[36:], 8192)
	return string(page)
}

func writeFiles(t *testing.T, files map[string]string) {
	t.Helper()
	for path, text := range files {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
