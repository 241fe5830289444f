package engine

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func planOf(t *testing.T, host Host, text string) *Plan {
	t.Helper()
	plan, err := mustLoad(t, bookText(text), host).Plan(t.Context(), nil)
	if err != nil {
		t.Fatalf("plan: %v", err)
	}
	return plan
}

func TestPlan(t *testing.T) {
	w := &world{state: "in production"}
	plan := planOf(t, w.host(), `
params = { drain = param.duration { default = "60s" }, node_name = param.string { default = "x" } },
checks = {
  check { "is primary", function(c) return pg_ctl.control(c.node).state == "in production" end },
  check { "standby is there", function(c) return false, "db2 does not answer" end, hint = "start it first" },
},
steps = {
  step { "nothing", run = function(c) say("looking") pg_ctl.control(c.node) end },
  step { "skipped", when = function(c) return false end, run = function(c) pg_ctl.stop(c.node) end },
  step { "already", done_if = function(c) return pg_ctl.control(c.node).state == "in production", "as result" end,
    run = function(c) pg_ctl.stop(c.node) end },
  step { "checkpoint", run = function(c) psql.exec(c.node, "CHECKPOINT") return c.results.already end },
  step { "stop", timeout = "30m", confirm = "Stop the primary?",
    run = function(c)
      if c.results.checkpoint == "as result" then
        return pg_ctl.stop(c.node, { mode = "fast", timeout = c.params.drain, also = { "a", "b c" } })
      end
    end,
    undo = function(c) pg_ctl.start(c.node) end },
  step { "use it", run = function(c) psql.exec(c.node, "SELECT $1", c.results.stop)
    local state = c.results.stop.state
    pg_ctl.start("never reached: " .. state) end },
  step { "waits", run = function(c) pg_ctl.wait_ready(c.partner) end },
  step { "promote", irreversible = true, confirm = function(c) return "Promote " .. c.partner .. "?" end,
    run = function(c) return pg_ctl.promote(c.partner) end },
  step { "again", done_if = function(c) return true end, when = function(c) return false end,
    run = function(c) pg_ctl.start(c.node) end },
  step { "depends", irreversible = true, when = function(c) return c.results.promote > lsn("0/1") end, run = function(c) pg_ctl.start(c.node) end },
  step { "broken", run = function(c) test.fail("cannot look") end },
}`)
	diff(t, "plan", plan.Text(), `Plan of demo: a demonstration
Nothing is changed by planning.

Parameters
  --drain 60s
  --node-name x

Checks
  ok      is primary
  FAILED  standby is there: db2 does not answer
          start it first

Steps
   1. nothing
        says: looking
   2. skipped: skipped
   3. already: already done
   4. checkpoint
        psql.exec db1 "CHECKPOINT"
   5. stop
        asks: Stop the primary?
        pg_ctl.stop db1 {also={"a", "b c"}, mode="fast", timeout="60s"}
   6. use it
        psql.exec db1 "SELECT $1" <the result of pg_ctl.stop>
        unknown from here: depends on the result of pg_ctl.stop
   7. waits
        pg_ctl.wait_ready db2
  -- no return from here --
   8. promote
        asks: Promote db2?
        pg_ctl.promote db2
   9. again
        (not needed as things stand now)
        (already done as things stand now, before the changes above)
        start the server on db1
  10. depends
        (whether it runs depends on the result of pg_ctl.promote)
        start the server on db1
  11. broken
        as things stand now it fails: cannot look
`)
	if !plan.Failed() {
		t.Error("a failing check does not make the plan fail")
	}
	if len(w.calls) != 0 {
		t.Errorf("planning did %v", w.calls)
	}
	if _, err := json.Marshal(plan); err != nil {
		t.Errorf("json: %v", err)
	}
}

