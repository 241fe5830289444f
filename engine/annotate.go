package engine

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/yuin/gopher-lua/parse"
)

const generated = "made by warmrun runbook types; changes are lost"

// LuaLS is the registry as annotations for the Lua language server.
func (r Reference) LuaLS() string {
	var b strings.Builder
	fmt.Fprintf(&b, "---@meta\n-- What runbooks can write and call: %s.\n\n", generated)
	b.WriteString("---A length of time with its unit, such as \"30s\", \"5min\" or \"1h30m\".\n---@alias duration string\n\n")
	for _, o := range r.Opaques {
		fmt.Fprintf(&b, "---@class (exact) %s: userdata\n", o.Name)
		if o.Sub != nil {
			fmt.Fprintf(&b, "---@operator sub(%s): number\n", o.Name)
		}
		if o.Parse != nil {
			fmt.Fprintf(&b, "---@param text string\n---@return %s\nfunction %[1]s(text) end\n", o.Name)
		}
		b.WriteString("\n")
	}
	b.WriteString("---@class (exact) secret: userdata\n\n")
	b.WriteString("---@class (exact) nodes: { [integer]: string }\n---@field at_once? integer\n---@field keep_going? boolean\n\n")
	for _, name := range []string{"step", "check", "param", "runbook", "extension", "test", "case"} {
		fmt.Fprintf(&b, "---@class (exact) %s: userdata\n\n", name)
	}
	classText(&b, "context", r.Fields)
	for _, c := range r.Classes {
		classText(&b, c.Name, c.Fields)
	}
	for _, w := range r.Words {
		if w.Own {
			w.luaLS(&b)
		}
	}
	r.kindsText(&b)
	for _, m := range r.Modules {
		fmt.Fprintf(&b, "---%s\n%s = {}\n\n", m.Doc, m.Name)
		for _, f := range m.Funcs {
			functionText(&b, m.Name+"."+f.Name, f.Doc+" ("+f.Effect.String()+")", f.Args, f.Results)
		}
	}
	return b.String()
}

func classText(b *strings.Builder, name string, fields []FieldRef) {
	fmt.Fprintf(b, "---@class (exact) %s\n", name)
	for _, f := range fields {
		name := f.Name
		if name == "end" { // a word of Lua
			name = `["end"]`
		}
		if f.Optional {
			name += "?"
		}
		fmt.Fprintf(b, "%s\n", strings.TrimRight(fmt.Sprintf("---@field %s %s %s", name, f.Type, f.Doc), " "))
	}
	b.WriteString("\n")
}

// luaLS writes a word of the form: its table as a class, and the function.
func (w Word) luaLS(b *strings.Builder) {
	args := w.Takes
	if w.Keys != nil {
		fields := slices.Clone(w.Keys)
		for i, item := range w.Items {
			fields = append(fields, FieldRef{Name: fmt.Sprintf("[%d]", i+1), Type: item.Type, Doc: item.Doc, Optional: item.Optional})
		}
		classText(b, w.Name+"_table", fields)
		args = []ArgRef{{Name: "table", Type: w.Name + "_table"}}
	}
	var results []string
	if w.Returns != "" {
		results = []string{w.Returns}
	}
	functionText(b, w.Name, w.Doc, args, results)
}

func (r Reference) kindsText(b *strings.Builder) {
	classText(b, "param_table", paramKeys())
	b.WriteString("---the kinds of parameters\nparam = {}\n\n")
	for _, kind := range r.Kinds {
		functionText(b, "param."+kind, "", []ArgRef{{Name: "table", Type: "param_table", Optional: true}}, []string{"param"})
	}
}

// variable is a name that may stand for an argument: no word of Lua.
func variable(name string) string {
	if _, err := parse.Parse(strings.NewReader("local "+name), name); err != nil {
		return name + "_"
	}
	return name
}

func functionText(b *strings.Builder, name, doc string, args []ArgRef, results []string) {
	if doc != "" {
		fmt.Fprintf(b, "---%s\n", doc)
	}
	var names []string
	for _, a := range args {
		switch {
		case a.Variadic:
			fmt.Fprintf(b, "---@param ... %s\n", a.Type)
			names = append(names, "...")
			continue
		case a.Optional:
			fmt.Fprintf(b, "---@param %s? %s\n", variable(a.Name), a.Type)
		default:
			fmt.Fprintf(b, "---@param %s %s\n", variable(a.Name), a.Type)
		}
		names = append(names, variable(a.Name))
	}
	for _, result := range results {
		fmt.Fprintf(b, "---@return %s\n", result)
	}
	fmt.Fprintf(b, "function %s(%s) end\n\n", name, strings.Join(names, ", "))
}

// Luarc is the configuration of the Lua language server beside the runbooks.
func (r Reference) Luarc() string {
	return `{
  "$schema": "https://raw.githubusercontent.com/LuaLS/vscode-lua/master/setting/schema.json",
  "runtime.version": "Lua 5.1",
  "runtime.builtin": {
    "coroutine": "disable",
    "debug": "disable",
    "io": "disable",
    "os": "disable",
    "package": "disable"
  },
  "runtime.path": ["lib/?.lua", "?.lua"],
  "workspace.library": ["types"],
  "workspace.checkThirdParty": false
}
`
}

// Luacheck is the configuration of luacheck beside the runbooks: exactly the
// names that there are.
func (r Reference) Luacheck() string {
	var b strings.Builder
	fmt.Fprintf(&b, "-- For luacheck: %s.\n\nstds.warmrun = {\n  read_globals = {\n", generated)
	var plain, tests []string
	for _, w := range r.Words {
		if w.Tests {
			tests = append(tests, w.Name)
			continue
		}
		plain = append(plain, w.Name)
	}
	for _, o := range r.Opaques {
		if o.Parse != nil {
			plain = append(plain, o.Name)
		}
	}
	namesText(&b, plain)
	for _, name := range slices.Sorted(maps.Keys(r.Libraries)) {
		tableText(&b, name, r.Libraries[name])
	}
	tableText(&b, "param", r.Kinds)
	for _, m := range r.Modules {
		var names []string
		for _, f := range m.Funcs {
			names = append(names, f.Name)
		}
		tableText(&b, m.Name, names)
	}
	b.WriteString("  },\n}\n\nstds.warmrun_tests = {\n  read_globals = {\n")
	namesText(&b, tests)
	b.WriteString(`  },
}

std = "warmrun"
files["**/*_test.lua"] = { std = "+warmrun_tests" }
exclude_files = { "types" }
max_line_length = false
-- Steps get c whether they look at it or not.
unused_args = false
`)
	return b.String()
}

func namesText(b *strings.Builder, names []string) {
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		fmt.Fprintf(b, "    %q,\n", name)
	}
}

func tableText(b *strings.Builder, name string, fields []string) {
	fmt.Fprintf(b, "    %s = { fields = {\n", name)
	for _, f := range fields {
		fmt.Fprintf(b, "      %q,\n", f)
	}
	b.WriteString("    } },\n")
}
