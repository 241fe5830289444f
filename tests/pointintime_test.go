package tests

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/builtins/psql"
	"github.com/warmrun/warmrun/builtins/scratch"
	"github.com/warmrun/warmrun/tests/cluster"
)

// past is a cluster whose DR node is a standby that keeps a base copy, and
// places in what was written since.
type past struct {
	*testing.T
	*cluster.Cluster
	// Rows 1 to 5 are committed one after the other. time lies between 2 and 3,
	// point is a restore point between them, xid commits 3, lsn is behind 4.
	time, xid, lsn string
}

func newPast(t *testing.T, options cluster.Options) *past {
	t.Helper()
	return pastOf(t, cluster.New(t, options))
}

// pastOf is newPast on a cluster that is there.
func pastOf(t *testing.T, c *cluster.Cluster) *past {
	t.Helper()
	p := &past{T: t, Cluster: c}
	p.DB1.Must("distrib")
	p.DB2.Must("configStandby")
	p.DR.Must("configStandby")
	p.DB1.Must("copyToStandby", "--start")
	p.DB1.SQL("CREATE TABLE t (i int)")
	p.DB1.Must("copyToDR", "--start")
	p.happens()
	return p
}

// happens takes the base copy, writes the rows, and waits until all of it is on the
// DR node.
func (p *past) happens() {
	p.Helper()
	p.DR.Must("backup")
	p.write(1)
	p.write(2)
	p.time = p.DB1.SQL("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
	p.DB1.SQL("SELECT pg_create_restore_point('between')::text")
	p.xid = p.DB1.SQL("WITH n AS (INSERT INTO t VALUES (3) RETURNING 1) SELECT txid_current()::text FROM n")
	p.write(4)
	p.lsn = p.DB1.SQL("SELECT pg_current_wal_insert_lsn()::text")
	p.write(5)
	p.arrive()
}

func (p *past) write(row int) { p.DB1.SQL(fmt.Sprintf("INSERT INTO t VALUES (%d)", row)) }

// arrive ends the segment and waits until it has come to the DR node's archive. It
// returns where the WAL in it ends.
func (p *past) arrive() (lsn string) {
	p.Helper()
	lsn = p.DB1.SQL("SELECT pg_switch_wal()::text")
	segment := p.DB1.SQL("SELECT pg_walfile_name('" + lsn + "')")
	cluster.Eventually(p, time.Minute, segment+" is on the DR node", func() (bool, error) {
		p.DB2.Run("rsyncDR")
		return p.DR.Exists(filepath.Join(p.DR.Archive(), segment)), nil
	})
	return lsn
}

// follow waits until the DR node's own server has replayed what is written now.
func (p *past) follow() {
	p.Helper()
	lsn := p.arrive()
	cluster.Eventually(p, catchUp, "dr has replayed up to "+lsn, func() (bool, error) { return p.DR.Replayed(lsn) })
}

// scratchSQL asks the scratch server in a directory of the DR node.
func (p *past) scratchSQL(dir, query string) string {
	p.Helper()
	server, err := scratch.Open(dir)
	if err != nil {
		p.Fatal(err)
	}
	conn, err := psql.Connect(p.Context(), server.Session(p.DR.Target().User, "postgres"))
	if err != nil {
		p.Fatal(err)
	}
	defer conn.Close(p.Context())
	value, err := conn.Value(p.Context(), query)
	if err != nil {
		p.Fatalf("%s: %v", query, err)
	}
	return fmt.Sprint(value)
}

const rowsOfT = "SELECT string_agg(i::text, ' ' ORDER BY i) FROM t"

// restored recovers into a directory, compares the rows, writes one, and ends the
// server.
func (p *past) restored(want string, args ...string) {
	p.Helper()
	dir := filepath.Join(p.DR.Dir, "restored")
	result := p.DR.Must(append([]string{"restoreTo", "--dir", dir}, args...)...)
	wantOutput(p.T, result, "replayed up to ", "the server writes timeline", "psql -h "+dir)
	if got := p.scratchSQL(dir, rowsOfT); got != want {
		p.Errorf("%v: the server has rows %s, want %s", args, got, want)
	}
	p.scratchSQL(dir, "INSERT INTO t VALUES (99) RETURNING i")
	for name, value := range map[string]string{"archive_mode": "off", "listen_addresses": "", "data_directory": filepath.Join(dir, "data")} {
		if got := p.scratchSQL(dir, "SELECT current_setting('"+name+"')"); got != value {
			p.Errorf("%v: %s is %q, want %q", args, name, got, value)
		}
	}
	p.closeServer(dir)
}

func (p *past) closeServer(dir string) {
	p.Helper()
	p.pgctl(p.DR, "-D", filepath.Join(dir, "data"), "-m", "immediate", "stop")
	server, err := scratch.Open(dir)
	if err == nil {
		err = server.Remove(p.Context())
	}
	if err != nil {
		p.Fatal(err)
	}
}

// pgctl runs pg_ctl on a node.
func (p *past) pgctl(n *cluster.Node, args ...string) {
	p.Helper()
	if result := n.Exec(filepath.Join(n.Server().BinDir, "pg_ctl"), append(args, "-w")...); result.Code != 0 {
		p.Fatalf("%s\n%s", result, n.LogTail(10))
	}
}

// TestPointInTime recovers on the DR node to every kind of target, looks at the
// past and drills, on the newest server of this system, while the DR node's own
// server goes on as the standby that it is.
func TestPointInTime(t *testing.T) {
	t.Parallel()
	p := newPast(t, cluster.Options{})
	p.restored("1 2", "--time", p.time)
	p.restored("1 2", "--name", "between")
	p.restored("1 2 3", "--xid", p.xid)
	p.restored("1 2", "--xid", p.xid, "--exclusive")
	p.restored("1 2 3 4", "--lsn", p.lsn, "--exclusive")
	p.restored("1 2 3 4 5")
	t.Run("refused", func(t *testing.T) { p.refused(t) })
	t.Run("peek", func(t *testing.T) { p.peeked(t) })
	t.Run("late", func(t *testing.T) { p.late(t) })
	t.Run("drill", func(t *testing.T) { p.drilled(t) })
	t.Run("retention", func(t *testing.T) { p.expired(t) })
	if left, err := scratch.List(filepath.Join(p.DR.Home, "scratch")); err != nil || len(left) != 0 {
		t.Errorf("scratch servers are left: %v, %v", left, err)
	}
}

// refused are recoveries that cannot reach where they are sent: nothing is begun.
func (p *past) refused(t *testing.T) {
	dir := filepath.Join(p.DR.Dir, "refused")
	for _, test := range []struct {
		what string
		args []string
		code int
		says string
	}{
		{"a time that no transaction has ended after", []string{"--time", "2999-01-01T00:00:00Z"}, 1, "the archive does not reach it: the last transaction in its WAL ended at"},
		{"a time before every base copy", []string{"--time", "2001-01-01T00:00:00Z"}, 1, "no base copy in " + p.DR.Home + "/backups was complete before 2001"},
		{"an LSN beyond the end", []string{"--lsn", "F/0"}, 1, "the archive does not reach it"},
		{"a restore point that nobody made", []string{"--name", "nowhere"}, 1, "the archive does not reach it"},
		{"a timeline that is not there", []string{"--timeline", "9"}, 1, "does not know timeline 9"},
		{"two targets", []string{"--lsn", p.lsn, "--name", "between"}, 2, "one target"},
		{"a base copy that is not there", []string{"--backup", "20010101T000000"}, 1, "there is no such base copy"},
	} {
		result := p.DR.Run(append([]string{"restoreTo", "--dir", dir}, test.args...)...)
		if result.Code != test.code || !strings.Contains(result.Stderr, test.says) {
			t.Errorf("%s: %s\nwant exit status %d and %q", test.what, result, test.code, test.says)
		}
		if p.DR.Exists(dir) {
			t.Fatalf("%s: %s was made", test.what, dir)
		}
	}
	if result := p.DR.Run("restoreTo", "--dir", p.DR.PGData); result.Code != 1 || !strings.Contains(result.Stderr, "is not empty") {
		t.Errorf("%s\nwant a directory with data in it refused", result)
	}
}

// peeked looks at the past, once for an answer and once to stay, and is killed once.
func (p *past) peeked(t *testing.T) {
	wantOutput(t, p.DR.Must("peek", "list"), "No peek is open")
	wantOutput(t, p.DR.Must("peek", "--before", p.time, "--query", rowsOfT+"; "), "the server is read-only", "\n    1 2\n")

	killed := p.DR.Command(t.Context(), p.DR.Binary(), "peek", "--before", p.time)
	p.DR.Start(killed)
	below := filepath.Join(p.DR.Home, "scratch")
	cluster.Eventually(t, time.Minute, "a peek has begun", func() (bool, error) {
		begun, err := scratch.List(below)
		return len(begun) == 1 && p.DR.Exists(begun[0].PGData()), err
	})
	_ = killed.Process.Kill() // it may be done already
	_ = killed.Wait()         // it was killed
	cluster.Eventually(t, time.Minute, "what was begun is gone", func() (bool, error) {
		left, err := scratch.List(below)
		return len(left) == 0, err
	})
	// As one is left that was killed together with its guard.
	p.DR.Write(filepath.Join(below, "peek-left", "scratch.json"), `{"kind": "peek"}`)

	wantOutput(t, p.DR.Must("peek", "--before", p.time), "which is left over from", "psql -h ", "Close it with: warmrun peek close peek-")
	open, err := scratch.List(below)
	if err != nil || len(open) != 1 {
		t.Fatalf("got %v, %v; want the one that is open", open, err)
	}
	if got := p.scratchSQL(open[0].Dir, rowsOfT+"; "); got != "1 2" {
		t.Errorf("the peek has rows %s, want 1 2", got)
	}
	wantOutput(t, p.DR.Must("peek", "list"), open[0].ID, "psql -h ")
	// The standby beside it goes on.
	p.DB1.SQL("CREATE TABLE meanwhile ()")
	p.follow()
	if result := p.DR.Run("peek", "close", "peek-x"); result.Code != 1 || !strings.Contains(result.Stderr, "no peek peek-x is open on dr") {
		t.Errorf("%s\nwant to be told that there is none of that ID", result)
	}
	p.typed(t, rowsOfT+";\nSELECT pg_is_in_recovery();\n", open[0].ID)
	wantOutput(t, p.DR.Must("peek", "close", open[0].ID), "Closed "+open[0].ID)
	if result := p.DR.Run("peek"); result.Code != 1 || !strings.Contains(result.Stderr, "give --before TIME") {
		t.Errorf("%s\nwant to be told what to give", result)
	}
}

// typed has psql opened on the past, which reads what is typed, and closed with
// it. Meanwhile all that are open can be listed; another one stays open.
func (p *past) typed(t *testing.T, input, other string) {
	cmd := p.DR.Command(t.Context(), p.DR.Binary(), "peek", "--before", p.time, "--psql")
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	keyboard, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.DR.Start(cmd)
	cluster.Eventually(t, time.Minute, "both are listed as open, and one of them in psql", func() (bool, error) {
		return strings.Count(p.DR.Must("peek", "list").Stdout, "psql -h ") == 2, nil
	})
	if result := p.DR.Run("peek", "close", other); result.Code != 5 {
		t.Errorf("%s\nwant exit status 5: psql is open", result)
	}
	_, err = keyboard.Write([]byte(input))
	if err := errors.Join(err, keyboard.Close()); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "\n 1 2\n") || !strings.Contains(out.String(), "\n t\n") || !strings.Contains(out.String(), "Closed peek-") {
		t.Errorf("%v\n%s\nwant the rows 1 2, read-only, and the peek closed", err, out.String())
	}
	if left, err := scratch.List(filepath.Join(p.DR.Home, "scratch")); err != nil || len(left) != 1 || left[0].ID != other {
		t.Errorf("got %v, %v; want %s alone open", left, err, other)
	}
}

