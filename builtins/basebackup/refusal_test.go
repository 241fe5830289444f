package basebackup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRefusals: targets that must not be overwritten are left as they are.
func TestRefusals(t *testing.T) {
	t.Parallel()
	v := primary(t, systemSite(t))
	other := v.initdb("other")
	before := fingerprint(t, other.data)

	_, err := Copy(t.Context(), v.request(other.data))
	checkContains(t, err, "another cluster", "system identifier")
	_, err = Copy(t.Context(), v.request(v.data))
	checkContains(t, err, "both the source and the target")
	if got := fingerprint(t, other.data); got != before {
		t.Error("a refused target was changed")
	}

	other.start()
	_, err = Copy(t.Context(), v.request(other.data))
	checkContains(t, err, "a server runs in")
	other.stop()

	filled := v.mkdir("filled")
	v.write(filepath.Join(filled, "diary.txt"), "dear diary")
	_, err = Copy(t.Context(), v.request(filled))
	checkContains(t, err, "not empty", "diary.txt")

	r := v.request(filepath.Join(v.dir, "new"))
	r.TablespaceMap = nil
	_, err = Copy(t.Context(), r)
	checkContains(t, err, "copied onto itself")

	taken := v.mkdir("taken")
	entries, err := os.ReadDir(filepath.Join(v.dir, "space"))
	must(t, err)
	must(t, os.MkdirAll(filepath.Join(taken, entries[0].Name(), "5"), 0o755))
	r = v.request(filepath.Join(v.dir, "new"))
	r.TablespaceMap = map[string]string{filepath.Join(v.dir, "space"): taken}
	_, err = Copy(t.Context(), r)
	checkContains(t, err, "a tablespace of another server")

	r.TablespaceMap = map[string]string{"/no/such/place": taken}
	_, err = Copy(t.Context(), r)
	checkContains(t, err, "no tablespace at /no/such/place")

	stolen := v.mkdir("stolen")
	v.symlink(filepath.Join(v.dir, "primary-wal"), filepath.Join(stolen, "pg_wal"))
	_, err = Copy(t.Context(), v.request(stolen))
	checkContains(t, err, "leads to the source's own")

	astray := v.mkdir("astray")
	v.symlink(filepath.Join(v.dir, "no such wal"), filepath.Join(astray, "pg_wal"))
	before = fingerprint(t, astray)
	_, err = Copy(t.Context(), v.request(astray))
	checkContains(t, err, "a link that leads nowhere")
	if got := fingerprint(t, astray); got != before {
		t.Error("a target without a place for its WAL was changed")
	}

	refusal := errors.New("the standby is in use")
	r = v.request(filepath.Join(v.dir, "new"))
	r.CheckTarget = func(context.Context) error { return refusal }
	if _, err := Copy(t.Context(), r); !errors.Is(err, refusal) {
		t.Errorf("got %v, want the caller's refusal", err)
	}

	r = v.request(filepath.Join(v.dir, "new"))
	r.PGData = other.data
	_, err = Copy(t.Context(), r)
	checkContains(t, err, "the session is with a server of system identifier")
	if exists(filepath.Join(v.dir, "new")) {
		t.Error("a refused copy made its target")
	}
	if v.value("SELECT count(*) FROM pg_ls_waldir()") == "0" {
		t.Error("the primary lost its WAL")
	}
}

// fingerprint describes a tree by names, sizes and times.
func fingerprint(t *testing.T, root string) string {
	t.Helper()
	var b strings.Builder
	must(t, filepath.Walk(root, func(p string, info os.FileInfo, err error) error {
		if err == nil {
			fmt.Fprintln(&b, p, info.Mode(), info.Size(), info.ModTime())
		}
		return err
	}))
	return b.String()
}
