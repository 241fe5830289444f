package cluster

import (
	"strings"
	"testing"
	"time"
)

func TestFencingLine(t *testing.T) {
	node := Node{Name: "db 1", Host: "10.0.0.1"}
	quote := func(word string) string { return "'" + word + "'" }
	for command, want := range map[string]string{
		"power off %n":            "power off 'db 1'",
		"date +%%s; ipmi %h%h %n": "date +%s; ipmi '10.0.0.1''10.0.0.1' 'db 1'",
		"echo %%n":                "echo %n",
	} {
		f := Fencing{Command: command}
		if err := f.check(); err != nil {
			t.Errorf("%q: %v", command, err)
		}
		if got := f.Line(node, quote); got != want {
			t.Errorf("%q: got %q, want %q", command, got, want)
		}
	}
}

func TestFencingCheck(t *testing.T) {
	for text, f := range map[string]Fencing{
		"no command":        {Timeout: Duration(time.Second)},
		`has "%x"`:          {Command: "power off %x"},
		`has "%" in`:        {Command: "power off 5%"},
		"write it with its": {Command: "power off %n", Timeout: 30},
	} {
		if err := f.check(); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%+v: got %v, want an error with %q", f, err, text)
		}
	}
	if err := (Fencing{}).check(); err != nil {
		t.Errorf("none: %v", err)
	}
}
