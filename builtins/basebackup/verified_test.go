package basebackup

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/warmrun/warmrun/builtins/basebackup/manifest"
)

// program is the path of one of PostgreSQL's programs, if this server came with
// it: the prebuilt ones have few.
func (s *site) program(name string) (string, bool) {
	s.t.Helper()
	path := filepath.Join(s.bin, name)
	_, err := os.Stat(path)
	if !errors.Is(err, fs.ErrNotExist) {
		must(s.t, err)
	}
	return path, err == nil
}

// checkVerified has a copy compared with its manifest by everybody who can.
func checkVerified(t *testing.T, v, standby *server, r Result) {
	t.Helper()
	if r.PagesJudged == 0 || r.BadPageCount != 0 {
		t.Errorf("got %d pages judged and %v bad", r.PagesJudged, r.BadPages)
	}
	report, err := Verify(t.Context(), VerifyRequest{Dir: standby.data})
	must(t, err)
	for _, f := range report.Findings {
		t.Errorf("verify: %s", f)
	}
	want := manifest.Range{Timeline: r.Timeline, Start: r.StartLSN, End: r.StopLSN}
	if len(report.WAL) != 1 || report.WAL[0] != want || report.Bytes < r.Summary.TotalSize {
		t.Errorf("got %+v, want WAL %+v and at least %d bytes", report, want, r.Summary.TotalSize)
	}
	stop := filepath.Join(v.archive, string(r.StopSegment))
	v.wait("archive "+stop, func() bool { return exists(stop) })
	if out, ok := standby.verifyBackup(); !ok {
		t.Errorf("pg_verifybackup:\n%s", out)
	}
	if v.major >= 17 {
		checkUpload(t, v, standby)
	}
}

// verifyBackup is pg_verifybackup's opinion of a copy, its WAL included; a good
// one where there is no such program.
func (v *server) verifyBackup() (string, bool) {
	v.t.Helper()
	program, ok := v.program("pg_verifybackup")
	if !ok {
		return "", true
	}
	out, err := v.command(v.t.Context(), program, "--wal-directory", v.archive, v.data).CombinedOutput()
	return string(out), err == nil && strings.Contains(string(out), "backup successfully verified")
}

// checkUpload hands a copy's manifest to the server, which from 17 on takes one
// for an incremental backup and is as strict as pg_verifybackup.
func checkUpload(t *testing.T, v, standby *server) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(standby.data, manifest.Name))
	must(t, err)
	upload := func(content []byte) error {
		config, err := pgconn.ParseConfig("user=postgres replication=true sslmode=disable")
		must(t, err)
		config.Host, config.Port = v.sockets, uint16(v.port)
		conn, err := pgconn.ConnectConfig(t.Context(), config)
		must(t, err)
		defer func() { must(t, conn.Close(t.Context())) }()
		_, err = conn.CopyFrom(t.Context(), bytes.NewReader(content), "UPLOAD_MANIFEST")
		return err
	}
	if err := upload(content); err != nil {
		t.Errorf("the server refuses the manifest: %v", err)
	}
	m, err := manifest.Parse(content)
	must(t, err)
	m.SystemID++
	var foreign bytes.Buffer
	must(t, manifest.Write(&foreign, m))
	if err := upload(foreign.Bytes()); err == nil {
		t.Error("the server takes the manifest of another cluster, so it did not look")
	}
}

// checkRelations has the relations of all databases checked, where there is a
// program that does.
func (v *server) checkRelations() {
	v.t.Helper()
	program, ok := v.program("pg_amcheck")
	if !ok {
		return
	}
	out, err := v.command(v.t.Context(), program, "-h", v.sockets, "-p", strconv.Itoa(v.port), "-U", "postgres", "--all", "--install-missing").CombinedOutput()
	if err != nil {
		v.t.Errorf("pg_amcheck: %v\n%s", err, out)
	}
}

// TestVerifyOfPgBasebackup: a manifest that the server wrote is read, written
// again line for line, and compared with the backup, by every kind of checksum.
func TestVerifyOfPgBasebackup(t *testing.T) {
	t.Parallel()
	v := primary(t, systemSite(t))
	program, ok := v.program("pg_basebackup")
	if !ok {
		t.Fatal("the system's PostgreSQL has no pg_basebackup: install its client programs (make install-test)")
	}
	for _, algorithm := range []string{"CRC32C", "SHA512", "NONE"} {
		dir := filepath.Join(v.dir, "by-pg_basebackup-"+algorithm)
		args := []string{"-D", dir, "-h", v.sockets, "-p", strconv.Itoa(v.port), "-U", "postgres", "-c", "fast", "--manifest-checksums", algorithm}
		for _, space := range []string{filepath.Join(v.dir, "space"), filepath.Join(v.data, "inner space")} {
			args = append(args, "-T", space+"="+filepath.Join(v.dir, filepath.Base(space)+algorithm))
		}
		if out, err := v.command(t.Context(), program, args...).CombinedOutput(); err != nil {
			t.Fatalf("pg_basebackup: %v\n%s", err, out)
		}
		content, err := os.ReadFile(filepath.Join(dir, manifest.Name))
		must(t, err)
		m, err := manifest.Parse(content)
		must(t, err)
		var again bytes.Buffer
		if must(t, manifest.Write(&again, m)); !bytes.Equal(again.Bytes(), content) {
			t.Errorf("%s: got\n%.1000s\nwant\n%.1000s", algorithm, again.String(), content)
		}
		report, err := Verify(t.Context(), VerifyRequest{Dir: dir})
		if err != nil || len(report.Findings) > 0 || report.Files < 500 {
			t.Errorf("%s: got %d files, %v, %v, want no finding", algorithm, report.Files, report.Findings, err)
		}
	}
}

// TestVerifyAgrees: of the same damage, Verify and pg_verifybackup name the same
// file.
func TestVerifyAgrees(t *testing.T) {
	t.Parallel()
	v := primary(t, systemSite(t))
	standby := v.server("standby")
	result, err := Copy(t.Context(), v.request(standby.data))
	must(t, err)
	checkVerified(t, v, standby, result)
	table := v.value("SELECT pg_relation_filepath('there')")
	damages := []struct {
		name string
		do   func(file string) error
	}{
		{table, func(file string) error { return flip(file, 5000) }},
		{"global/pg_filenode.map", os.Remove},
		{"base/4/12345", func(file string) error {
			return errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, nil, 0o644))
		}},
		{"PG_VERSION", func(file string) error { return os.Truncate(file, 1) }},
	}
	for _, d := range damages {
		must(t, d.do(filepath.Join(standby.data, d.name)))
	}
	out, ok := standby.verifyBackup()
	report, err := Verify(t.Context(), VerifyRequest{Dir: standby.data})
	must(t, err)
	if ok || len(report.Findings) != len(damages) {
		t.Errorf("got %v and\n%s\nwant %d findings of both", report.Findings, out, len(damages))
	}
	for _, d := range damages {
		found := false
		for _, f := range report.Findings {
			found = found || f.Path == d.name
		}
		if !found || !strings.Contains(out, d.name) {
			t.Errorf("%s is not named by both: %v and\n%s", d.name, report.Findings, out)
		}
	}
}

// flip changes one byte of a file.
func flip(file string, offset int64) error {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	b := make([]byte, 1)
	_, err = f.ReadAt(b, offset)
	if err == nil {
		b[0] ^= 0xff
		_, err = f.WriteAt(b, offset)
	}
	return errors.Join(err, f.Close())
}
