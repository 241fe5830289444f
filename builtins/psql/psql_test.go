package psql

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
)

// running starts a server of the test's own.
func running(t *testing.T, lines ...string) (*server, *Conn) {
	t.Helper()
	s := newServer(t)
	s.configure(t, lines...)
	s.start(t)
	return s, ready(t, s.target())
}

func TestSession(t *testing.T) {
	s, conn := running(t)
	t.Run("values", func(t *testing.T) { testValues(t, conn) })
	t.Run("arguments", func(t *testing.T) { testArguments(t, conn) })
	t.Run("statements", func(t *testing.T) { testStatements(t, conn) })
	t.Run("errors", func(t *testing.T) { testErrors(t, conn) })
	t.Run("cancel", func(t *testing.T) { testCancel(t, conn) })
	t.Run("settings", func(t *testing.T) { testSettings(t, s) })
	t.Run("refused", func(t *testing.T) { testRefused(t, s) })
	t.Run("tunnel", func(t *testing.T) { testTunnel(t, s, conn) })
	t.Run("several goroutines", func(t *testing.T) { testShared(t, conn) })
	t.Run("disconnected", func(t *testing.T) { testDisconnected(t, s) })
}

func testValues(t *testing.T, conn *Conn) {
	for _, test := range []struct {
		sql  string
		want any
	}{
		{"true", true},
		{"false", false},
		{"NULL::text", nil},
		{"NULL::int[]", nil},
		{"1", int64(1)},
		{"(-2)::smallint", int64(-2)},
		{"9223372036854775807", int64(math.MaxInt64)},
		{"4294967295::oid", int64(math.MaxUint32)},
		{"'4000000000'::xid", int64(4000000000)},
		{"1.5::float8", 1.5},
		{"0.1::float8", 0.1},
		{"'NaN'::float8", "NaN"},
		{"'-Infinity'::float4", "-Infinity"},
		{"12345678901234567890.123456789", "12345678901234567890.123456789"},
		{"'text'", "text"},
		{"'a'::name", "a"},
		{"''", ""},
		{"'C/99000020'::pg_lsn", walcore.LSN(0xC99000020)},
		{`'\xdeadbeef'::bytea`, `\xdeadbeef`},
		{"'2026-01-02 03:04:05.123456+00'::timestamptz", "2026-01-02T03:04:05.123456Z"},
		{"'infinity'::timestamptz", "infinity"},
		{"'0044-03-15 00:00:00+00 BC'::timestamptz", nil}, // as the server prints it
		{"'2026-01-02 03:04:05'::timestamp", "2026-01-02 03:04:05"},
		{"'2026-01-02'::date", "2026-01-02"},
		{"'1 day 02:00'::interval", "1 day 02:00:00"},
		{"pg_sleep(0)", nil},
		{`'{"a": 1}'::jsonb`, `{"a": 1}`},
		{"ARRAY[1,NULL,3]", []any{int64(1), nil, int64(3)}},
		{"'{}'::int[]", []any{}},
		{"ARRAY[[1,2],[3,4]]", []any{[]any{int64(1), int64(2)}, []any{int64(3), int64(4)}}},
		{"'[2:3]={7,8}'::int[]", []any{int64(7), int64(8)}},
		{`ARRAY['a b', 'it''s', '"', '\', 'NULL', '', NULL, ',{}']`, []any{"a b", "it's", `"`, `\`, "NULL", "", nil, ",{}"}},
		{"ARRAY['0/1'::pg_lsn]", []any{walcore.LSN(1)}},
		{"ARRAY[true,false]", []any{true, false}},
		{"ARRAY['2026-01-02 03:04:05+00'::timestamptz]", []any{"2026-01-02T03:04:05Z"}},
		{"ROW(1,2)", "(1,2)"},
	} {
		got, err := conn.Value(timeout(t), "SELECT "+test.sql)
		if strings.Contains(test.sql, "BC") {
			text, _ := got.(string)
			if err != nil || !strings.HasSuffix(text, "BC") {
				t.Errorf("%s = %#v, %v, want what the server prints", test.sql, got, err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s = %#v, %v, want %#v", test.sql, got, err, test.want)
		}
	}
	for _, zone := range []string{"UTC", "Asia/Kolkata", "America/New_York", "Europe/Dublin"} {
		if _, err := conn.Exec(timeout(t), "SET timezone = '"+zone+"'"); err != nil {
			t.Fatal(err)
		}
		for _, when := range []string{"2026-01-02T03:04:05.5Z", "1890-06-01T12:00:00Z"} {
			got, err := conn.Value(timeout(t), "SELECT '"+when+"'::timestamptz")
			if err != nil || got != when {
				t.Errorf("in %s: %s = %v, %v", zone, when, got, err)
			}
		}
	}
}

func testArguments(t *testing.T, conn *Conn) {
	for _, test := range []struct {
		sql  string
		args []any
		want any
	}{
		{"$1::text", []any{`it's "here" \ $2`}, `it's "here" \ $2`},
		{"$1::int + $2", []any{1, int64(2)}, int64(3)},
		{"5 - $1::int", []any{-3}, int64(8)},
		{"$1::bool", []any{true}, true},
		{"$1::float8", []any{1.25}, 1.25},
		{"$1::pg_lsn", []any{walcore.LSN(0x100000028)}, walcore.LSN(0x100000028)},
		{"$1::int", []any{walcore.Timeline(7)}, int64(7)},
		{"$1::text IS NULL", []any{nil}, true},
		{"$1::bytea", []any{[]byte{0xde, 0xad}}, `\xdead`},
		{"$1::timestamptz", []any{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}, "2026-01-02T03:04:05Z"},
		{"$1::text", []any{walcore.SegmentName("000000010000000000000001")}, "000000010000000000000001"},
		{"'a' = ANY($1::text[])", []any{[]string{"a", "b c"}}, true},
	} {
		got, err := conn.Value(timeout(t), "SELECT "+test.sql, test.args...)
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s with %v = %#v, %v, want %#v", test.sql, test.args, got, err, test.want)
		}
	}
}

func testStatements(t *testing.T, conn *Conn) {
	ctx := timeout(t)
	tag, err := conn.Exec(ctx, "CREATE TABLE t (id int, name text); INSERT INTO t SELECT i, 'n' || i FROM generate_series(1, 5) AS i")
	if err != nil || tag != "INSERT 0 5" {
		t.Errorf("Exec = %q, %v, want INSERT 0 5", tag, err)
	}
	rows, err := conn.Query(ctx, "SELECT id, name FROM t WHERE id > $1 ORDER BY id", 3)
	want := Rows{Columns: []string{"id", "name"}, Values: [][]any{{int64(4), "n4"}, {int64(5), "n5"}}}
	if err != nil || !reflect.DeepEqual(rows, want) {
		t.Errorf("Query = %+v, %v, want %+v", rows, err, want)
	}
	rows, err = conn.Query(ctx, "SELECT 1 WHERE false")
	if err != nil || len(rows.Values) != 0 || len(rows.Columns) != 1 {
		t.Errorf("Query without rows = %+v, %v", rows, err)
	}
	rows, err = conn.Query(ctx, "SELECT generate_series(1, 100000) AS i")
	if err != nil || len(rows.Values) != 100000 {
		t.Errorf("Query = %d rows, %v, want 100000", len(rows.Values), err)
	}
	if _, err := conn.Value(ctx, "SELECT 1 WHERE false"); err == nil {
		t.Error("Value without a row succeeded")
	}
	if _, err := conn.Exec(ctx, ""); err != nil {
		t.Errorf("empty statement: %v", err)
	}
}

func testErrors(t *testing.T, conn *Conn) {
	ctx := timeout(t)
	_, err := conn.Query(ctx, "SELECT nonsense FROM pg_class")
	if err == nil || !strings.Contains(err.Error(), "nonsense") || Disconnected(err) {
		t.Errorf("Query = %v, want the server's words", err)
	}
	_, err = conn.Exec(ctx, "SELECT 1; SELECT pg_nothing()")
	if err == nil || hint.Of(err) == "" {
		t.Errorf("Exec = %v, hint %q, want the server's hint", err, hint.Of(err))
	}
	_, err = conn.Exec(ctx, "DO $$BEGIN RAISE EXCEPTION 'no' USING DETAIL = 'because'; END$$")
	if err == nil || !strings.Contains(err.Error(), "because") {
		t.Errorf("Exec = %v, want the detail", err)
	}
	// The rows that came before an error are none.
	if rows, err := conn.Query(ctx, "SELECT 1 / (3 - i) FROM generate_series(1, 5) AS i"); err == nil || len(rows.Values) != 0 {
		t.Errorf("Query = %+v, %v, want an error and no rows", rows, err)
	}
	if got, err := conn.Value(ctx, "SELECT 1"); err != nil || got != int64(1) {
		t.Errorf("the session after errors: %v, %v", got, err)
	}
}

func testCancel(t *testing.T, conn *Conn) {
	cause := errors.New("the operator typed Ctrl-C")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(200*time.Millisecond, func() { cancel(cause) })
	start := time.Now()
	if _, err := conn.Exec(ctx, "SELECT pg_sleep(30)"); !errors.Is(err, cause) {
		t.Errorf("Exec = %v, want %v", err, cause)
	}
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("took %s", took)
	}
	got, err := conn.Value(timeout(t), "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(30)%' AND pid <> pg_backend_pid()")
	if err != nil || got != int64(0) {
		t.Errorf("%v statements run on, %v", got, err)
	}
	if _, err := conn.Exec(ctx, "SELECT 1"); !errors.Is(err, cause) {
		t.Errorf("Exec with a canceled context = %v", err)
	}
}

// testSettings: neither the environment nor the role's settings get in the
// way.
func testSettings(t *testing.T, s *server) {
	for name, value := range map[string]string{
		"PGHOST": "nowhere", "PGPORT": "1", "PGUSER": "nobody", "PGDATABASE": "nothing", "PGSSLMODE": "verify-full",
		"PGTARGETSESSIONATTRS": "read-only", "PGOPTIONS": "-c nonsense=1", "PGAPPNAME": "x", "PGREQUIREAUTH": "gss",
		"PGCONNECT_TIMEOUT": "1", "PGCHANNELBINDING": "require", "PGTZ": "nonsense", "PGSSLNEGOTIATION": "direct",
	} {
		t.Setenv(name, value)
	}
	var notices []string
	target := s.target()
	target.ApplicationName = "it's me"
	target.Notice = func(severity, message string) { notices = append(notices, severity+": "+message) }
	conn := ready(t, target)
	for setting, want := range map[string]string{
		"application_name": "it's me", "statement_timeout": "0", "idle_session_timeout": "0", "client_encoding": "UTF8",
	} {
		if got, err := conn.Value(timeout(t), "SELECT current_setting($1)", setting); err != nil || got != want {
			t.Errorf("%s = %v, %v, want %s", setting, got, err, want)
		}
	}
	if _, err := conn.Exec(timeout(t), "DO $$BEGIN RAISE NOTICE 'look'; END$$"); err != nil || len(notices) != 1 || notices[0] != "NOTICE: look" {
		t.Errorf("notices %q, %v", notices, err)
	}
	if conn.Version() < 100000 {
		t.Errorf("version %d", conn.Version())
	}
	t.Setenv("PGSERVICE", "no-such-service")
	if _, err := Connect(timeout(t), target); err == nil || !strings.Contains(hint.Of(err), "PGSERVICE") {
		t.Errorf("Connect with a broken PGSERVICE = %v (%s)", err, hint.Of(err))
	}
}

func testRefused(t *testing.T, s *server) {
	stale := filepath.Join(s.dir, "stale")
	if err := os.Mkdir(stale, 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(stale, socketName(s.port)), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	sshd := fmt.Errorf("reach db2: %w", &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)})
	change := func(f func(*Target)) Target {
		target := s.target()
		f(&target)
		return target
	}
	for _, test := range []struct {
		what         string
		target       Target
		absent, auth bool
		text, advice string
	}{
		{"other port", change(func(t *Target) { t.Port = 1 }), true, false, filepath.Join(s.sockets, ".s.PGSQL.1"), "port is not 1"},
		{"stale socket", change(func(t *Target) { t.SocketDir = stale }), true, false, "refused", "left behind"},
		{"other user", change(func(t *Target) { t.User = "nobody" }), false, true, "nobody", "peer"},
		{"no database", change(func(t *Target) { t.Database = "no'ne" }), false, true, "no'ne", "database"},
		{"node away", change(func(t *Target) {
			t.Dial = func(context.Context, string) (net.Conn, error) { return nil, hint.Wrap(sshd, "check sshd") }
		}), false, false, "reach db2", "check sshd"},
		{"tunnel finds no socket", change(func(t *Target) {
			t.Dial = func(context.Context, string) (net.Conn, error) {
				return nil, fmt.Errorf("on db2: %w", syscall.ENOENT)
			}
		}), true, false, "on db2", "not running"},
	} {
		conn, err := Connect(timeout(t), test.target)
		if err == nil {
			t.Errorf("%s: connected", test.what)
			_ = conn.Close(t.Context())
			continue
		}
		if got := NotRunning(err); got != test.absent {
			t.Errorf("%s: NotRunning(%v) = %v", test.what, err, got)
		}
		if got := LoginRefused(err); got != test.auth {
			t.Errorf("%s: LoginRefused(%v) = %v", test.what, err, got)
		}
		if StartingUp(err) || Disconnected(err) {
			t.Errorf("%s: %v is taken for something else", test.what, err)
		}
		if !strings.Contains(err.Error(), test.text) || strings.Contains(err.Error(), "\n") || !strings.Contains(hint.Of(err), test.advice) {
			t.Errorf("%s: error %q, hint %q, want %q, %q", test.what, err, hint.Of(err), test.text, test.advice)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Connect(ctx, s.target()); !errors.Is(err, context.Canceled) || NotRunning(err) {
		t.Errorf("Connect with a canceled context = %v", err)
	}
}

func testShared(t *testing.T, conn *Conn) {
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 20 {
				if got, err := conn.Value(timeout(t), "SELECT $1::int", i); err != nil || got != int64(i) {
					t.Errorf("got %v, %v, want %d", got, err, i)
				}
			}
		})
	}
	all.Wait()
}

// testDisconnected stops the server.
func testDisconnected(t *testing.T, s *server) {
	conn := ready(t, s.target())
	s.end(t, syscall.SIGINT) // fast shutdown
	for range 2 {
		if _, err := conn.Exec(timeout(t), "SELECT 1"); !Disconnected(err) {
			t.Errorf("Disconnected(%v) = false", err)
		}
	}
	if _, err := Connect(timeout(t), s.target()); !NotRunning(err) {
		t.Errorf("NotRunning(%v) = false", err)
	}
}

// TestGreetingCut: the server ends in the middle of the greeting. pgx then
// dials once more in the background, for a cancel request, while the reason is
// being put into words; neither may get in the other's way.
func TestGreetingCut(t *testing.T) {
	const tries = 20
	var answers sync.WaitGroup
	var dials atomic.Int32
	dial := func(context.Context, string) (net.Conn, error) {
		defer dials.Add(1)
		ours, theirs := net.Pipe()
		answers.Go(func() {
			_, _ = theirs.Read(make([]byte, 1024)) // whatever the client has to say
			_ = theirs.Close()
		})
		return ours, nil
	}
	for range tries {
		_, err := Connect(timeout(t), Target{SocketDir: "/nowhere", User: "nobody", Dial: dial})
		if err == nil || NotRunning(err) || !strings.Contains(err.Error(), "EOF") {
			t.Fatalf("Connect = %v, want the end of the connection as the reason, and a server that may be running", err)
		}
	}
	waitFor(t, func() bool { return dials.Load() == 2*tries })
	answers.Wait()
}

func TestVersionNumber(t *testing.T) {
	for text, want := range map[string]int{
		"15.18 (Debian 15.18-0+deb12u1)": 150018, "9.6.24": 90624, "10.0": 100000, "17beta1": 170000,
		"18devel": 180000, "9.2": 90200, "14.2, by someone": 140002, "": 0, "EnterpriseDB 12.3": 0,
	} {
		if got := versionNumber(text); got != want {
			t.Errorf("versionNumber(%q) = %d, want %d", text, got, want)
		}
	}
}

// FuzzParseArray: whatever the text, it is taken apart whole or not at all.
func FuzzParseArray(f *testing.F) {
	for _, seed := range []string{"{}", "{1,2}", "{{1},{NULL}}", `{"a\"b",c}`, "[0:1]={1,2}", "{", `{"`, `{"\`, "{,}", "{1,{2}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		values, ok := parseArray(text, func(s string) any { return s })
		if ok && values == nil {
			t.Errorf("parseArray(%q) = nil, true", text)
		}
		again, _ := convert(1009, []byte(text)).([]any)
		if ok != (again != nil) {
			t.Errorf("convert(%q) and parseArray differ", text)
		}
	})
}
