package basebackup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/warmrun/warmrun/builtins/basebackup/manifest"
	"github.com/warmrun/warmrun/walcore/hint"
)

// madeCopy is a directory with a manifest, as a base copy is, and a tablespace
// beside it.
type madeCopy struct {
	t     *testing.T
	dir   string
	space string
}

// listedFiles are the files of a madeCopy; each has its name as content.
var listedFiles = []string{
	"PG_VERSION", "backup_label", "empty", "base/1/1259", "base/1/1259_fsm", "base/5/16384.1", "global/1262", "postgresql.auto.conf",
	"pg_tblspc/16500/PG_15_202209061/5/16501",
}

func makeCopy(t *testing.T, algorithm manifest.Algorithm) madeCopy {
	t.Helper()
	c := madeCopy{t: t, dir: t.TempDir(), space: t.TempDir()}
	m := manifest.Manifest{Version: manifest.Version1, WAL: []manifest.Range{{Timeline: 1, Start: 0x2000028, End: 0x2000138}}}
	must(t, os.Mkdir(filepath.Join(c.dir, "pg_tblspc"), 0o700))
	must(t, os.Symlink(c.space, filepath.Join(c.dir, "pg_tblspc/16500")))
	for _, name := range listedFiles {
		content := name
		if name == "empty" {
			content = ""
		}
		c.write(name, content)
		f := manifest.File{Path: name, Size: int64(len(content)), ModTime: time.Now(), Algorithm: algorithm}
		if h := algorithm.New(); h != nil {
			h.Write([]byte(content))
			f.Checksum = h.Sum(nil)
		}
		m.Files = append(m.Files, f)
	}
	for _, name := range []string{"pg_wal/000000010000000000000002", "pg_wal/archive_status/x", "standby.signal", "recovery.signal", "recovery.conf"} {
		c.write(name, "of no account")
	}
	must(t, os.Symlink("/var/log", filepath.Join(c.dir, "log")))
	c.sign(m)
	return c
}

func (c madeCopy) sign(m manifest.Manifest) {
	c.t.Helper()
	f, err := os.Create(filepath.Join(c.dir, manifest.Name))
	must(c.t, err)
	must(c.t, errors.Join(manifest.Write(f, m), f.Close()))
}

func (c madeCopy) write(name, content string) {
	c.t.Helper()
	must(c.t, os.MkdirAll(filepath.Dir(filepath.Join(c.dir, name)), 0o700))
	must(c.t, os.WriteFile(filepath.Join(c.dir, name), []byte(content), 0o600))
}

func (c madeCopy) remove(name string) {
	c.t.Helper()
	must(c.t, os.RemoveAll(filepath.Join(c.dir, name)))
}

// TestVerify does each kind of damage to a copy, and looks for exactly that in
// the report.
func TestVerify(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		damage func(c madeCopy)
		want   []Finding // without details
	}{
		"sound":   {func(madeCopy) {}, nil},
		"changed": {func(c madeCopy) { c.write("base/1/1259", "base/1/125x") }, []Finding{{Problem: Changed, Path: "base/1/1259"}}},
		"longer":  {func(c madeCopy) { c.write("global/1262", "global/1262 and more") }, []Finding{{Problem: Changed, Path: "global/1262"}}},
		"shorter": {func(c madeCopy) { c.write("base/5/16384.1", "") }, []Finding{{Problem: Changed, Path: "base/5/16384.1"}}},
		"filled":  {func(c madeCopy) { c.write("empty", "x") }, []Finding{{Problem: Changed, Path: "empty"}}},
		"missing": {func(c madeCopy) { c.remove("base/1") }, []Finding{{Problem: Missing, Path: "base/1/1259"}, {Problem: Missing, Path: "base/1/1259_fsm"}}},
		"extra":   {func(c madeCopy) { c.write("base/7/1", "") }, []Finding{{Problem: Extra, Path: "base/7/1"}}},
		"a link for a file": {func(c madeCopy) {
			c.remove("PG_VERSION")
			must(c.t, os.Symlink("backup_label", filepath.Join(c.dir, "PG_VERSION")))
		}, []Finding{{Problem: Changed, Path: "PG_VERSION"}}},
		"a directory for a file": {func(c madeCopy) {
			c.remove("PG_VERSION")
			c.write("PG_VERSION/x", "")
		}, []Finding{{Problem: Changed, Path: "PG_VERSION"}, {Problem: Extra, Path: "PG_VERSION/x"}}},
		"in a tablespace": {func(c madeCopy) {
			must(c.t, os.WriteFile(filepath.Join(c.space, "PG_15_202209061/5/16501"), nil, 0o600))
			must(c.t, os.WriteFile(filepath.Join(c.space, "stray"), nil, 0o600))
		}, []Finding{{Problem: Changed, Path: "pg_tblspc/16500/PG_15_202209061/5/16501"}, {Problem: Extra, Path: "pg_tblspc/16500/stray"}}},
		"without its tablespace": {func(c madeCopy) { c.remove("pg_tblspc/16500") },
			[]Finding{{Problem: Missing, Path: "pg_tblspc/16500/PG_15_202209061/5/16501"}}},
		"a tablespace's link that leads nowhere": {func(c madeCopy) { must(c.t, os.RemoveAll(c.space)) },
			[]Finding{{Problem: Unreadable, Path: "pg_tblspc/16500"}, {Problem: Missing, Path: "pg_tblspc/16500/PG_15_202209061/5/16501"}}},
		"of no account": {func(c madeCopy) {
			c.write("postgresql.auto.conf", "# changed")
			c.write("site/archive/x", "ignored")
			c.remove("standby.signal")
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := makeCopy(t, manifest.CRC32C)
			test.damage(c)
			var last VerifyProgress
			report, err := Verify(t.Context(), VerifyRequest{Dir: c.dir, Ignore: []string{"/site"}, Progress: func(p VerifyProgress) { last = p }})
			must(t, err)
			got := slices.Clone(report.Findings)
			for i := range got {
				got[i].Detail = ""
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", report.Findings, test.want)
			}
			if report.Files != len(listedFiles) || len(report.WAL) != 1 || last.Files != last.TotalFiles {
				t.Errorf("got %+v, and at last %+v", report, last)
			}
		})
	}
}

