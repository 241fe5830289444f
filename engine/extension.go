package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	lua "github.com/yuin/gopher-lua"
)

// The form of an extension: a site's own steps around those of a runbook, which
// stays as it is. Several files extend one runbook in the order of their names.
//
//	return extension {
//	  api = 1, extends = "switchover", summary = "one line",   -- required
//	  params = { ... }, checks = { ... },                      -- added to the runbook's
//	  before  = { flush = step { "pause", run = ..., undo = ... } },  -- by the name of the runbook's step;
//	  after   = { promote = { step { ... }, step { ... } } },         -- one step or several
//	  replace = { relay = step { "relay", ... } },             -- under the name of the one it replaces
//	  finally = { step { ... } },                              -- at the end, whether the run was done or failed
//	}
//
// A step of an extension may say on_error: "warn" tells of its failure and goes
// on, "fail" ends the run. Without it replace fails and the others warn. The
// functions of finally see c.outcome ("done" or "failed") and c.error.

// extensionDef is what an extension's file returns.
type extensionDef struct {
	extends       string
	part          *part
	params        []Param
	checks        []*checkDef
	before, after map[string][]*stepDef
	replace       map[string][]*stepDef
	finally       []*stepDef
}

const (
	onErrorWarn = "warn"
	onErrorFail = "fail"
)

func (v *vm) makeExtension(L *lua.LState) int {
	p := v.part(L, "extension")
	e := &extensionDef{part: p}
	if api, ok := p.get("api").(lua.LNumber); !ok || api != apiVersion {
		p.mistake("api", "extension has no api = %d, the form it is written in", apiVersion)
	}
	e.extends = p.required("extends")
	p.what = "extension of " + e.extends
	p.required("summary")
	e.params = p.params()
	e.checks = parts[*checkDef](p, "checks", "check")
	e.before, e.after = p.stepsByName("before", onErrorWarn), p.stepsByName("after", onErrorWarn)
	e.replace = p.stepsByName("replace", onErrorFail)
	e.finally = parts[*stepDef](p, "finally", "step")
	p.finish(0)
	for _, s := range e.finally {
		switch {
		case s.OnError == onErrorFail:
			p.mistakeOf(s, "step %s cannot fail a run that has ended: on_error in finally is \"warn\"", s.Name)
		case s.undo != nil, s.Irreversible, s.leaves != nil:
			p.mistakeOf(s, "step %s is in finally, which is never undone: it has no undo, irreversible or leaves", s.Name)
		}
		s.OnError, s.extension = onErrorWarn, true
	}
	return v.push(L, e)
}

// mistakeOf is mistake at a step.
func (p *part) mistakeOf(s *stepDef, format string, args ...any) {
	p.L.Error(lua.LString(fmt.Sprintf("%s:%d: ", s.file, s.Line)+fmt.Sprintf(format, args...)), 0)
}

// stepsByName reads { STEP = step { ... } } or { STEP = { step { ... }, ... } }.
func (p *part) stepsByName(key, onError string) map[string][]*stepDef {
	value := p.get(key)
	if value == lua.LNil {
		return nil
	}
	table, ok := value.(*lua.LTable)
	if !ok {
		p.wrong(key, value, "a table such as { STEP = step { ... } }")
	}
	out := map[string][]*stepDef{}
	for name, item := table.Next(lua.LNil); name != lua.LNil; name, item = table.Next(name) {
		at := key + "." + name.String()
		if name.Type() != lua.LTString {
			p.mistake(key, "%s in %s: write STEP = step { ... }, with the name of a step of %s", key, p.what, p.what)
		}
		for _, one := range p.oneOrMore(at, item) {
			if one.Irreversible && key != "replace" {
				p.mistakeOf(one, "step %s is irreversible, which only a step that replaces one of the runbook's may be", one.Name)
			}
			if one.OnError == "" {
				one.OnError = onError
			}
			one.extension = true
			out[name.String()] = append(out[name.String()], one)
		}
	}
	return out
}

func (p *part) oneOrMore(at string, item lua.LValue) []*stepDef {
	if ud, ok := item.(*lua.LUserData); ok {
		if s, isStep := ud.Value.(*stepDef); isStep {
			return []*stepDef{s}
		}
	}
	list, ok := item.(*lua.LTable)
	if !ok {
		p.mistake(at, "%s in %s is not a step: write step { ... }", at, p.what)
	}
	p.listOnly(at, list)
	var out []*stepDef
	for i := 1; i <= list.Len(); i++ {
		if ud, ok := list.RawGetInt(i).(*lua.LUserData); ok {
			if s, isStep := ud.Value.(*stepDef); isStep {
				out = append(out, s)
				continue
			}
		}
		p.mistake(at, "item %d of %s in %s is not a step: write step { ... }", i, at, p.what)
	}
	return out
}

// extend runs the extensions' files and puts their parts into the runbook.
func (b *book) extend(ctx context.Context, v *vm) error {
	chunks, err := b.extensionsOf(v.def.book.Name)
	if err != nil {
		return err
	}
	for _, c := range chunks {
		value, err := v.exec(ctx, c)
		if err != nil {
			return b.loadError(err)
		}
		ud, _ := value.(*lua.LUserData)
		var e *extensionDef
		if ud != nil {
			e, _ = ud.Value.(*extensionDef)
		}
		if e == nil {
			return fmt.Errorf("%s: the file must end in return extension { ... }, and returns %s", c.source.file(), v.withArticle(value))
		}
		if err := v.def.extend(e); err != nil {
			return err
		}
	}
	v.def.list()
	return nil
}

