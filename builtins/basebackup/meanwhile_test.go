package basebackup

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/warmrun/warmrun/builtins/filesync"
)

// startIn makes a directory look as one in which a server runs: its
// postmaster.pid names a process that works there.
func (s *site) startIn(dir string) {
	s.t.Helper()
	cmd := s.command(s.t.Context(), "sleep", "600")
	cmd.Dir = dir
	must(s.t, cmd.Start())
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill() // it would not end by itself
		_ = cmd.Wait()         // killed, as it should be
	})
	s.write(filepath.Join(dir, pidFile), strconv.Itoa(cmd.Process.Pid)+"\n")
}

// copyWith makes a plain copy and does something right before the backup
// begins, and something else when the data directory has been copied.
func (v *server) copyWith(target string, begins, copied func()) error {
	v.t.Helper()
	r := v.request(target)
	r.TablespaceMap = nil
	if begins != nil {
		r.Conn = promoting{r.Conn, begins}
	}
	r.Progress = func(p filesync.Progress) {
		if p.Done && copied != nil {
			copied()
			copied = nil
		}
	}
	_, err := Copy(v.t.Context(), r)
	return err
}

// TestServerStartsMeanwhile: a server that starts on the target after it was
// looked at keeps its data, and one that starts later has not a whole copy put
// under it.
func TestServerStartsMeanwhile(t *testing.T) {
	t.Parallel()
	s := systemSite(t)
	v := s.initdb("primary")
	v.start()
	target := s.mkdir("standby")
	must(t, v.copyWith(target, nil, nil))
	before := fingerprint(t, filepath.Join(target, "global"))
	err := v.copyWith(target, func() { v.startIn(target) }, nil)
	checkContains(t, err, "a server runs in "+target, "the backup was ended on the server")
	if got := fingerprint(t, filepath.Join(target, "global")); got != before || exists(filepath.Join(target, markerFile)) {
		t.Errorf("the data of a server that had started was changed:\n%s\nbefore:\n%s", got, before)
	}

	target = s.mkdir("another")
	err = v.copyWith(target, nil, func() { v.startIn(target) })
	checkContains(t, err, "a server runs in "+target)
	if exists(filepath.Join(target, controlFile)) {
		t.Error("the copy was made whole below a server that runs")
	}
}

// TestTwoCopies: of two copies into the same directory the one that was begun
// first does not make whole what the other has written into.
func TestTwoCopies(t *testing.T) {
	t.Parallel()
	s := systemSite(t)
	v := s.initdb("primary")
	v.start()
	target := s.mkdir("standby")
	err := v.copyWith(target, nil, func() {
		r := v.request(target)
		r.TablespaceMap = nil
		ctx, cancel := context.WithCancel(t.Context())
		r.Progress = func(filesync.Progress) { cancel() }
		if _, err := Copy(ctx, r); err == nil {
			t.Error("the second copy ended before it was cut")
		}
	})
	checkContains(t, err, "another base copy into "+target)
	if exists(filepath.Join(target, controlFile)) || !exists(filepath.Join(target, markerFile)) {
		t.Error("the target of two copies looks like that of one")
	}
	must(t, v.copyWith(target, nil, nil))

	err = v.copyWith(target, nil, func() { must(t, os.Remove(filepath.Join(target, markerFile))) })
	checkContains(t, err, "another base copy into "+target)
}
