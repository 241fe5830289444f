package main

import (
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// What direct accepts must mean what the full parser makes of it; what it
// leaves alone may be anything.
func TestDirectMeansTheSame(t *testing.T) {
	tests := []struct {
		line   string
		direct bool
	}{
		{"restore F P", true},
		{"restore F P R", true},
		{"--home H restore F P R", true},
		{"--home=H --pgdata=/d restore F P", true},
		{"restore --home H F --pgdata /d P R", true},
		{"restore --wait F P", true},
		{"restore F P R --wait --poll 250ms --max-wait=3m --trigger /t", true},
		{"restore --max-wait 3m F P", true},
		{"restore --from /a F P", true},
		{"restore --from=/a --from /b F P", true},
		{"archive P F", true},
		{"archive --to /a P F", true},
		{"--home H archive P F", true},
		{"pg_standby -d -k 3 -t /t A F P R", true},
		{"--home H pg_standby A F P", true},
		{"pg_standby --help", true},

		{"restore F", false},
		{"restore F P R more", false},
		{"restore -- F P", false},
		{"restore --help", false},
		{"restore --poll soon F P", false},
		{"restore --from", false},
		{"restore --form /a F P", false},
		{"restore --wait=true F P", false},
		{"restore --home= F P", false},
		{"restore -y F P", false},
		{"archive", false},
		{"archive --to", false},
		{"status", false},
		{"--home", false},
		{"", false},
	}
	for _, tt := range tests {
		args := strings.Fields(tt.line)
		command, g, ok := direct(args)
		if ok != tt.direct {
			t.Errorf("%q: got %t, want %t", tt.line, ok, tt.direct)
		}
		if !ok {
			continue
		}
		var full grammar
		parser, err := kong.New(&full, kong.Name("warmrun"), kong.Writers(io.Discard, io.Discard))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parser.Parse(args); err != nil {
			t.Errorf("%q: the full parser says %v", tt.line, err)
			continue
		}
		if !reflect.DeepEqual(g, full.globals) {
			t.Errorf("%q: got %+v, the full parser says %+v", tt.line, g, full.globals)
		}
		want := map[string]runner{"archive": &full.Archive, "restore": &full.Restore, "pg_standby": &full.PgStandby}[firstWord(args)]
		if !reflect.DeepEqual(command, want) {
			t.Errorf("%q: got %+v, the full parser says %+v", tt.line, command, want)
		}
	}
}
