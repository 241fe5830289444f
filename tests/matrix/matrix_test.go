package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/tests/pgmajor"
)

// allPass is the results of a run in which everything went well.
func allPass() results {
	r := results{}
	for _, major := range pgmajor.All() {
		for _, c := range columns {
			r[c.id(major)] = "pass"
		}
	}
	return r
}

var (
	runLine = regexp.MustCompile(`(?m)^Run on (\d{1,2} [A-Z][a-z]+ \d{4}), on (.+):$`)
	rowLine = regexp.MustCompile(`(?m)^\| (\d+)\.(\d+)(, the system's)? \|`)
	pinned  = regexp.MustCompile(`(?m)^(\d+)\) version=(\d+\.\d+)\.`)
)

// TestReadme: README.md has the table of a run in which every test of every column
// has passed, on every major, at the version that is pinned or the system's.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, got, _, err := split(string(readme))
	if err != nil {
		t.Fatal(err)
	}
	run := runLine.FindStringSubmatch(got)
	if run == nil {
		t.Fatalf("the table does not say when and where it was made:\n%s", got)
	}
	want := table{Day: run[1], System: run[2]}
	versions := pinnedVersions(t)
	systems := 0
	for _, match := range rowLine.FindAllStringSubmatch(got, -1) {
		major, err := strconv.Atoi(match[1])
		if err != nil {
			t.Fatal(err)
		}
		r := row{Major: major, Version: match[1] + "." + match[2], System: match[3] != ""}
		if r.System {
			systems++
		} else if r.Version != versions[major] {
			t.Errorf("the table has version %s, tests/fetch-postgres.sh has %s: run make matrix", r.Version, versions[major])
		}
		want.Rows = append(want.Rows, r)
	}
	if systems != 1 || len(want.Rows) != len(pgmajor.All()) {
		t.Errorf("the table has %d rows, %d of them the system's; want %d and 1", len(want.Rows), systems, len(pgmajor.All()))
	}
	for i, major := range pgmajor.All() {
		if i < len(want.Rows) && want.Rows[i].Major != major {
			t.Errorf("row %d is of PostgreSQL %d, want %d", i+1, want.Rows[i].Major, major)
		}
	}
	if want.fill(allPass()); got != want.markdown() {
		t.Errorf("the table in README.md is not what the columns say; run make matrix. It has\n%s\nwant\n%s", got, want.markdown())
	}
}

func pinnedVersions(t *testing.T) map[int]string {
	t.Helper()
	script, err := os.ReadFile("../fetch-postgres.sh")
	if err != nil {
		t.Fatal(err)
	}
	versions := map[int]string{}
	for _, match := range pinned.FindAllStringSubmatch(string(script), -1) {
		major, err := strconv.Atoi(match[1])
		if err != nil {
			t.Fatal(err)
		}
		versions[major] = match[2]
	}
	return versions
}

// TestColumnsHaveTests: each column names a test and a part that exist, so that none
// is empty for ever.
func TestColumnsHaveTests(t *testing.T) {
	for _, c := range columns {
		if !declared(t, c.pkg, "func "+c.test+"(") {
			t.Errorf("%s: there is no %s in %s", c.head, c.test, c.pkg)
		}
		if c.part != "" && !declared(t, c.pkg, strconv.Quote(c.part)) {
			t.Errorf("%s: %s in %s has no part %q", c.head, c.test, c.pkg, c.part)
		}
	}
}

func declared(t *testing.T, pkg, text string) bool {
	t.Helper()
	dir := "../../" + pkg
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), "_test.go") {
			continue
		}
		source, err := os.ReadFile(dir + "/" + entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(source), text) {
			return true
		}
	}
	return false
}

// TestTable: a test that has failed and one that was never run are seen, in the
// table and in the verdict.
func TestTable(t *testing.T) {
	last := columns[len(columns)-1]
	events := ""
	for _, c := range columns {
		action := "pass"
		switch c.head {
		case "switchover":
			action = "fail"
		case last.head:
			continue
		}
		pkg, test, _ := strings.Cut(c.id(15), " ")
		events += fmt.Sprintf("{\"Action\":\"output\",\"Package\":%q,\"Test\":%q,\"Output\":\"of %s\\n\"}\n{\"Action\":%q,\"Package\":%[1]q,\"Test\":%[2]q,\"Elapsed\":1.5}\n", pkg, test, c.head, action)
	}
	var said strings.Builder
	ended, err := readEvents(strings.NewReader(events), &said)
	if err != nil {
		t.Fatal(err)
	}
	if got := said.String(); !strings.Contains(got, "fail     1.5 s  tests TestMajors/15/switchover\nof switchover\n") || strings.Contains(got, "of restore") {
		t.Errorf("it said\n%s\nwant what the failed test has printed, and only that", got)
	}
	table := table{Day: "1 May 2026", System: "Debian", Rows: []row{{Major: 15, Version: "15.1", System: true}}}
	if table.fill(ended) {
		t.Error("a run with a failure is good")
	}
	text := table.markdown()
	for _, want := range []string{"Run on 1 May 2026, on Debian:\n", "| PostgreSQL | WAL |", "| 15.1, the system's | yes |", "| **FAILED** |", "| by `pg_rewind` | not run |\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("got\n%s\nwant %q in it", text, want)
		}
	}
	if !table.fill(allPass()) {
		t.Error("a run in which all have passed is not good")
	}
}
