package main

import "testing"

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
		{"narrower than any indent\n", 3, "narrower than any indent\n"},
	} {
		if got := fold(tt.text, tt.columns); got != tt.want {
			t.Errorf("fold at %d:\n got %q\nwant %q", tt.columns, got, tt.want)
		}
	}
}
