package basebackup

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/builtins/psql"
	"github.com/warmrun/warmrun/walcore/hint"
)

// damaged is a server on which block 3 of a table and block 1 of its index are
// damaged, in a database of its own.
func damaged(t *testing.T) (v *server, table, index string) {
	t.Helper()
	v = systemSite(t).initdb("primary")
	v.start()
	v.exec("CREATE DATABASE bench")
	conn := v.connectTo("bench")
	for _, sql := range []string{
		"CREATE SCHEMA shop",
		"CREATE TABLE shop.accounts AS SELECT i AS id, repeat('x', 200) AS filler FROM generate_series(1, 20000) i",
		"CREATE INDEX by_id ON shop.accounts (id)",
		"VACUUM shop.accounts", // or a page would be changed later
	} {
		_, err := conn.Exec(t.Context(), sql)
		must(t, err)
	}
	path := func(relation string) string {
		value, err := conn.Value(t.Context(), "SELECT pg_relation_filepath('"+relation+"')")
		must(t, err)
		return value.(string)
	}
	table, index = path("shop.accounts"), path("shop.by_id")
	v.stop()
	must(t, flip(filepath.Join(v.data, table), 3*pageSize+4000))
	must(t, flip(filepath.Join(v.data, index), pageSize+4000))
	v.start()
	return v, table, index
}

func (v *server) plainRequest(target string) Request {
	r := v.request(target)
	r.TablespaceMap = nil
	r.Connect = func(ctx context.Context, database string) (ClosingSession, error) {
		target := v.target()
		target.Database = database
		return psql.Connect(ctx, target)
	}
	return r
}

// TestBadPage: a page that the disk damaged fails the copy, and is named as the
// server names it.
func TestBadPage(t *testing.T) {
	t.Parallel()
	v, table, index := damaged(t)
	standby := v.server("standby")
	r := v.plainRequest(standby.data)
	_, err := Copy(t.Context(), r)
	text := ""
	if err != nil {
		text = err.Error()
	}
	ofTable := strings.Contains(text, "block 3 of shop.accounts in database bench ("+table+")")
	ofIndex := strings.Contains(text, "block 1 of shop.by_id in database bench ("+index+")")
	if !ofTable && !ofIndex || !strings.Contains(hint.Of(err), "--allow-bad-pages") {
		t.Errorf("got %v with hint %q, want the first bad page found", err, hint.Of(err))
	}
	checkContains(t, err, "data on this server is damaged", "the backup was ended on the server")
	checkEnded(t, v, r.Conn, standby)

	// Without sessions in other databases the file and the database are named.
	r = v.plainRequest(standby.data)
	r.Connect = nil
	_, err = Copy(t.Context(), r)
	checkContains(t, err, " in database bench has checksum ")
}

// TestAllowBadPages: the copy has the bad pages as they are, and says so.
func TestAllowBadPages(t *testing.T) {
	t.Parallel()
	v, table, index := damaged(t)
	standby := v.server("standby")
	r := v.plainRequest(standby.data)
	r.AllowBadPages = true
	var out strings.Builder
	r.Out = &out
	result, err := Copy(t.Context(), r)
	must(t, err)
	want := map[string]BadPage{
		table: {Path: table, Block: 3, Database: "bench", Relation: "shop.accounts"},
		index: {Path: index, Block: 1, Database: "bench", Relation: "shop.by_id"},
	}
	if result.BadPageCount != 2 || len(result.BadPages) != 2 {
		t.Fatalf("got %d bad pages, %v, want 2", result.BadPageCount, result.BadPages)
	}
	for _, got := range result.BadPages {
		if !strings.Contains(out.String(), "WARNING: copied as it is: "+got.String()) {
			t.Errorf("the output lacks %s:\n%s", got, out.String())
		}
		if got.Stored == got.Computed {
			t.Errorf("%s: got the same checksums", got)
		}
		got.Stored, got.Computed = 0, 0
		if got != want[got.Path] {
			t.Errorf("got %+v, want %+v", got, want[got.Path])
		}
	}
	for _, file := range []string{table, index} {
		here, err := os.ReadFile(filepath.Join(v.data, file))
		must(t, err)
		there, err := os.ReadFile(filepath.Join(standby.data, file))
		must(t, err)
		if !bytes.Equal(here, there) {
			t.Errorf("%s is not copied as it is", file)
		}
	}
	report, err := Verify(t.Context(), VerifyRequest{Dir: standby.data})
	if err != nil || len(report.Findings) > 0 {
		t.Errorf("got %v, %v: the manifest is of what was copied", report.Findings, err)
	}
}
