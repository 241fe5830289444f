package basebackup

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/warmrun/warmrun/builtins/filesync"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
)

func TestParseRelation(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]relation{
		"16384":         {number: "16384"},
		"16384.1":       {number: "16384", segment: 1},
		"16384_fsm":     {number: "16384", fork: "fsm"},
		"16384_vm.12":   {number: "16384", fork: "vm", segment: 12},
		"16384_init":    {number: "16384", fork: "init"},
		"t3_16384":      {number: "16384", temp: true},
		"t12_16384_fsm": {number: "16384", fork: "fsm", temp: true},
		"t3_16384.2":    {number: "16384", segment: 2, temp: true},
	} {
		if got, ok := parseRelation(name); !ok || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, ok, want)
		}
	}
	for _, name := range []string{"", "PG_VERSION", "pg_filenode.map", "16384_", "16384_x", "16384.x", "t_1", "t3", "tx_1", "16384_fsm_", ".1", "1.2.3"} {
		if got, ok := parseRelation(name); ok {
			t.Errorf("%s: got %+v, want no relation", name, got)
		}
	}
}

func TestNeededRelations(t *testing.T) {
	t.Parallel()
	names := []string{"base/5/1", "base/5/2", "base/5/2.1", "base/5/2_fsm", "base/5/2_init", "base/5/t4_9", "base/5/t4_9_fsm", "base/6/2",
		"global/2", "log/2_init", "log/2", "PG_15_202209061/5/3", "PG_15_202209061/5/3_init", "pg_tblspc/7/PG_15_202209061/5/t1_3"}
	want := []string{"base/5/1", "base/5/2_init", "base/6/2", "global/2", "log/2_init", "log/2", "PG_15_202209061/5/3_init"}
	n := &needed{root: t.TempDir()}
	for _, name := range names {
		if err := errors.Join(os.MkdirAll(filepath.Join(n.root, path.Dir(name)), 0o700), os.WriteFile(filepath.Join(n.root, name), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, name := range names {
		needed, err := n.file(&filesync.Entry{Path: name, Kind: filesync.File})
		if err != nil {
			t.Fatal(err)
		}
		if needed {
			got = append(got, name)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestIsWAL(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"000000010000000000000001":                                   true,
		"000000010000000000000001.partial":                           true,
		"000000010000000000000001.00000028.backup":                   true,
		"00000002.history":                                           true,
		"archive_status/000000010000000000000001.ready":              true,
		"archive_status/00000002.history.done":                       true,
		"summaries/0000000100000000010000280000000001000120.summary": true,
		"archive_status":                                             false,
		"archive_status/notes.ready":                                 false,
		"archive_status/x":                                           false,
		"summaries/mine.summary":                                     false,
		"notes.txt":                                                  false,
		"sub/000000010000000000000001":                               false,
		"00000001000000000000000g":                                   false,
		"../000000010000000000000001":                                false,
	} {
		if got := isWAL(name); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

func TestMoveMap(t *testing.T) {
	t.Parallel()
	c := &copier{tablespaces: []Tablespace{{OID: "1", source: "/old/one", link: "/new/one"}, {OID: "22", source: "/old", link: "/odd\nname\\here"},
		{OID: "3", source: "/back\\slash", link: "/back\\slash"}}}
	got, err := c.moveMap("1 /old/one\n22 /odd\\\nname\n3 /back\\slash\n")
	if want := "1 /new/one\n22 /odd\\\nname\\\\here\n3 /back\\slash\n"; err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if _, err := c.moveMap("4 /unknown\n"); err == nil {
		t.Error("got no error for a tablespace that was not copied")
	}
}

func TestLocate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ link, source, target, rewritten, inside string }{
		{"/srv/space", "/srv/space", "/srv/space", "/srv/space", ""},
		{"/data/a/in/side", "/data/a/in/side", "/data/b/in/side", "/data/b/in/side", "in/side"},
		{"../../space", "/data/space", "/data/space", "../../space", ""},
		{"/data/ab", "/data/ab", "/data/ab", "/data/ab", ""},
	} {
		got := locate("/data/a", "/data/b", "9", c.link)
		want := Tablespace{OID: "9", Source: c.source, Target: c.target, source: c.link, link: c.rewritten, inside: c.inside}
		if got != want {
			t.Errorf("%s: got %+v, want %+v", c.link, got, want)
		}
	}
}

// script is a session that answers as told and remembers what it was asked.
type script struct {
	version int
	answers map[string]any
	asked   []string
}

func (s *script) Version() int { return s.version }

func (s *script) Exec(_ context.Context, sql string, _ ...any) (string, error) {
	s.asked = append(s.asked, sql)
	return "SET", nil
}

func (s *script) Value(ctx context.Context, sql string, _ ...any) (any, error) {
	s.asked = append(s.asked, sql)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	switch answer := s.answers[sql].(type) {
	case error:
		return nil, answer
	case nil:
		return nil, errors.New("syntax error")
	default:
		return answer, nil
	}
}

const label = "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\nCHECKPOINT LOCATION: 0/2000060\n" +
	"BACKUP METHOD: streamed\nBACKUP FROM: primary\nSTART TIME: 2026-01-02 03:04:05 UTC\nLABEL: x\nSTART TIMELINE: 1\n"

// TestModes goes through a backup in the words of each version.
func TestModes(t *testing.T) {
	t.Parallel()
	row := `{"lsn":"0/2000138","labelfile":"` + strings.ReplaceAll(label, "\n", `\n`) + `","spcmapfile":"1 /srv/space\n"}`
	for _, c := range []struct {
		version     int
		start, stop string
		answer      string
	}{
		{180004, "SELECT pg_backup_start($1, $2)::text", "SELECT row_to_json(s)::text FROM pg_backup_stop(false) AS s", row},
		{150018, "SELECT pg_backup_start($1, $2)::text", "SELECT row_to_json(s)::text FROM pg_backup_stop(false) AS s", row},
		{140023, "SELECT pg_start_backup($1, $2, false)::text", "SELECT row_to_json(s)::text FROM pg_stop_backup(false, false) AS s", row},
		{100023, "SELECT pg_start_backup($1, $2, false)::text", "SELECT row_to_json(s)::text FROM pg_stop_backup(false, false) AS s", row},
		{90624, "SELECT pg_start_backup($1, $2, false)::text", "SELECT row_to_json(s)::text FROM pg_stop_backup(false) AS s", row},
		{90525, "SELECT pg_start_backup($1, $2)::text", "SELECT pg_stop_backup()::text", "0/2000138"},
	} {
		pgdata := t.TempDir()
		must(t, os.WriteFile(filepath.Join(pgdata, labelFile), []byte(label), 0o600))
		must(t, os.WriteFile(filepath.Join(pgdata, mapFile), []byte("1 /srv/space\n"), 0o600))
		s := &script{version: c.version, answers: map[string]any{c.start: "0/2000028", c.stop: c.answer}}
		b, err := startBackup(t.Context(), s, pgdata, "x", true)
		must(t, err)
		got, err := b.stop(t.Context())
		want := stopped{lsn: 0x2000138, label: label, spcmap: "1 /srv/space\n"}
		if err != nil || got != want || b.start != 0x2000028 {
			t.Errorf("%d: got %+v, %v, want %+v", c.version, got, err, want)
		}
		if asked := []string{"SET statement_timeout = 0", c.start, c.stop}; !slices.Equal(s.asked, asked) {
			t.Errorf("%d: got statements %q, want %q", c.version, s.asked, asked)
		}
	}
}

// TestAbandon: a failed copy ends the backup, also when its context has ended,
// and says how the server was left.
func TestAbandon(t *testing.T) {
	t.Parallel()
	cause := errors.New("disk full")
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		version int
		answer  any
		want    string
		hinted  bool
	}{
		{150000, "{}", "the backup was ended on the server after this failure: disk full", false},
		{150000, errors.New("ERROR: backup is not in progress"), "the backup was ended on the server", false},
		{150000, errors.New("conn closed"), "ends on the server with its session (conn closed) after this failure: disk full", false},
		{90500, "0/0", "the backup was ended on the server", false},
		{90500, errors.New("conn closed"), "still in backup mode", true},
	} {
		m := modeOf(c.version)
		b := &backup{conn: &script{version: c.version, answers: map[string]any{m.stop: c.answer}}, mode: m}
		err := b.abandon(canceled, cause)
		checkContains(t, err, c.want)
		if !errors.Is(err, cause) || (hint.Of(err) != "") != c.hinted {
			t.Errorf("%d, %v: got %v with hint %q", c.version, c.answer, err, hint.Of(err))
		}
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	c := &copier{control: walcore.ControlFile{SegmentSize: walcore.DefaultSegmentSize}}
	must(t, c.describe(stopped{lsn: 0x3000000, label: label}))
	want := Result{StartLSN: 0x2000028, StopLSN: 0x3000000, StartSegment: "000000010000000000000002", StopSegment: "000000010000000000000002",
		Timeline: 1, HistoryFile: "000000010000000000000002.00000028.backup"}
	got := c.result
	if got.StartLSN != want.StartLSN || got.StopLSN != want.StopLSN || got.StartSegment != want.StartSegment ||
		got.StopSegment != want.StopSegment || got.Timeline != want.Timeline || got.HistoryFile != want.HistoryFile {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if err := c.describe(stopped{lsn: 1, label: "nonsense"}); err == nil {
		t.Error("got no error for a label that is none")
	}
}

// TestRefusedCopyLeavesTheMarker: the copy that is under way must find it at its
// end.
func TestRefusedCopyLeavesTheMarker(t *testing.T) {
	t.Parallel()
	target := t.TempDir()
	name := filepath.Join(target, markerFile)
	const marker = `{"system_identifier":"7","id":"OF THE OTHER COPY"}`
	if err := os.WriteFile(name, []byte(marker), 0o600); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(target)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_SH); err != nil { // as a copy under way does
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	c := &copier{Request: Request{Dial: filesync.Here, TargetPGData: target}}
	if err := c.mark(ctx); err == nil {
		t.Error("got no error for a target into which another copy is under way")
	}
	if content, err := os.ReadFile(name); err != nil || string(content) != marker {
		t.Errorf("got marker %s (%v), want that of the other copy", content, err)
	}
}
