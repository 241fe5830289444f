package basebackup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/warmrun/warmrun/builtins/filesync"
	"github.com/warmrun/warmrun/tests/pgmajor"
	"github.com/warmrun/warmrun/walcore"
)

// primary is a running server with two tablespaces, one of them inside its
// data directory, and its WAL behind a link.
func primary(t *testing.T, s *site) *server {
	t.Helper()
	wal := s.mkdir("primary-wal")
	v := s.initdb("primary", "-X", wal)
	v.start()
	outside, inside := s.mkdir("space"), filepath.Join(v.data, "inner space")
	must(t, os.Mkdir(inside, 0o700))
	s.own(inside)
	v.exec(
		fmt.Sprintf("CREATE TABLESPACE far LOCATION '%s'", outside),
		fmt.Sprintf("CREATE TABLESPACE near LOCATION '%s'", inside),
		"CREATE TABLE plain (id bigint PRIMARY KEY, filler text)",
		"CREATE TABLE there (id bigint PRIMARY KEY, filler text) TABLESPACE far",
		"CREATE TABLE here (id bigint PRIMARY KEY, filler text) TABLESPACE near",
		"CREATE UNLOGGED TABLE forgotten (id bigint)",
		"INSERT INTO forgotten SELECT generate_series(1, 100000)",
		"INSERT INTO plain SELECT i, repeat('x', 200) FROM generate_series(1, 40000) i",
		"INSERT INTO there SELECT i, repeat('y', 200) FROM generate_series(1, 20000) i",
		"INSERT INTO here SELECT i, repeat('z', 200) FROM generate_series(1, 5000) i",
		"CREATE TABLE quiet AS SELECT i AS id, repeat('w', 200) AS filler FROM generate_series(1, 50000) i",
		"VACUUM quiet", // or it would be changed later
	)
	return v
}

// load changes the server until the returned function is called.
func (v *server) load() (stop func()) {
	ctx, cancel := context.WithCancel(v.t.Context())
	var done sync.WaitGroup
	v.loads += 10
	for worker := range 2 {
		conn := v.connect()
		done.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				id := 1000000*(v.loads+worker) + i
				_, err := conn.Exec(context.WithoutCancel(ctx), fmt.Sprintf("INSERT INTO plain VALUES (%d, repeat('p', 300)); INSERT INTO there VALUES (%d, 'q'); INSERT INTO here VALUES (%d, 'r');"+
					"UPDATE plain SET filler = repeat('u', 200) WHERE id = %d; CREATE TABLE t%d (x int); DROP TABLE t%d", id, id, id, i%40000, id, id))
				if err != nil {
					v.t.Error(err)
					return
				}
			}
		})
	}
	return func() {
		cancel()
		done.Wait()
	}
}

func (v *server) request(target string) Request {
	return Request{
		Source: Source{PGData: v.data, Conn: v.connect()}, Dial: v.dial, TargetPGData: target, Fast: true,
		TablespaceMap: map[string]string{filepath.Join(v.dir, "space"): filepath.Join(v.dir, "moved space")},
	}
}

// counts is what both servers must agree on.
const counts = `SELECT (SELECT count(*)||' '||sum(id)||' '||md5(string_agg(filler, ',' ORDER BY id)) FROM plain) || ' ' ||
	(SELECT count(*)||' '||sum(id) FROM there) || ' ' || (SELECT count(*)||' '||sum(id) FROM here)`

// follow starts a copy as a standby and waits until it has replayed all that
// the primary has.
func (v *server) follow(primary *server) {
	v.t.Helper()
	restore := "cp \"" + v.archive + "/%f\" \"%p\""
	if v.major >= 12 {
		v.write(filepath.Join(v.data, "standby.signal"), "")
		v.start("restore_command="+restore, "wal_retrieve_retry_interval=100ms", "archive_mode=off")
	} else {
		v.write(filepath.Join(v.data, "recovery.conf"), "standby_mode = on\nrestore_command = '"+restore+"'\n")
		v.start("wal_retrieve_retry_interval=100ms", "archive_mode=off", "hot_standby=on")
	}
	want := primary.value(counts)
	primary.archived()
	end := primary.value("SELECT pg_current_wal_lsn()")
	primary.archived()
	v.wait("replay "+end, func() bool { return v.value("SELECT pg_last_wal_replay_lsn() >= '"+end+"'") == "true" })
	if got := v.value(counts); got != want {
		v.t.Errorf("the standby has %s, want %s", got, want)
	}
}

// TestCopyOnMajors is the whole life: a first copy under load, a standby made of
// it, a second copy over what it became, and a promotion; also on old servers, with
// the functions, file names and missing programs of their time.
func TestCopyOnMajors(t *testing.T) {
	pgmajor.Each(t, func(t *testing.T, on pgmajor.Server) { testCopyUnderLoad(t, newSite(t, on.Bin, on.Major)) })
}

