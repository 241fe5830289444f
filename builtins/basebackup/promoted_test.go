package basebackup

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/walcore"
)

// promoting is a session on a standby, which is promoted right before its
// backup begins.
type promoting struct {
	Session
	promote func()
}

func (p promoting) Value(ctx context.Context, sql string, args ...any) (any, error) {
	if len(args) > 0 { // only the start of a backup takes any
		p.promote()
	}
	return p.Session.Value(ctx, sql, args...)
}

// TestTimelineOfTheBackup: a server that was promoted a moment ago has the old
// timeline in its control file until its first checkpoint, which the backup
// makes. What is said of the backup is of the new one.
func TestTimelineOfTheBackup(t *testing.T) {
	t.Parallel()
	s := systemSite(t)
	if s.major < 12 {
		t.Skip("the test is written for pg_promote and standby.signal")
	}
	v := s.initdb("promoted")
	v.write(filepath.Join(v.data, "standby.signal"), "")
	v.start("restore_command=false")
	r := v.request(filepath.Join(v.dir, "copy"))
	r.TablespaceMap = nil
	r.Conn = promoting{r.Conn, func() {
		if got := v.value("SELECT pg_promote()"); got != "true" {
			t.Fatalf("pg_promote: %s", got)
		}
	}}
	var out bytes.Buffer
	r.Out = &out
	result, err := Copy(t.Context(), r)
	must(t, err)
	if result.Timeline != 2 || result.StartSegment.Timeline() != 2 {
		t.Errorf("got the timeline %d and %s, want 2", result.Timeline, result.StartSegment)
	}
	if want := "Starting online backup at WAL file " + string(result.StartSegment) + "\n"; !strings.Contains(out.String(), want) {
		t.Errorf("got %q, want %q in it", out.String(), want)
	}
	control, err := walcore.ReadControlFile(filepath.Join(v.dir, "copy"))
	if err != nil || control.Timeline != 2 {
		t.Errorf("the copy's control file has timeline %d, %v, want 2", control.Timeline, err)
	}
}
