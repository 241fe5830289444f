package main

import (
	"bytes"
	"testing"
)

func TestFold(t *testing.T) {
	const long = "  1. stop\n       stop the server on db1: no new connections\n"
	for _, tt := range []struct {
		text    string
		columns int
		want    string
	}{
		{long, 0, long},
		{long, 80, long},
		{long, 40, "  1. stop\n       stop the server on db1: no new\n         connections\n"},
		{"       stop the server on db1: no new connections, then a fast stop\n", 32,
			"       stop the server on db1:\n         no new connections,\n         then a fast stop\n"},
		{"    /a/path/that/has/no/blank/in/it/and/so/stays/whole\n", 30, "    /a/path/that/has/no/blank/in/it/and/so/stays/whole\n"},
		{"    \x1b[32mdone\x1b[0m in a colour that is not counted, up to here\n", 52, "    \x1b[32mdone\x1b[0m in a colour that is not counted, up to here\n"},
		{"no end of line in it at all\nand none here", 25, "no end of line in it at\n  all\nand none here"},
		{"narrower than any indent\n", 3, "narrower than any indent\n"},
	} {
		if got := fold(tt.text, tt.columns); got != tt.want {
			t.Errorf("fold at %d:\n got %q\nwant %q", tt.columns, got, tt.want)
		}
	}
}

// A progress bar moves by itself and must not be broken up.
func TestFolder(t *testing.T) {
	var out bytes.Buffer
	f := &folder{to: &out, columns: 30}
	for _, text := range []string{"one two three four five six seven\n", "\r 10% of something that is quite long", "\r100%\n"} {
		if n, err := f.Write([]byte(text)); n != len(text) || err != nil {
			t.Errorf("write: %d, %v", n, err)
		}
	}
	if got, want := out.String(), "one two three four five six\n  seven\n\r 10% of something that is quite long\r100%\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