func testCopyUnderLoad(t *testing.T, s *site) {
	v := primary(t, s)
	standby := v.server("standby")
	// The target's WAL is to be on another disk, which holds WAL of an older
	// life and things that are nobody's business.
	wal := v.mkdir("standby-wal")
	must(t, os.Mkdir(standby.data, 0o700))
	v.own(standby.data)
	v.symlink(wal, filepath.Join(standby.data, "pg_wal"))
	v.write(filepath.Join(wal, "0000000F0000000000000042"), "stale")
	v.write(filepath.Join(wal, "0000000F.history"), "stale")
	v.write(filepath.Join(wal, "notes.txt"), "keep me")
	v.write(filepath.Join(standby.data, "postgresql.conf"), "# made before the first copy\n")

	r := v.request(standby.data)
	var out strings.Builder
	r.Out, r.Verbose = &out, true
	stop := v.load()
	result, err := Copy(t.Context(), r)
	stop()
	must(t, err)
	checkResult(t, v, standby, result)
	checkOutput(t, out.String(), result)
	if result.Changed == 0 {
		t.Error("no file changed while it was copied, so the load was none")
	}
	checkCopied(t, v, standby, wal)
	checkVerified(t, v, standby, result)
	standby.follow(v)
	standby.stop()
	standby.checkPages()

	stop = v.load()
	second, err := Copy(t.Context(), v.request(standby.data))
	stop()
	must(t, err)
	quiet, err := strconv.ParseInt(v.value("SELECT pg_relation_size('quiet')::text"), 10, 64)
	must(t, err)
	if sum := second.Summary; sum.TotalSize < result.Summary.TotalSize || sum.Literal > sum.TotalSize-quiet {
		t.Errorf("the second copy sent %d of %d bytes, of which at least %d had not changed; the first had %d", sum.Literal, sum.TotalSize, quiet, result.Summary.TotalSize)
	}
	checkResult(t, v, standby, second)
	checkVerified(t, v, standby, second)
	standby.follow(v)
	standby.checkPromotion()
	standby.checkRelations()
	standby.stop()
	standby.checkPages()
}

// checkPromotion promotes a standby, which makes unlogged tables anew.
func (v *server) checkPromotion() {
	v.t.Helper()
	out, err := v.command(v.t.Context(), filepath.Join(v.bin, "pg_ctl"), "promote", "-D", v.data).CombinedOutput()
	if err != nil {
		v.t.Fatalf("pg_ctl promote: %v\n%s", err, out)
	}
	v.wait("promote", func() bool { return v.value("SELECT pg_is_in_recovery()") == "false" })
	if got := v.value("SELECT count(*) FROM forgotten"); got != "0" {
		v.t.Errorf("got %s rows in the unlogged table, want 0", got)
	}
}

func checkResult(t *testing.T, v, standby *server, r Result) {
	t.Helper()
	if r.StartLSN == 0 || r.StopLSN <= r.StartLSN || r.Timeline != 1 {
		t.Errorf("got a backup from %v to %v on timeline %d", r.StartLSN, r.StopLSN, r.Timeline)
	}
	if want := walcore.SegmentAt(1, r.StartLSN, walcore.DefaultSegmentSize); r.StartSegment != want {
		t.Errorf("got start segment %s, want %s", r.StartSegment, want)
	}
	if len(r.Tablespaces) != 2 {
		t.Errorf("got %d tablespaces, want 2", len(r.Tablespaces))
	}
	history := filepath.Join(v.archive, string(r.HistoryFile))
	v.wait("archive "+history, func() bool { return exists(history) })
	f, err := os.Open(history)
	must(t, err)
	said, err := walcore.ParseBackupLabel(f)
	must(t, errors.Join(err, f.Close()))
	if r.StartSegment != said.StartSegment || r.StopLSN != said.StopLSN || r.StopSegment != said.StopSegment {
		t.Errorf("got segments %s to %s and stop %v, the server archived %+v", r.StartSegment, r.StopSegment, r.StopLSN, said)
	}
	label, err := os.ReadFile(filepath.Join(standby.data, "backup_label"))
	must(t, err)
	if !strings.Contains(string(label), "LABEL: warmrun base copy") || !strings.Contains(string(label), string(r.StartSegment)) {
		t.Errorf("got backup_label\n%s", label)
	}
}

func checkOutput(t *testing.T, out string, r Result) {
	t.Helper()
	for _, want := range []string{
		"Starting online backup at WAL file " + string(r.StartSegment) + "\n\nbuilding file list ... done\n./\n",
		"\nPG_VERSION\n", "\nbase/1/\n", "\nsent ", "\ntotal size is ",
		"\nStopping online backup at WAL file " + string(r.StopSegment) + "\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q:\n%.2000s", want, out)
		}
	}
}