// TestVerifyAlgorithms: all that pg_basebackup can write is compared, and a copy
// without checksums by its sizes.
func TestVerifyAlgorithms(t *testing.T) {
	t.Parallel()
	for _, a := range []manifest.Algorithm{manifest.None, manifest.CRC32C, manifest.SHA224, manifest.SHA256, manifest.SHA384, manifest.SHA512} {
		c := makeCopy(t, a)
		report, err := Verify(t.Context(), VerifyRequest{Dir: c.dir})
		if err != nil || len(report.Findings) > 0 {
			t.Errorf("%s: got %v, %v, want no finding", a, report.Findings, err)
		}
		c.write("PG_VERSION", "pg_version")
		c.write("backup_label", "of another size")
		report, err = Verify(t.Context(), VerifyRequest{Dir: c.dir})
		want := 2
		if a == manifest.None {
			want = 1
		}
		if err != nil || len(report.Findings) != want {
			t.Errorf("%s: got %v, %v, want %d findings", a, report.Findings, err, want)
		}
	}
}

// TestVerifyFails: without a sound manifest nothing can be said.
func TestVerifyFails(t *testing.T) {
	t.Parallel()
	c := makeCopy(t, manifest.CRC32C)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Verify(canceled, VerifyRequest{Dir: c.dir}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	content, err := os.ReadFile(filepath.Join(c.dir, manifest.Name))
	must(t, err)
	content[len(content)/2] ^= 1
	must(t, os.WriteFile(filepath.Join(c.dir, manifest.Name), content, 0o600))
	if _, err := Verify(t.Context(), VerifyRequest{Dir: c.dir}); !errors.Is(err, manifest.ErrDamaged) || hint.Of(err) == "" {
		t.Errorf("got %v, want ErrDamaged and a hint", err)
	}
	c.remove(manifest.Name)
	if _, err := Verify(t.Context(), VerifyRequest{Dir: c.dir}); !errors.Is(err, ErrNoManifest) || hint.Of(err) == "" {
		t.Errorf("got %v, want ErrNoManifest and a hint", err)
	}
	if _, err := Verify(t.Context(), VerifyRequest{Dir: filepath.Join(c.dir, "nowhere")}); !errors.Is(err, os.ErrNotExist) || errors.Is(err, ErrNoManifest) {
		t.Errorf("got %v, want that there is no directory", err)
	}
}

// TestVerifyCluster: a manifest of the second version says which cluster it is
// of.
func TestVerifyCluster(t *testing.T) {
	t.Parallel()
	control, err := os.ReadFile("../../walcore/testdata/pg_control/18")
	must(t, err)
	h := manifest.CRC32C.New()
	h.Write(control)
	for _, off := range []uint64{0, 1} {
		c := makeCopy(t, manifest.CRC32C)
		for _, name := range listedFiles {
			c.remove(name)
		}
		c.write(controlFile, string(control))
		c.sign(manifest.Manifest{Version: manifest.Version2})
		report, err := Verify(t.Context(), VerifyRequest{Dir: c.dir})
		must(t, err)
		c.sign(manifest.Manifest{Version: manifest.Version2, SystemID: report.SystemID + off, Files: []manifest.File{
			{Path: controlFile, Size: int64(len(control)), Algorithm: manifest.CRC32C, Checksum: h.Sum(nil)}}})
		report, err = Verify(t.Context(), VerifyRequest{Dir: c.dir})
		foreign := len(report.Findings) == 1 && report.Findings[0].Problem == Foreign
		if err != nil || foreign != (off != 0) || off == 0 && len(report.Findings) > 0 {
			t.Errorf("identifier off by %d: got %v, %v", off, report.Findings, err)
		}
	}
}
