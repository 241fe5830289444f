package basebackup

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/builtins/filesync"
)

// TestGoOnInTablespace: a copy that was cut in a tablespace does not compare
// the whole data directory again, and one that is complete is remembered no
// more. The tablespace is moved into the target's own data directory, which
// leaves it alone.
func TestGoOnInTablespace(t *testing.T) {
	t.Parallel()
	s := systemSite(t)
	v := s.initdb("primary")
	v.start()
	space := s.mkdir("space")
	v.exec("CREATE TABLESPACE far LOCATION '"+space+"'", "CREATE TABLE there TABLESPACE far AS SELECT i, repeat('y', 200) FROM generate_series(1, 20000) i", "CHECKPOINT")
	quiet := time.Now().Add(-time.Hour) // what is a moment old may be written to unnoticed, and is compared
	must(t, os.Chtimes(filepath.Join(v.data, "PG_VERSION"), quiet, quiet))
	target := s.mkdir("standby")
	r := v.request(target)
	r.TablespaceMap = map[string]string{space: filepath.Join(target, "inner", "far")}

	ctx, cancel := context.WithCancel(t.Context())
	again, first := r, true
	r.Progress = func(p filesync.Progress) {
		if !first {
			cancel()
		}
		first = first && !p.Done
	}
	if _, err := Copy(ctx, r); err == nil {
		t.Fatal("the copy ended before it was cut")
	}
	if !exists(filepath.Join(target, markerFile)) || !exists(filepath.Join(target, "base")) {
		t.Fatal("the copy was cut too early")
	}
	// Written by nobody in real life, which shows what is looked at.
	name := filepath.Join(target, "PG_VERSION")
	info, err := os.Stat(name)
	must(t, err)
	right, err := os.ReadFile(name)
	must(t, err)
	wrong := strings.Repeat("9", len(right)-1) + "\n"
	must(t, os.WriteFile(name, []byte(wrong), 0o600))
	must(t, os.Chtimes(name, info.ModTime(), info.ModTime()))

	_, err = Copy(t.Context(), again)
	must(t, err)
	if got, err := os.ReadFile(name); err != nil || string(got) != wrong {
		t.Errorf("got %q, %v: what the cut copy had completed was compared again", got, err)
	}
	must(t, filepath.WalkDir(target, func(path string, d fs.DirEntry, err error) error {
		if strings.HasPrefix(filepath.Base(path), ".warmrun") {
			t.Errorf("%s is left of a copy that is complete", path)
		}
		return err
	}))
	again.Conn = v.connect()
	second, err := Copy(t.Context(), again)
	must(t, err)
	if got, err := os.ReadFile(name); err != nil || string(got) != string(right) {
		t.Errorf("got %q, %v: a later copy took the file for one that it had completed", got, err)
	}
	if size := int64(20000 * 200); second.Summary.Literal > size/2 {
		t.Errorf("the second copy sent %d bytes, want less than the tablespace has, which is there", second.Summary.Literal)
	}
}
