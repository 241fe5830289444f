package engine

import (
	"context"
	"errors"
	"testing"
	"time"
)

// FuzzLoad: no text may panic, hang or end the process; whatever loads can be
// planned.
func FuzzLoad(f *testing.F) {
	for _, seed := range []string{
		"", "return runbook {}", "#!/usr/bin/env warmrun\nreturn 1", "while true do end", "return runbook runbook",
		bookText("steps = { " + goodStep + " }"),
		bookText(`params = { a = param.choice { choices = { "x" } }, b = param.size { default = "1MB" } },
checks = { check { "c", function(c) return c.node == "db1" end, "why", retries = 1, delay = "1ms" } },
steps = { step { "s", run = function(c) if pg_ctl.stop(c.node).state == "x" then fail("x") end end, done_if = function(c) return false end } }`),
		`local t = setmetatable({}, { __index = function(t, k) return k end }) return t.x .. #t`,
		`return pcall(string.rep, "x", 1e9)`, `goto x ::x:: return 1`, `for i = 1, 10 do local x <const> = 1 end`,
		"return step { [1] = 'x', [2.5] = 3, [{}] = 4 }", `return param.integer()`, `local a <close> = 1`,
		`return ("x"):gsub("(", "%1")`, `return table.concat({ {} })`, `return lsn("zz") < lsn(3)`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		began := time.Now()
		defer func() {
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("took %s", took)
			}
		}()
		w := &world{}
		r, err := Load(ctx, Source{Path: "demo.lua", Text: text}, w.host())
		var internal *InternalError
		if errors.As(err, &internal) && internal.Func != "compiler" && internal.Func != "the Lua machine" {
			t.Errorf("internal error: %v\n%s", err, internal.Stack)
		}
		if err != nil {
			return
		}
		if _, err := r.Plan(ctx, nil); errors.As(err, &internal) && internal.Func != "the Lua machine" {
			t.Errorf("plan: %v\n%s", err, internal.Stack)
		}
		if len(w.calls) != 0 {
			t.Errorf("loading or planning changed something: %v", w.calls)
		}
	})
}
