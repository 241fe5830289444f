package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/walcore"
)

// The standby keeps what the relay has not taken yet, whichever command serves
// its server and wherever that is told the archive; the DR node relays to
// nobody, and keeps nothing for it. %a is the archive, %l a link to it, %h the
// home, and the last segment of four is asked for.
func TestCleanupKeepsForTheRelayOnly(t *testing.T) {
	const asked, redo = " 000000010000000000000004 pg_wal/RECOVERYXLOG", " 000000010000000000000003"
	tests := []struct {
		what, line, node, mark, want string
	}{
		{"the site's restore", "--home %h restore" + asked + redo, "db2", "", "1 2 3 4"},
		{"on the DR node", "--home %h restore" + asked + redo, "dr", "", "3 4"},
		{"--from and --home", "--home %h restore --from %a" + asked + redo, "db2", "", "1 2 3 4"},
		{"--from, the home beside the data directory", "restore --from %a" + asked + redo, "db2", "", "1 2 3 4"},
		{"--from on the DR node", "restore --from %a" + asked + redo, "dr", "", "3 4"},
		{"--from through a link", "restore --from %l" + asked + redo, "db2", "", "1 2 3 4"},
		{"--from and a watermark", "restore --from %a" + asked + redo, "db2", "000000010000000000000001", "2 3 4"},
		{"pg_standby", "pg_standby %a" + asked + redo, "db2", "", "1 2 3 4"},
		{"pg_standby -k", "pg_standby -k 1 %a" + asked, "db2", "", "1 2 3 4"},
		{"pg_standby -k and a watermark", "pg_standby -k 1 %a" + asked, "db2", "000000010000000000000001", "2 3 4"},
		{"pg_standby on the DR node", "pg_standby %a" + asked + redo, "dr", "", "3 4"},
		{"pg_standby -k on the DR node", "pg_standby -k 1 %a" + asked, "dr", "", "3 4"},
		{"pg_standby, no home", "pg_standby %a" + asked + redo, "", "", "3 4"},
		{"pg_standby, no home but a watermark", "pg_standby %a" + asked + redo, "", "000000010000000000000001", "2 3 4"},
		{"--from, no home but a watermark", "restore --from %a" + asked + redo, "", "000000010000000000000001", "2 3 4"},
		{"--from, a home that says nothing", "restore --from %a" + asked + redo, "db9", "", "1 2 3 4"},
		{"pg_standby, a home that says nothing", "pg_standby -k 1 %a" + asked, "db9", "", "1 2 3 4"},
	}
	for _, tt := range tests {
		s := newServedSite(t, tt.node, "")
		if tt.mark != "" {
			archive, err := walcore.OpenArchive(s.archive)
			if err == nil {
				err = archive.SetWatermark(walcore.SegmentName(tt.mark))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		out, code := s.run(tt.line)
		if code != 0 {
			t.Errorf("%s: exits with %d\n%s", tt.what, code, out)
		}
		if got := s.left(); got != tt.want {
			t.Errorf("%s: left %s, want %s\n%s", tt.what, got, tt.want, out)
		}
	}
}

// The same of the WAL of kept backups. Without any backup all WAL stays.
func TestCleanupKeepsForBackups(t *testing.T) {
	for _, line := range []string{
		"pg_standby %a 000000010000000000000004 pg_wal/RECOVERYXLOG 000000010000000000000003",
		"pg_standby -k 1 %a 000000010000000000000004 pg_wal/RECOVERYXLOG",
		"restore --from %a 000000010000000000000004 pg_wal/RECOVERYXLOG 000000010000000000000003",
	} {
		s := newServedSite(t, "dr", "[archive]\nkeep_backups = 1\n")
		out, code := s.run(line)
		if got := s.left(); code != 0 || got != "1 2 3 4" {
			t.Errorf("%s: exits with %d and left %s, want 0 and 1 2 3 4\n%s", line, code, got, out)
		}
	}
}

// A home that is named and cannot be read may hold what must be kept: nothing
// is served, nothing is removed, and no exit code opens the database.
func TestRestoreFromWithABadHome(t *testing.T) {
	const asked = " 000000010000000000000004 pg_wal/RECOVERYXLOG 000000010000000000000003"
	for _, tt := range []struct {
		line, signal string
		want         int
	}{
		{"--home %h.none restore --from %a" + asked, "standby.signal", 4},
		{"--home %h.none restore --from %a" + asked, "recovery.signal", 126},
		{"--home %h restore --from %a" + asked, "standby.signal", 4},
		{"--home %h.none pg_standby %a" + asked, "standby.signal", 2},
		{"--home %h.none pg_standby %a" + asked, "recovery.signal", 126},
	} {
		s := newServedSite(t, "db9", "")
		if err := os.Rename(filepath.Join(s.data, "standby.signal"), filepath.Join(s.data, tt.signal)); err != nil {
			t.Fatal(err)
		}
		out, code := s.run(tt.line)
		if got := s.left(); code != tt.want || got != "1 2 3 4" {
			t.Errorf("%s with %s: exits with %d and left %s, want %d and 1 2 3 4\n%s", tt.line, tt.signal, code, got, tt.want, out)
		}
	}
}

// How to wait is of no use without a wait: a mistake that opens no database.
func TestRestoreWaitsOnlyWhenTold(t *testing.T) {
	const asked = " 000000010000000000000004 pg_wal/RECOVERYXLOG"
	for _, tt := range []struct {
		line, signal string
		want         int
		said         string
	}{
		{"restore --poll 2s --from %a" + asked, "standby.signal", 4, "hint: give --wait with them"},
		{"restore --max-wait 1m --from %a" + asked, "recovery.signal", 126, "hint: give --wait with them"},
		{"restore --max-wait=1m --from=%a --trigger=t --" + asked, "standby.signal", 4, "hint: give --wait with them"},
		{"restore --wait --poll 2s --max-wait 1m --from %a" + asked, "standby.signal", 0, ""},
	} {
		s := newServedSite(t, "", "")
		if err := os.Rename(filepath.Join(s.data, "standby.signal"), filepath.Join(s.data, tt.signal)); err != nil {
			t.Fatal(err)
		}
		if out, code := s.run(tt.line); code != tt.want || !strings.Contains(out, tt.said) {
			t.Errorf("%s with %s: exits with %d, want %d and %q\n%s", tt.line, tt.signal, code, tt.want, tt.said, out)
		}
	}
}

// Programs are told the same: 3 where no shipper runs.
func TestShipperStatusOfNone(t *testing.T) {
	s := newServedSite(t, "db2", "")
	for _, line := range []string{"--home %h shipper status", "--home %h shipper status --json"} {
		out, code := s.run(line)
		if code != 3 || !strings.Contains(out, "hint: the server's next archive call starts one") {
			t.Errorf("%s: exits with %d, want 3 and a hint\n%s", line, code, out)
		}
		if json := strings.HasSuffix(line, "--json"); json != strings.HasPrefix(out, "[]\n") {
			t.Errorf("%s: says %q", line, out)
		}
	}
}

// servedSite is a standby's data directory, its archive with four segments and
// the home beside it.
type servedSite struct {
	*testing.T
	home, data, archive string
}

// newServedSite is seen from one node of db1, db2 and dr; from none there is no
// home, and from an unknown one it cannot be read.
func newServedSite(t *testing.T, node, more string) servedSite {
	t.Helper()
	dir := t.TempDir()
	s := servedSite{t, filepath.Join(dir, "warmrun"), filepath.Join(dir, "data"), filepath.Join(dir, "archive")}
	files := map[string]string{
		filepath.Join(s.data, "PG_VERSION"):     "15\n",
		filepath.Join(s.data, "standby.signal"): "",
		filepath.Join(s.data, "pg_wal", "x"):    "",
	}
	if node != "" {
		files[filepath.Join(s.home, "local", "node")] = node + "\n"
		files[filepath.Join(s.home, "global", "cluster.toml")] = fmt.Sprintf(
			"[[node]]\nname = 'db1'\npgdata = '/none'\n[[node]]\nname = 'db2'\npgdata = '%[1]s'\narchive = '%[2]s'\n"+
				"[[node]]\nname = 'dr'\nrole = 'dr'\npgdata = '%[1]s'\narchive = '%[2]s'\n%[3]s", s.data, s.archive, more)
	}
	for number := byte(1); number <= 4; number++ {
		files[filepath.Join(s.archive, fmt.Sprintf("00000001000000000000000%d", number))] = walSegment(number)
	}
	writeFiles(t, files)
	if err := os.Symlink(s.archive, s.archive+".link"); err != nil {
		t.Fatal(err)
	}
	return s
}

// run is the program as the server starts it: what it says, and its exit code.
func (s servedSite) run(line string) (string, int) {
	s.Helper()
	program, err := exec.LookPath("warmrun")
	if err != nil {
		s.Fatal(err)
	}
	cmd := exec.Command(program, strings.Fields(strings.NewReplacer("%h", s.home, "%a", s.archive, "%l", s.archive+".link").Replace(line))...)
	cmd.Dir, cmd.Env = s.data, append(os.Environ(), "PGDATA=", "WARMRUN_HOME=")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// left is the segments that are still in the archive.
func (s servedSite) left() string {
	s.Helper()
	entries, err := os.ReadDir(s.archive)
	if err != nil {
		s.Fatal(err)
	}
	var left []string
	for _, entry := range entries {
		if name, err := walcore.ParseSegmentName(entry.Name()); err == nil {
			left = append(left, string(name[23:]))
		}
	}
	return strings.Join(left, " ")
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
