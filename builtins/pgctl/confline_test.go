package pgctl

import (
	"strings"
	"testing"
)

func TestParseLine(t *testing.T) {
	for _, test := range []struct {
		line, name, value string
		complaint         string // part of the error; empty: none
	}{
		{"", "", "", ""},
		{"   # a comment", "", "", ""},
		{"port = 5432", "port", "5432", ""},
		{"port 5432", "port", "5432", ""},
		{"port=5432# note", "port", "5432", ""},
		{"\tPort\t=\t5432  # note", "port", "5432", ""},
		{"shared_buffers = 128MB", "shared_buffers", "128MB", ""},
		{"x = -1", "x", "-1", ""},
		{"x = 1.5e+3", "x", "1.5e+3", ""},
		{"x = 0x1F", "x", "0x1F", ""},
		{"wal_level = replica", "wal_level", "replica", ""},
		{"lc_messages = en_US.UTF-8", "lc_messages", "en_US.UTF-8", ""},
		{"log_timezone = Etc/UTC", "log_timezone", "Etc/UTC", ""},
		{"pg_stat.track = all", "pg_stat.track", "all", ""},
		{"x = ''", "x", "", ""},
		{"x = 'a # b' # c", "x", "a # b", ""},
		{"x = 'it''s'", "x", "it's", ""},
		{`x = 'it\'s'`, "x", "it's", ""},
		{`x = 'a\\b'`, "x", `a\b`, ""},
		{`x = 'a\tb\101\n'`, "x", "a\tbA\n", ""},
		{`archive_command = ' ../2warm/global/replication/archiveWALFile %p %f '`, "archive_command", " ../2warm/global/replication/archiveWALFile %p %f ", ""},
		{"port = 5432\r\n", "port", "5432", ""},
		{"port =", "", "", "the value is missing"},
		{"port", "", "", "the value is missing"},
		{"= 5", "", "", "no setting begins with"},
		{"x = 'open", "", "", "closing quote is missing"},
		{"x = /tmp/file", "", "", "put it in single quotes"},
		{"x = 'a' b", "", "", `unexpected "b"`},
		{"a. = 1", "", "", "no setting begins"},
		{"x = a*b", "", "", `unexpected "*b"`},
	} {
		name, value, err := parseLine(test.line)
		if test.complaint != "" {
			if err == nil || !strings.Contains(err.Error(), test.complaint) {
				t.Errorf("parseLine(%q): error %v, want one with %q", test.line, err, test.complaint)
			}
			continue
		}
		if err != nil || name != test.name || value != test.value {
			t.Errorf("parseLine(%q) = %q, %q, %v; want %q, %q", test.line, name, value, err, test.name, test.value)
		}
	}
}

func FuzzParseLine(f *testing.F) {
	for _, line := range []string{"port = 5432", `x = 'it''s \101'`, "x = 'open", "a.b 1 # c"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		name, value, err := parseLine(line)
		if err != nil || name == "" {
			return
		}
		quoted, err := quoteValue(value)
		if err != nil {
			return // a line break that came from an escape
		}
		nameAgain, again, err := parseLine(name + " = " + quoted)
		if err != nil || nameAgain != name || again != value {
			t.Errorf("%q: %q = %q became %q = %q, %v", line, name, value, nameAgain, again, err)
		}
	})
}

func FuzzQuoteValue(f *testing.F) {
	f.Add(`a 'quoted' \ value`)
	f.Fuzz(func(t *testing.T, value string) {
		quoted, err := quoteValue(value)
		if err != nil {
			return
		}
		_, got, err := parseLine("x = " + quoted)
		if err != nil || got != value {
			t.Errorf("%q written as %s reads back as %q, %v", value, quoted, got, err)
		}
	})
}
