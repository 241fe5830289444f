package health

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/warmrun/warmrun/builtins/pgctl"
	"github.com/warmrun/warmrun/walcore"
)

// pg_control of a standby has the timeline of its last restartpoint; what has
// come and been replayed tells the one it is on.
func TestReplayedTimeline(t *testing.T) {
	const twice = "1\t0/2800000\tx\n2\t0/4800000\tx\n"
	for _, test := range []struct {
		name     string
		files    map[string]string
		replayed walcore.LSN
		role     Role
		want     walcore.Timeline
	}{
		{"nothing newer", map[string]string{"000000010000000000000002": ""}, 0x2900000, RoleStandby, 1},
		{"past the fork", map[string]string{"00000002.history": "1\t0/2800000\tx\n", "000000020000000000000002": ""}, 0x2900000, RoleStandby, 2},
		{"at the fork", map[string]string{"00000002.history": "1\t0/2800000\tx\n", "000000020000000000000002": ""}, 0x2800000, RoleStandby, 1},
		{"the segment did not come", map[string]string{"00000002.history": "1\t0/2800000\tx\n", "000000010000000000000002": ""}, 0x2900000, RoleStandby, 1},
		{"two promotions on", map[string]string{"00000003.history": twice, "000000030000000000000005": ""}, 0x5000001, RoleStandby, 3},
		{"between two", map[string]string{"00000003.history": twice, "000000020000000000000003": ""}, 0x3000001, RoleStandby, 2},
		{"a branch that was left", map[string]string{"00000002.history": "1\t0/2800000\tx\n", "000000020000000000000002": "",
			"00000003.history": "1\t0/2900000\tx\n"}, 0x2900000, RoleStandby, 2},
		{"a history that is none", map[string]string{"00000002.history": "what?\n", "000000020000000000000002": ""}, 0x2900000, RoleStandby, 1},
		{"a primary knows", map[string]string{"00000002.history": "1\t0/2800000\tx\n", "000000020000000000000002": ""}, 0x2900000, RolePrimary, 1},
	} {
		dir := t.TempDir()
		for name, text := range test.files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		archive, err := walcore.OpenArchive(dir)
		if err != nil {
			t.Fatal(err)
		}
		l := look{Request: Request{Server: pgctl.Server{PGData: t.TempDir()}}, store: archive, control: &walcore.ControlFile{SegmentSize: 16 << 20},
			n: NodeStatus{Role: test.role, Running: true, Timeline: 1, ReplayedLSN: test.replayed}}
		l.replayedTimeline()
		if l.n.Timeline != test.want {
			t.Errorf("%s: got timeline %d, want %d", test.name, uint32(l.n.Timeline), uint32(test.want))
		}
	}
}

// What a server asked for in an earlier life is not what it waits for, and a
// history that is not there is nothing to wait for.
func TestWaitsFor(t *testing.T) {
	for _, test := range []struct {
		names []walcore.FileName
		want  walcore.FileName
	}{
		{nil, ""},
		{[]walcore.FileName{"00000003.history"}, ""},
		{[]walcore.FileName{"00000002.history", "000000010000000000000007"}, "000000010000000000000007"},
		{[]walcore.FileName{"000000010000000000000007", "000000020000000000000007", "00000003.history"}, "000000020000000000000007"},
	} {
		l := look{n: NodeStatus{Timeline: 2}, wanted: &walcore.Wanted{Names: test.names}}
		if got := l.waitsFor(); got != test.want {
			t.Errorf("%q: got %q, want %q", test.names, got, test.want)
		}
	}
	if got := (&look{}).waitsFor(); got != "" {
		t.Errorf("a server of which nothing is noted waits for %q", got)
	}
}
