package engine

import (
	"cmp"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/warmrun/warmrun/walcore/hint"
)

// paramKinds are the kinds of parameters; each opaque type that can be parsed
// is one more.
func (h Host) paramKinds() []string {
	kinds := []string{"string", "integer", "boolean", "duration", "size", "choice", "node", "time", "secret"}
	for _, o := range h.Opaques {
		if o.Parse != nil {
			kinds = append(kinds, o.Name)
		}
	}
	return kinds
}

// paramDraft is a parameter before its name is known: the name is the key
// under which the runbook has it.
type paramDraft struct {
	kind string
	part *part
}

func (v *vm) draftParam(L *lua.LState, kind string) int {
	what := "param." + kind
	if L.GetTop() == 0 {
		L.Push(L.NewTable())
	}
	return v.push(L, &paramDraft{kind: kind, part: v.part(L, what)})
}

// params reads the parameters of a runbook, in the order of the file.
func (p *part) params() []Param {
	value := p.get("params")
	if value == lua.LNil {
		return nil
	}
	table, ok := value.(*lua.LTable)
	if !ok {
		p.wrong("params", value, "a table such as { wait = param.duration { ... } }")
	}
	var out []Param
	flags, bare := map[string]string{}, ""
	for key, item := table.Next(lua.LNil); key != lua.LNil; key, item = table.Next(key) {
		name, isName := key.(lua.LString)
		ud, ok := item.(*lua.LUserData)
		if !isName || !ok {
			p.mistake("params."+key.String(), "params in %s: write NAME = param.KIND { ... }, with a kind of %s",
				p.what, strings.Join(p.v.book.host.paramKinds(), ", "))
		}
		draft, ok := ud.Value.(*paramDraft)
		if !ok {
			p.mistake("params."+key.String(), "parameter %s is not a param.KIND { ... }", name)
		}
		if !validParam(string(name)) {
			p.mistake("params."+key.String(), "%q cannot be a parameter's name: small letters, digits and _", string(name))
		}
		param := draft.finish(p.L, string(name))
		if other, twice := flags[param.Flag()]; twice {
			p.mistake("params."+key.String(), "parameters %s and %s would both be --%s", other, name, param.Flag())
		}
		flags[param.Flag()] = param.Name
		if bare != "" && param.Bare {
			p.mistake("params."+key.String(), "parameters %s and %s would both take a bare word", bare, name)
		}
		if param.Bare {
			bare = param.Name
		}
		out = append(out, param)
	}
	return out
}

func validParam(name string) bool {
	for i, r := range name {
		if (r < 'a' || r > 'z') && (i == 0 || r != '_' && (r < '0' || r > '9')) {
			return false
		}
	}
	return name != "" && len(name) <= 40
}

func (d *paramDraft) finish(L *lua.LState, name string) Param {
	p := d.part
	p.L, p.what = L, "parameter "+name
	out := Param{Name: name, Type: d.kind, Help: p.text("help"), Required: p.flag("required"), Bare: p.flag("bare")}
	if d.kind == "choice" {
		out.Choices = p.choices()
	}
	value := p.get("default")
	p.finish(0)
	if value == lua.LNil {
		return out
	}
	if out.Required {
		p.mistake("required", "parameter %s has a default and is required", name)
	}
	if value.Type() != lua.LTString && value.Type() != lua.LTNumber && value.Type() != lua.LTBool {
		p.wrong("default", value, "a text")
	}
	out.Default, out.HasDefault = value.String(), true
	if _, err := out.parse(out.Default, Host{Opaques: p.v.book.host.Opaques}); err != nil {
		p.mistake("default", "default in parameter %s: %s", name, err)
	}
	return out
}

func (p *part) choices() []string {
	value := p.get("choices")
	list, ok := value.(*lua.LTable)
	if !ok || list.Len() == 0 {
		p.mistake("choices", "%s has no choices: write choices = { \"a\", \"b\" }", p.what)
	}
	p.listOnly("choices", list)
	var out []string
	for i := 1; i <= list.Len(); i++ {
		item, ok := list.RawGetInt(i).(lua.LString)
		if !ok {
			p.wrong("choices", list.RawGetInt(i), "strings")
		}
		out = append(out, string(item))
	}
	return out
}