// TestUnknown: whatever would learn something from an unknown value ends the
// planning of the step; keeping it and passing it on does not.
func TestUnknown(t *testing.T) {
	const depends = "unknown from here: depends on the result of pg_ctl.promote"
	for _, use := range []string{
		`u.field = 1`, `if u.field then end`, `local x = u.a.b + 1`, `local x = u[u]`, `u()`, `u:method()`,
		`local x = u + 1`, `local x = 1 - u`, `local x = -u`, `local x = #u`, `local x = u .. "x"`, `local x = "x" .. u`,
		`local x = u == 1`, `local x = "shut down" == u`, `local x = u ~= nil`, `local x = u < 1`, `local x = 1 >= u`,
		`if u then end`, `if not u then end`, `local x = u and 1`, `local x = u or 1`, `while u do break end`,
		`repeat until u`, `for i = 1, u do end`, `for k, v in pairs(u) do end`, `for k in u do end`,
		`local x = tostring(u)`, `local x = type(u)`, `local x = string.format("%s", u)`, `local x = table.concat({ u })`,
		`local x = select("#", u)`, `local x = next(u)`, `fail("%s", u)`, `error(u)`, `assert(u)`,
		`pcall(function() if u then end end)`, `xpcall(function() return u.x + 1 end, function() end)`,
		`local x = pg_ctl.control(u)`, `local x = test.options("a", { mode = u })`, `local x = psql.value("a", "b", u)`,
		`local x = lsn(u)`, `local t = { u } if t[1] then end`,
	} {
		plan := planOf(t, (&world{}).host(), `steps = { step { "one", run = function(c)
local u = pg_ctl.promote(c.node)
`+use+`
psql.exec(c.node, "reached") end } }`)
		text := plan.Text()
		if !strings.Contains(text, depends) || strings.Contains(text, "reached") {
			t.Errorf("%s:\n%s", use, text)
		}
	}
	for _, use := range []string{
		`local x = u`, `local x = u.field`, `local x = u[1].y`, `psql.exec(c.node, "x", u.field)`, `local t = { a = u }`, `say("%s", u)`, `psql.exec(c.node, "x", u)`, `pg_ctl.start(u)`,
		`pg_ctl.stop(c.node, { mode = u })`, `pcall(function(x) return x end, u)`, `local function f(x) return x end f(u)`,
	} {
		plan := planOf(t, (&world{}).host(), `steps = { step { "one", run = function(c)
local u = pg_ctl.promote(c.node)
`+use+`
psql.exec(c.node, "reached") return u end },
step { "two", run = function(c) psql.exec(c.node, "step two") return c.results.one.x + 1 end } }`)
		text := plan.Text()
		if !strings.Contains(text, `"reached"`) || !strings.Contains(text, `"step two"`) || plan.Steps[0].Unknown != "" {
			t.Errorf("%s:\n%s", use, text)
		}
		if got := plan.Steps[1].Unknown; got != "the result of pg_ctl.promote" {
			t.Errorf("%s: the second step depends on %q", use, got)
		}
	}
}

func TestPlanOfStepsWithoutResult(t *testing.T) {
	plan := planOf(t, (&world{}).host(), `steps = {
  step { "a", run = function(c) local x = pg_ctl.promote(c.node).x + 1 end },
  step { "b", run = function(c) return c.results.a.y + 1 end },
  step { "c", run = function(c) return c.results.d end },
  step { "d", run = function(c) end },
}`)
	if got := plan.Steps[1].Unknown; got != "the result of step a" {
		t.Errorf("got %q", got)
	}
	if got := plan.Steps[2]; got.Unknown != "" || got.Problem != "" {
		t.Errorf("a later step's result is nil, as in a run: got %+v", got)
	}
}

func TestPlanStops(t *testing.T) {
	r := mustLoad(t, bookText(`steps = { step { "one", run = function(c) test.hang() end } }`), (&world{}).host())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := r.Plan(ctx, nil)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
	r = mustLoad(t, bookText(`checks = { check { "a", function(c) test.panic() end } }, steps = { `+goodStep+` }`), (&world{}).host())
	var internal *InternalError
	if _, err := r.Plan(t.Context(), nil); !errors.As(err, &internal) {
		t.Errorf("got %v, want an internal error", err)
	}
	var wrong *ParamError
	if _, err := r.Plan(t.Context(), map[string]string{"x": "y"}); !errors.As(err, &wrong) {
		t.Errorf("got %v, want a *ParamError", err)
	}
}

func TestPlanningIsKnown(t *testing.T) {
	var planning []bool
	host := Host{Modules: []Module{{Name: "m", Funcs: []Func{
		{Name: "look", Fn: func(ctx context.Context) error { planning = append(planning, Planning(ctx)); return nil }},
		{Name: "sub", Effect: Change, Plans: true, Fn: func(ctx context.Context) (string, error) {
			planning = append(planning, Planning(ctx))
			return "line one\nline two\n", nil
		}},
	}}}}
	r := mustLoad(t, bookText(`steps = { step { "one", run = function(c) m.look() m.sub() end } }`), host)
	plan, err := r.Plan(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Run(t.Context(), nil, RunOptions{}); err != nil {
		t.Fatal(err)
	}
	if len(planning) != 4 || !planning[0] || !planning[1] || planning[2] || planning[3] {
		t.Errorf("got %v, want true true false false", planning)
	}
	if got := strings.Join(plan.Steps[0].Lines, "|"); got != "  line one|  line two" {
		t.Errorf("got %q", got)
	}
}