// checkCopied looks at what must and must not be in the copy.
func checkCopied(t *testing.T, v, standby *server, wal string) {
	t.Helper()
	for _, name := range []string{"postmaster.pid", "postmaster.opts", "global/pg_internal.init", markerFile,
		v.value("SELECT pg_relation_filepath('forgotten')"), "pg_wal/0000000F0000000000000042", "pg_wal/0000000F.history"} {
		if exists(filepath.Join(standby.data, name)) {
			t.Errorf("%s is in the copy", name)
		}
	}
	for _, name := range []string{"global/pg_control", "tablespace_map", "backup_manifest", "pg_replslot", "pg_notify", "pg_wal/archive_status", "pg_wal/notes.txt",
		v.value("SELECT pg_relation_filepath('forgotten')") + "_init", "inner space"} {
		if !exists(filepath.Join(standby.data, name)) {
			t.Errorf("%s is not in the copy", name)
		}
	}
	if got, err := os.Readlink(filepath.Join(standby.data, "pg_wal")); err != nil || got != wal {
		t.Errorf("pg_wal leads to %q, %v, want %s", got, err, wal)
	}
	far, near := v.value("SELECT oid FROM pg_tablespace WHERE spcname = 'far'"), v.value("SELECT oid FROM pg_tablespace WHERE spcname = 'near'")
	for oid, want := range map[string]string{far: filepath.Join(v.dir, "moved space"), near: filepath.Join(standby.data, "inner space")} {
		if got, err := os.Readlink(filepath.Join(standby.data, "pg_tblspc", oid)); err != nil || got != want {
			t.Errorf("tablespace %s leads to %q, %v, want %s", oid, got, err, want)
		}
		if entries, err := os.ReadDir(want); err != nil || len(entries) != 1 {
			t.Errorf("got %v, %v in %s, want one directory", entries, err, want)
		}
	}
}

// checkPages has the checksums of all pages checked, where there is a program
// that does.
func (v *server) checkPages() {
	v.t.Helper()
	program := filepath.Join(v.bin, "pg_checksums")
	if _, err := os.Stat(program); errors.Is(err, fs.ErrNotExist) {
		return // the prebuilt servers come without it
	}
	out, err := v.command(v.t.Context(), program, "--check", "-D", v.data).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Bad checksums:  0") {
		v.t.Errorf("pg_checksums: %v\n%s", err, out)
	}
}

// TestFailedCopies ends a copy in several ways and checks that the backup is
// over, that the target cannot be started and that the next copy goes on.
func TestFailedCopies(t *testing.T) {
	t.Parallel()
	v := primary(t, systemSite(t))
	standby := v.server("standby")
	cut := errors.New("cut here")
	for _, limit := range []int{20 << 10, 1 << 20, 6 << 20} {
		r := v.request(standby.data)
		r.Compress = filesync.CompressNone
		r.Dial = func(ctx context.Context) (io.ReadWriteCloser, error) {
			rw, err := v.dial(ctx)
			return &cutter{ReadWriteCloser: rw, left: limit, err: cut}, err
		}
		_, err := Copy(t.Context(), r)
		if !errors.Is(err, cut) {
			t.Errorf("got %v, want the cut", err)
		}
		checkContains(t, err, "the backup was ended on the server")
		checkEnded(t, v, r.Conn, standby)
	}

	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("the operator said so")
	r := v.request(standby.data)
	r.MaxRate, r.Compress = 4<<20, filesync.CompressNone
	r.Progress = func(p filesync.Progress) {
		if p.Sent > 1<<20 {
			cancel(reason)
		}
	}
	_, err := Copy(ctx, r)
	if !errors.Is(err, reason) {
		t.Errorf("got %v, want the operator's reason", err)
	}
	checkContains(t, err, "the backup was ended on the server")
	checkEnded(t, v, r.Conn, standby)

	// The session lost: the server ends the backup by itself, and nothing may
	// look like a success.
	r = v.request(standby.data)
	r.CheckTarget = func(context.Context) error { return nil }
	r.Progress = func(p filesync.Progress) {
		if p.Done {
			v.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query LIKE '%pg_backup_start%'")
		}
	}
	_, err = Copy(t.Context(), r)
	checkContains(t, err, "end the backup", "with its session")
	if exists(filepath.Join(standby.data, "global/pg_control")) {
		t.Error("the target of a failed copy has a pg_control")
	}

	result, err := Copy(t.Context(), v.request(standby.data))
	must(t, err)
	checkResult(t, v, standby, result)
	checkVerified(t, v, standby, result)
	standby.follow(v)
}

// checkEnded starts another backup in the same session, which the server
// refuses while one is on, and checks that the target is no data directory.
func checkEnded(t *testing.T, v *server, conn Session, standby *server) {
	t.Helper()
	_, err := conn.Value(t.Context(), "SELECT pg_backup_start('another', true)::text")
	must(t, err)
	_, err = conn.Value(t.Context(), "SELECT lsn::text FROM pg_backup_stop(false)")
	must(t, err)
	if exists(filepath.Join(standby.data, "global/pg_control")) {
		t.Error("the target of a failed copy has a pg_control")
	}
	if !exists(filepath.Join(standby.data, markerFile)) {
		t.Error("the target of a failed copy has no marker")
	}
}

// cutter breaks a connection after so many bytes.
type cutter struct {
	io.ReadWriteCloser
	left int
	err  error
}

func (c *cutter) Write(b []byte) (int, error) {
	if c.left -= len(b); c.left < 0 {
		return 0, c.err
	}
	return c.ReadWriteCloser.Write(b)
}
