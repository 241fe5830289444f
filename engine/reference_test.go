package engine

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/yuin/gopher-lua/parse"
)

// TestFormIsDescribed: the reference knows exactly the keys that the form takes.
// A key that nobody knows makes the form list its own.
func TestFormIsDescribed(t *testing.T) {
	known := regexp.MustCompile(`\(known: (.*)\)`)
	step := `step { "a", run = function(c) end`
	for what, test := range map[string]struct {
		text string
		keys []FieldRef
	}{
		"step":  {bookText(`steps = { ` + step + `, qqqqqqqqqqqq = 1 } }`), stepKeys()},
		"check": {bookText(`checks = { check { "a", function(c) end, qqqqqqqqqqqq = 1 } }`), wordNamed("check").Keys},
		"param": {bookText(`params = { a = param.choice { choices = { "a" }, qqqqqqqqqqqq = 1 } }`), paramKeys()},
		"runbook": {`return runbook { api = 1, name = "demo", summary = "s", runs_on = "any", steps = { ` + step + ` } }, qqqqqqqqqqqq = 1 }`,
			runbookKeys()},
		"extension": {`return extension { api = 1, extends = "demo", summary = "s", qqqqqqqqqqqq = 1 }`, extensionKeys()},
	} {
		_, err := Load(t.Context(), Source{Path: "demo.lua", Text: test.text}, Host{})
		found := known.FindStringSubmatch(fmt.Sprint(err))
		if found == nil {
			t.Errorf("%s: got %v, want a list of the known keys", what, err)
			continue
		}
		got := strings.Split(found[1], ", ")
		var want []string
		for _, key := range test.keys {
			want = append(want, key.Name)
		}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: the form takes %q, the reference describes %q", what, got, want)
		}
	}
}

// TestTestFormIsDescribed: the same for files that test a runbook.
func TestTestFormIsDescribed(t *testing.T) {
	for text, want := range map[string][]FieldRef{
		`return test { runbook = "demo", case { "a", qqqqqqqqqqqq = 1 } }`: caseKeys(),
		`return test { runbook = "demo", qqqqqqqqqqqq = 1, case { "a" } }`: wordNamed("test").Keys,
	} {
		_, _, err := loadTest(t.Context(), Source{Path: "demo_test.lua", Text: text}, Host{})
		var names []string
		for _, key := range want {
			names = append(names, key.Name)
		}
		slices.Sort(names)
		if !strings.Contains(fmt.Sprint(err), "(known: "+strings.Join(names, ", ")+")") {
			t.Errorf("got %v, the reference describes %q", err, names)
		}
	}
}

func wordNamed(name string) Word {
	for _, w := range formWords() {
		if w.Name == name {
			return w
		}
	}
	return Word{}
}

// TestWordsAreDescribed: every global that a script can use is in the reference,
// and nothing else.
func TestWordsAreDescribed(t *testing.T) {
	host := (&world{}).host()
	r, err := host.Reference()
	if err != nil {
		t.Fatal(err)
	}
	described := []string{"param", "string", "table", "math"}
	for _, w := range r.Words {
		if w.Tests {
			continue
		}
		described = append(described, w.Name)
	}
	for _, o := range r.Opaques {
		described = append(described, o.Name)
	}
	for _, m := range r.Modules {
		described = append(described, m.Name)
	}
	v, err := newVM(&book{limits: usualLimits, host: host, main: &chunk{}, sigs: map[string]*signature{}, values: valueTypes(host)}, false)
	if err != nil {
		t.Fatal(err)
	}
	globals := keysOf(v.globals)
	slices.Sort(globals)
	slices.Sort(described)
	if !slices.Equal(globals, described) {
		t.Errorf("scripts see %q\nthe reference has %q", globals, described)
	}
}

func TestReferenceTexts(t *testing.T) {
	r, err := (&world{}).host().Reference()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"LuaLS": r.LuaLS(), "luacheck": r.Luacheck()} {
		if _, err := parse.Parse(strings.NewReader(text), name); err != nil {
			t.Errorf("%s is no Lua: %v", name, err)
		}
	}
	for _, want := range []string{
		"---@class (exact) lsn: userdata\n---@operator sub(lsn): number\n---@param text string\n---@return lsn\nfunction lsn(text) end\n",
		"---@class (exact) stopOptions\n---@field mode? string\n---@field timeout? duration\n---@field retries? integer\n---@field upto? lsn\n---@field also? string[]\n---@field quick? boolean\n",
		"---@class (exact) control\n---@field state string\n---@field checkpoint lsn\n---@field system_id string\n---@field modified_at string\n---@field Age number\n---@field note? string\n---@field Names string[]\n",
		"--- (change)\n---@param node string\n---@param options? stopOptions\n---@return control\nfunction pg_ctl.stop(node, options) end\n",
		"---@param node string\n---@param sql string\n---@param ... any\nfunction psql.exec(node, sql, ...) end\n",
		"---@param text? string|nil\n---@return string\nfunction test.maybe(text) end\n",
		"function param.lsn(table) end\n",
		"---@param local_ string\nfunction test.keyword(local_) end\n",
		"---@class (exact) case_table\n---@field params? table<string, any> the flags\n",
	} {
		if !strings.Contains(r.LuaLS(), want) {
			t.Errorf("the annotations lack\n%s", want)
		}
	}
	for _, want := range []string{"#### pg_ctl.stop(node, { options })\n\n**change**: . Returns `control`.", "| `timeout` | `duration` |", "#### psql.value(node, sql, ...)"} {
		if !strings.Contains(r.Markdown(), want) {
			t.Errorf("the manual lacks %s", want)
		}
	}
}
