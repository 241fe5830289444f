package engine

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Markdown is the registry as a page of the manual.
func (r Reference) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, `# What runbooks can write and call

<!-- %s -->

A runbook is a Lua file that returns `+"`runbook { ... }`"+`. Loading it does
nothing; its checks read, its steps work, one after the other. Unknown names,
keys, options, parameters and fields are errors with file and line, and
`+"`warmrun runbook lint`"+` finds them without running anything.

`, generated)
	b.WriteString("## The form\n\n")
	r.formText(&b, false)
	r.kindsTable(&b)
	b.WriteString("## c\n\nThe functions of checks and steps get one argument. Asking it for a name that does not exist is an error.\n\n")
	fieldTable(&b, "Field", prefixed("c.", r.Fields))
	r.typesText(&b)
	r.luaText(&b)
	b.WriteString("## Tests\n\n`warmrun runbook test` runs the files NAME_test.lua. Everything that a runbook can call is a fake there, and nothing waits. What the cases have not brought about, of the failures of checks and steps, of undos and of lines that call fail, is listed as untried.\n\n")
	r.formText(&b, true)
	b.WriteString("## Modules\n\nA function that is marked **read** may be called anywhere, also in a plan, where it is called for real. **change** may be called in `run` and `undo` only, and a plan lists it instead. **wait** looks until an earlier change has come about; a plan lists it, too. Options are a table at the end; all of them may be left out.\n\n")
	classes := map[string]ClassRef{}
	for _, c := range r.Classes {
		classes[c.Name] = c
	}
	for _, m := range r.Modules {
		fmt.Fprintf(&b, "### %s\n\n%s.\n\n", m.Name, sentence(m.Doc))
		for _, f := range m.Funcs {
			f.markdown(&b, m.Name, classes)
		}
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

func (r Reference) formText(b *strings.Builder, tests bool) {
	for _, w := range r.Words {
		if !w.Own || w.Tests != tests {
			continue
		}
		if w.Keys == nil {
			fmt.Fprintf(b, "### %s\n\n%s.\n\n", signatureText(w.Name, w.Takes), sentence(w.Doc))
			continue
		}
		fmt.Fprintf(b, "### %s { ... }\n\n%s.\n\n", w.Name, sentence(w.Doc))
		if len(w.Items) > 0 {
			b.WriteString("Without a key, in this order:\n\n")
			fieldTable(b, "Item", w.Items)
		}
		fieldTable(b, "Key", w.Keys)
	}
}

func (r Reference) kindsTable(b *strings.Builder) {
	fmt.Fprintf(b, "### param.KIND { ... }\n\nA parameter, and a flag of the command. KIND is %s.\n\n", strings.Join(r.Kinds, ", "))
	fieldTable(b, "Key", paramKeys())
}

func (r Reference) typesText(b *strings.Builder) {
	b.WriteString("## Types\n\n`duration` is a text with a unit, such as `\"30s\"`, `\"5min\"` or `\"1h30m\"`; a bare number is refused. In results, lengths of time are seconds and times are texts of RFC 3339.\n\n")
	for _, o := range r.Opaques {
		fmt.Fprintf(b, "`%s` is a type of its own", o.Name)
		if o.Parse != nil {
			fmt.Fprintf(b, ": `%s(\"...\")` makes one of a text", o.Name)
		}
		b.WriteString(". It compares with its own kind and with nil only")
		if o.Sub != nil {
			b.WriteString("; the difference of two is a number")
		}
		b.WriteString(".\n\n")
	}
	b.WriteString("`secret` is what a parameter of that kind holds. It can be handed to a function that takes one, and to nothing else; it prints as `***`. A run is refused where it cannot be read, unless an extension asks for it whose steps only warn, and that has no checks: then what is given it fails, and the run goes on.\n\n")
}

func (r Reference) luaText(b *strings.Builder) {
	b.WriteString("## Lua\n\nLua 5.1 without files, processes, coroutines and the loading of texts. There are ")
	var names []string
	for _, w := range r.Words {
		if !w.Own {
			names = append(names, "`"+w.Name+"`")
		}
	}
	slices.Sort(names)
	b.WriteString(strings.Join(names, ", ") + "; and\n\n")
	for _, name := range slices.Sorted(maps.Keys(r.Libraries)) {
		fmt.Fprintf(b, "- `%s`: %s\n", name, strings.Join(r.Libraries[name], ", "))
	}
	b.WriteString("\n")
}

func (f FuncRef) markdown(b *strings.Builder, module string, classes map[string]ClassRef) {
	fmt.Fprintf(b, "#### %s\n\n**%s**: %s.", signatureText(module+"."+f.Name, f.Args), f.Effect, f.Doc)
	for i, result := range f.Results {
		word := " Returns"
		if i > 0 {
			word = ", and"
		}
		fmt.Fprintf(b, "%s `%s`", word, result)
	}
	if len(f.Results) > 0 {
		b.WriteString(".")
	}
	b.WriteString("\n\n")
	for _, a := range f.Args {
		if c, ok := classes[a.Type]; ok {
			fieldTable(b, "Option", c.Fields)
		}
	}
	for _, result := range f.Results {
		if c, ok := classes[strings.TrimSuffix(result, "[]")]; ok {
			fieldTable(b, "Field of the result", c.Fields)
		}
	}
}

// signatureText is a call as a heading.
func signatureText(name string, args []ArgRef) string {
	var words []string
	for _, a := range args {
		switch {
		case a.Name == "options":
			words = append(words, "{ options }")
		case a.Variadic:
			words = append(words, "...")
		default:
			words = append(words, a.Name)
		}
	}
	return name + "(" + strings.Join(words, ", ") + ")"
}

func fieldTable(b *strings.Builder, title string, fields []FieldRef) {
	docs := slices.ContainsFunc(fields, func(f FieldRef) bool { return f.Doc != "" })
	head, line := "| "+title+" | Type |", "|---|---|"
	if docs {
		head, line = head+" Meaning |", line+"---|"
	}
	b.WriteString(head + "\n" + line + "\n")
	for _, f := range fields {
		kind := f.Type
		if docs && !f.Optional && title != "Field" {
			f.Doc += " (required)"
		}
		fmt.Fprintf(b, "| `%s` | `%s` |", f.Name, strings.ReplaceAll(kind, "|", "\\|"))
		if docs {
			fmt.Fprintf(b, " %s |", strings.ReplaceAll(f.Doc, "|", "\\|"))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
}

func prefixed(prefix string, fields []FieldRef) []FieldRef {
	out := slices.Clone(fields)
	for i := range out {
		out[i].Name = prefix + out[i].Name
	}
	return out
}

func sentence(doc string) string {
	if doc == "" {
		return doc
	}
	return strings.ToUpper(doc[:1]) + doc[1:]
}