// late makes the DR node's server stay behind on purpose, and no longer, and
// stops its replay for a while.
func (p *past) late(t *testing.T) {
	toml := filepath.Join(p.DR.Home, "global", "cluster.toml")
	before := readFile(t, p.DR.Path(toml))
	const dr = "name = 'dr'\n"
	p.DR.Write(toml, strings.Replace(before, dr, dr+"delay = '1h'\n", 1))
	wantOutput(t, p.DR.Must("delayReplay"), "dr replays 1h after each commit")
	p.isDelayed()
	wantOutput(t, p.DR.Must("status"), "replay delay", "1h")
	p.DR.Write(toml, before)
	wantOutput(t, p.DR.Must("delayReplay"), "dr replays at once")

	wantOutput(t, p.DR.Must("pauseReplay"), "dr replays no more, from 0/")
	p.DB1.SQL("CREATE TABLE paused ()")
	p.arrive()
	wantOutput(t, p.DR.Must("status"), "replay delay", "paused")
	if got := p.DR.SQL("SELECT to_regclass('paused') IS NULL"); got != "true" {
		t.Error("a paused standby has replayed")
	}
	wantOutput(t, p.DR.Must("resumeReplay"), "dr replays again, from 0/")
	p.follow()
}

// isDelayed: the DR node's server has been told to stay an hour behind. Before 12 no
// query says so.
func (p *past) isDelayed() {
	p.Helper()
	old := filepath.Join(p.DR.PGData, "recovery.conf")
	if p.DR.Exists(old) {
		if got := readFile(p.T, p.DR.Path(old)); !strings.Contains(got, "recovery_min_apply_delay = '3600s'") {
			p.Errorf("recovery.conf of dr has no delay of an hour:\n%s", got)
		}
		return
	}
	if got := p.DR.SQL("SHOW recovery_min_apply_delay"); got != "1h" {
		p.Errorf("recovery_min_apply_delay is %s, want 1h", got)
	}
}

