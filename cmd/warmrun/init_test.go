package main

import (
	"strings"
	"testing"

	"github.com/warmrun/warmrun/walcore/cluster"
)

func TestNamedNode(t *testing.T) {
	for text, want := range map[string]cluster.Node{
		"db2":                       {Name: "db2", Host: "db2", PGData: "/data"},
		"db2=db2.example.com":       {Name: "db2", Host: "db2.example.com", PGData: "/data"},
		"db2=10.0.0.2:/srv/pg/data": {Name: "db2", Host: "10.0.0.2", PGData: "/srv/pg/data"},
		"db2:/srv/pg/data":          {Name: "db2", Host: "db2", PGData: "/srv/pg/data"},
		"db2=fd00::2:/srv/data":     {Name: "db2", Host: "fd00::2", PGData: "/srv/data"},
	} {
		want.Role = cluster.RolePair
		if got := namedNode(text, cluster.RolePair, "/data"); got != want {
			t.Errorf("%s: got %+v, want %+v", text, got, want)
		}
	}
}

// What the flags leave out is asked for; an empty answer takes what is usual,
// and where nothing is, the question comes again.
func TestInitAsks(t *testing.T) {
	for _, test := range []struct {
		flags   initCommand
		answers string
		want    initCommand
		asked   int
	}{
		{initCommand{}, "\n\n\ndb2=db2.example.com\n\n", initCommand{Name: "db1", Host: "db1.example.com", Standby: "db2=db2.example.com"}, 5},
		{initCommand{}, "a\n10.0.0.1\nb\nc=10.0.0.3\n", initCommand{Name: "a", Host: "10.0.0.1", Standby: "b", DR: "c=10.0.0.3"}, 4},
		{initCommand{Name: "a", Standby: "b", DR: "c"}, "\n", initCommand{Name: "a", Host: "db1.example.com", Standby: "b", DR: "c"}, 1},
	} {
		var questions strings.Builder
		got := test.flags
		if err := got.askFor(strings.NewReader(test.answers), &questions, "db1", "db1.example.com"); err != nil || got != test.want {
			t.Errorf("%q: got %+v, %v; want %+v", test.answers, got, err, test.want)
		}
		if asked := strings.Count(questions.String(), ": "); asked != test.asked {
			t.Errorf("%q: asked %d times, want %d: %s", test.answers, asked, test.asked, questions.String())
		}
	}
	var c initCommand
	if err := c.askFor(strings.NewReader("a\n"), &strings.Builder{}, "", ""); err == nil {
		t.Error("want an error where the answers end")
	}
}