// extensionsOf compiles the extensions once: they are pinned like the runbook.
func (b *book) extensionsOf(name string) ([]*chunk, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.host.Extensions == nil || b.extended {
		return b.extensions, nil
	}
	sources, err := b.host.Extensions(name)
	if err != nil {
		return nil, err
	}
	for _, src := range sources {
		src.Extension = true
		b.tried = append(b.tried, src)
		c, err := compile(src)
		if err != nil {
			return nil, err
		}
		b.extensions = append(b.extensions, c)
	}
	b.extended = true
	return b.extensions, nil
}

// extend adds one extension to the runbook.
func (d *definition) extend(e *extensionDef) error {
	at := func(key, format string, args ...any) error {
		return errors.New(e.part.at.of(key) + ": " + fmt.Sprintf(format, args...))
	}
	if e.extends != d.book.Name {
		return at("extends", "the file lies beside runbook %s and extends %s", d.book.Name, e.extends)
	}
	for _, p := range e.params {
		if slices.ContainsFunc(d.book.Params, func(other Param) bool { return other.Flag() == p.Flag() }) {
			return at("params."+p.Name, "runbook %s has a parameter %s already", d.book.Name, p.Name)
		}
	}
	for _, p := range e.params {
		p.Dispensable = p.Type == "secret" && e.outlived()
		d.book.Params = append(d.book.Params, p)
	}
	d.checks = append(d.checks, e.checks...)
	for _, group := range []struct {
		key   string
		steps map[string][]*stepDef
	}{{"replace", e.replace}, {"before", e.before}, {"after", e.after}} {
		for _, name := range sortedKeys(group.steps) {
			if complaint := d.insert(group.key, name, group.steps[name]); complaint != "" {
				return at(group.key+"."+name, "%s: %s", group.key, complaint)
			}
		}
	}
	d.finally = append(d.finally, e.finally...)
	return d.unique()
}

// outlived reports whether a run goes on whatever becomes of the extension.
func (e *extensionDef) outlived() bool {
	for _, group := range []map[string][]*stepDef{e.before, e.after, e.replace} {
		for _, steps := range group {
			if slices.ContainsFunc(steps, func(s *stepDef) bool { return s.OnError != onErrorWarn }) {
				return false
			}
		}
	}
	return len(e.checks) == 0
}

// insert puts steps before, after or in the place of a step of the runbook. It
// gives what is wrong with them.
func (d *definition) insert(key, name string, steps []*stepDef) string {
	i := slices.IndexFunc(d.steps, func(s *stepDef) bool { return s.Name == name && (!s.extension || s.replaced) })
	if i < 0 {
		var own []string
		for _, s := range d.steps {
			if !s.extension || s.replaced {
				own = append(own, s.Name)
			}
		}
		return fmt.Sprintf("runbook %s has no step %s%s", d.book.Name, name, didYouMean(name, own))
	}
	switch key {
	case "replace":
		if len(steps) != 1 || steps[0].Name != name {
			return fmt.Sprintf("the step that takes the place of %s must be one, and be called %s too: others look at its result", name, name)
		}
		if d.steps[i].replaced {
			return fmt.Sprintf("another extension has replaced step %s already", name)
		}
		if d.steps[i].Irreversible && !steps[0].Irreversible {
			return fmt.Sprintf("step %s of the runbook is irreversible, and so must be the one that takes its place: write irreversible = true", name)
		}
		if steps[0].Outage == "" && d.steps[i].Outage != "" {
			steps[0].Outage, steps[0].Mark = d.steps[i].Outage, cmp.Or(steps[0].Mark, d.steps[i].Mark)
		}
		steps[0].replaced = true
		d.steps[i] = steps[0]
	case "before":
		d.steps = slices.Insert(d.steps, i, steps...)
	case "after":
		for i++; i < len(d.steps) && d.steps[i].follows == name; i++ {
		}
		for _, s := range steps {
			s.follows = name
		}
		d.steps = slices.Insert(d.steps, i, steps...)
	}
	return ""
}

// unique refuses two steps or checks of one name.
func (d *definition) unique() error {
	lines := map[string]string{}
	for _, s := range append(slices.Clone(d.steps), d.finally...) {
		here := fmt.Sprintf("%s:%d", s.file, s.Line)
		if first, twice := lines[s.Name]; twice {
			return fmt.Errorf("%s: a second step %s, the first is %s", here, s.Name, first)
		}
		lines[s.Name] = here
	}
	return nil
}

// list describes the steps and checks as they are now.
func (d *definition) list() {
	b := &d.book
	b.Steps, b.Checks, b.Finally = nil, nil, nil
	for _, s := range d.steps {
		b.Steps = append(b.Steps, s.StepInfo)
	}
	for _, s := range d.finally {
		b.Finally = append(b.Finally, s.StepInfo)
	}
	for _, c := range d.checks {
		b.Checks = append(b.Checks, c.CheckInfo)
	}
}