// drilled drills with queries of the site: all is well, then one is not.
func (p *past) drilled(t *testing.T) {
	dir := filepath.Join(p.DR.Home, "global", "drill")
	p.DR.Write(filepath.Join(dir, "rows.sql"), "SELECT count(*) >= 5, min(i) FROM t")
	p.DR.Write(filepath.Join(dir, "rows.out"), "t|1\n")
	p.DR.Write(filepath.Join(dir, "runs.sql"), "SELECT * FROM t")
	wantOutput(t, p.DR.Must("drill"), "pg_amcheck found nothing wrong", "rows.sql: as expected", "runs.sql: as expected", "The recovery works, and takes ")
	wantOutput(t, p.DR.Must("status"), "base copies", "1, newest ", "last drill", ", took ")
	if result := p.DR.Must("drill", "--quiet"); result.Stdout+result.Stderr != "" {
		t.Errorf("%s\nwant nothing said", result)
	}
	p.DR.Write(filepath.Join(dir, "rows.out"), "t|2\n")
	result := p.DR.Run("drill", "--quiet")
	if result.Code != 1 || !strings.Contains(result.Stderr, `rows.sql: got "t|1", want "t|2"`) {
		t.Errorf("%s\nwant exit status 1 and what was wrong", result)
	}
	wantOutput(t, p.DR.Must("status"), "FAILED ")
}

