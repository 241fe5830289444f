package engine

import "testing"

// TestLastingChange: what a run that failed has changed and not taken back is
// known from its journal.
func TestLastingChange(t *testing.T) {
	const inner = `steps = { step { "keeps", undo = false, run = function(c) site.set("x") end }, step { "fails", run = function(c) fail("no") end } }`
	for _, test := range []struct {
		name, steps string
		want        bool
	}{
		{"looks", `step { "look", run = function(c) return site.has("a") end }`, false},
		{"is refused", `step { "ask", undo = false, run = function(c) site.refuse() end }`, false},
		{"is undone", `step { "set", run = function(c) site.set("a") end, undo = function(c) site.unset("a") end }`, false},
		{"keeps something", `step { "set", undo = false, run = function(c) site.set("a") end }`, true},
		{"is not undone", `step { "set", run = function(c) site.set("a") end, undo = function(c) fail("no") end }`, true},
		{"runs another", `step { "nested", run = function(c) site.run("inner") end }`, true},
		{"undoes another by itself", `step { "nested", run = function(c) site.run("inner") end, undo = function(c) site.unset("x") end }`, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &ground{set: map[string]bool{}, journals: map[string][][]byte{}, texts: map[string]string{"inner": named3("inner", inner)}}
			text := bookText(`steps = { ` + test.steps + `, step { "end", run = function(c) fail("no") end } }`)
			err := s.run(t.Context(), text, "top", &History{})
			if err == nil {
				t.Fatal("it has not failed")
			}
			got := History{Events: must(s.events(mustLoad(t, text, s.host()), "top"))}.Summary()
			if got.Changed != test.want {
				t.Errorf("its journal says that it has changed something: %t, want %t; %+v, %v", got.Changed, test.want, got, err)
			}
		})
	}
}