// parse reads an argument of the parameter. What a runbook sees: strings,
// durations and choices are texts, times are texts of RFC 3339, integers and
// sizes (in bytes) are numbers, booleans are booleans, a node is what Host.Node
// makes of it, a secret is a Secret, and an opaque type has its own values.
func (p Param) parse(text string, host Host) (any, error) {
	switch p.Type {
	case "integer":
		n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		if err != nil || n > 1<<53 || n < -(1<<53) {
			return nil, fmt.Errorf("%q is not a whole number", text)
		}
		return n, nil
	case "boolean":
		b, err := parseBool(text)
		if err != nil {
			return nil, fmt.Errorf("%q is neither true nor false", text)
		}
		return b, nil
	case "duration":
		if _, err := ParseDuration(text); err != nil {
			return nil, err
		}
		return strings.TrimSpace(text), nil
	case "size":
		return ParseSize(text)
	case "choice":
		if !contains(p.Choices, text) {
			return nil, fmt.Errorf("%q is not one of %s%s", text, strings.Join(p.Choices, ", "), meant(text, p.Choices))
		}
	case "node":
		if strings.TrimSpace(text) == "" || strings.ContainsAny(text, " \t\n") {
			return nil, fmt.Errorf("%q is not a node's name", text)
		}
		if host.Node != nil {
			return host.Node(text)
		}
	case "time":
		return parseTime(text)
	case "secret":
		if host.Secret != nil {
			return host.Secret(text)
		}
	}
	for _, o := range host.Opaques {
		if o.Name == p.Type && o.Parse != nil {
			return o.Parse(strings.TrimSpace(text))
		}
	}
	return text, nil
}

// parseTime reads a moment as people and PostgreSQL write it. One without its
// zone is refused, because the nodes may be in different ones. The result is
// exact to the digit that was given.
func parseTime(text string) (string, error) {
	const plain = "2006-01-02 15:04:05"
	for _, layout := range []string{time.RFC3339, plain + "Z07:00", plain + "Z07", plain + " -0700", plain + " UTC"} {
		if t, err := time.Parse(layout, strings.TrimSpace(text)); err == nil {
			return t.Format(time.RFC3339Nano), nil
		}
	}
	return "", fmt.Errorf("%q is not a time with its zone: want one such as 2024-05-01T12:00:00Z or \"2024-05-01 14:00:00+02\"", text)
}

// arguments checks what a run was called with. Keys are names or flags
// without the dashes. It gives the values and, for the record, their texts. A plan,
// and a run that goes back, can do without all secrets, others only without those
// that are dispensable: see lost.
func (r *Runbook) arguments(args map[string]string, without bool) (map[string]any, map[string]string, error) {
	values, texts := map[string]any{}, map[string]string{}
	given := map[string]string{}
	for _, key := range sortedKeys(args) {
		name := paramOf(key)
		if !r.hasParam(name) {
			return nil, nil, &ParamError{Param: key, Err: hint.Wrap(
				fmt.Errorf("%s has no flag --%s%s", r.Name, strings.ReplaceAll(strings.TrimLeft(key, "-"), "_", "-"), r.meantFlag(key)),
				"warmrun %s --help lists its flags; a site's own %[1]s needs all that the shipped one has, for other runbooks give them", r.Name)}
		}
		given[name] = args[key]
	}
	for _, p := range r.Params {
		text, ok := given[p.Name]
		switch {
		case !ok && p.Required:
			return nil, nil, &ParamError{Param: p.Name, Err: fmt.Errorf("%s needs --%s", r.Name, p.Flag())}
		case !ok && p.HasDefault:
			text, ok = p.Default, true
		}
		if !ok {
			values[p.Name] = nil
			if p.Type == "boolean" {
				values[p.Name] = false
			}
			continue
		}
		value, err := p.parse(text, r.book.host)
		if err != nil && p.Type == "secret" {
			if without || p.Dispensable {
				value, err = lostSecret(err), nil
			} else {
				err = hint.Wrap(err, "nothing was done; %s", cmp.Or(hint.Of(err), "mend that file"))
			}
		}
		if err != nil {
			return nil, nil, &ParamError{Param: p.Name, Err: fmt.Errorf("--%s: %w", p.Flag(), err)}
		}
		values[p.Name], texts[p.Name] = value, text
	}
	return values, texts, nil
}

// paramOf is the parameter that a key of arguments names: by its own name, or by
// its flag.
func paramOf(key string) string {
	return strings.ReplaceAll(strings.TrimLeft(key, "-"), "-", "_")
}

func (r *Runbook) hasParam(name string) bool {
	for _, p := range r.Params {
		if p.Name == name {
			return true
		}
	}
	return false
}

func (r *Runbook) meantFlag(key string) string {
	var flags []string
	for _, p := range r.Params {
		flags = append(flags, "--"+p.Flag())
	}
	return didYouMean("--"+strings.TrimLeft(key, "-"), flags)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