// expired keeps one base copy: the next one begins with what it has, is verified,
// and takes its place. The last good one is not removed.
func (p *past) expired(t *testing.T) {
	toml := filepath.Join(p.DR.Home, "global", "cluster.toml")
	p.DR.Write(toml, "[backup]\nkeep = 1\n\n"+readFile(t, p.DR.Path(toml)))
	first := strings.Fields(p.DR.Must("backups", "show").Stdout)[0]
	wantOutput(t, p.DR.Must("backup", "--verify"), "Beginning with what the base copy "+first+" has", "files are as they were copied", "Removed the base copy "+first)
	second := strings.Fields(p.DR.Must("backups", "show").Stdout)[0]
	if second == first {
		t.Fatalf("the newest base copy is still %s", first)
	}
	wantOutput(t, p.DR.Must("backups", "list"), second, "verified ")
	if result := p.DR.Run("--yes", "backups", "remove", second); result.Code != 1 || !strings.Contains(result.Stderr, "is the last good base copy") {
		t.Errorf("%s\nwant the last good one refused", result)
	}
	victim := p.DR.Path(filepath.Join(p.DR.Home, "backups", second, "data", "base/1/PG_VERSION"))
	replaceFile(t, victim, "99\n")
	if result := p.DR.Run("backups", "verify"); result.Code != 1 || !strings.Contains(result.Stderr, "is damaged: 1 finding, the first: base/1/PG_VERSION") {
		t.Errorf("%s\nwant what is damaged", result)
	}
	if result := p.DR.Run("drill"); result.Code != 1 || !strings.Contains(result.Stderr, "there is no base copy") {
		t.Errorf("%s\nwant no drill from a damaged copy", result)
	}
	p.DR.Must("--yes", "backups", "remove", second)
	if result := p.DR.Run("backups", "show"); result.Code != 3 {
		t.Errorf("%s\nwant exit status 3: there is none", result)
	}
}
