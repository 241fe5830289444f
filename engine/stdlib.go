package engine

import (
	"fmt"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// maxText bounds what string.rep, string.format and table.concat make.
const maxText = 16 << 20

// replacements are library functions that the sandbox has its own of, each
// for a fault of the original.
func (v *vm) replacements(library string) map[string]lua.LGFunction {
	switch library {
	case lua.StringLibName:
		return map[string]lua.LGFunction{
			// The original hands Lua's directives to Go, prints %!d(...) for a
			// wrong argument and an address for an opaque value.
			"format": func(L *lua.LState) int {
				L.Push(lua.LString(v.format(L, 1)))
				return 1
			},
			// The original panics, or takes all memory.
			"rep": v.rep,
		}
	case lua.TabLibName:
		return map[string]lua.LGFunction{
			// The original needs two stack slots for each item.
			"concat": v.concat,
			// The originals change what scripts may only read.
			"insert": v.insert,
			"remove": v.onWritable(lua.TabLibName, "remove"),
			"sort":   v.onWritable(lua.TabLibName, "sort"),
		}
	case lua.MathLibName:
		return map[string]lua.LGFunction{"random": v.random}
	}
	return nil
}

// onWritable is a library function that may only change a script's own table.
func (v *vm) onWritable(library, name string) lua.LGFunction {
	original := v.L.G.Global.RawGetString(library).(*lua.LTable).RawGetString(name).(*lua.LFunction).GFunction
	return func(L *lua.LState) int {
		v.writable(L, 1)
		return original(L)
	}
}

func (v *vm) insert(L *lua.LState) int {
	table := v.writable(L, 1)
	switch L.GetTop() {
	case 2:
		table.Append(L.Get(2))
	case 3:
		at := L.CheckInt(2)
		if at < 1 || at > table.Len()+1 {
			v.mistake(L, "table.insert: position %d is outside 1 to %d", at, table.Len()+1)
		}
		table.Insert(at, L.CheckAny(3))
	default:
		v.mistake(L, "table.insert takes a table, a position if wanted, and a value")
	}
	return 0
}

// random checks its bounds, where the original panics.
func (v *vm) random(L *lua.LState) int {
	low, high := 1, 0
	switch L.GetTop() {
	case 0:
	case 1:
		high = L.CheckInt(1)
	default:
		low, high = L.CheckInt(1), L.CheckInt(2)
	}
	if L.GetTop() > 0 && high < low {
		v.mistake(L, "math.random: nothing lies between %d and %d", low, high)
	}
	original := v.L.G.Global.RawGetString(lua.MathLibName).(*lua.LTable).RawGetString("random").(*lua.LFunction)
	return original.GFunction(L)
}

func (v *vm) rep(L *lua.LState) int {
	text, count := L.CheckString(1), L.CheckInt(2)
	if count <= 0 || text == "" {
		L.Push(lua.LString(""))
		return 1
	}
	if count > maxText/len(text) {
		v.mistake(L, "string.rep: the result would be longer than %d bytes", maxText)
	}
	L.Push(lua.LString(strings.Repeat(text, count)))
	return 1
}

func (v *vm) concat(L *lua.LState) int {
	table := L.CheckTable(1)
	separator := L.OptString(2, "")
	from, to := L.OptInt(3, 1), L.OptInt(4, table.Len())
	var b strings.Builder
	for i := from; i <= to; i++ {
		value := table.RawGetInt(i)
		v.known(value)
		switch {
		case lua.LVCanConvToString(value):
			b.WriteString(value.String())
		case v.opaqueOf(value) != nil:
			b.WriteString(v.opaqueText(value))
		default:
			v.mistake(L, "table.concat: item %d is %s", i, v.withArticle(value))
		}
		if i < to {
			b.WriteString(separator)
		}
		if b.Len() > maxText {
			v.mistake(L, "table.concat: the result is longer than %d bytes", maxText)
		}
	}
	L.Push(lua.LString(b.String()))
	return 1
}

// format is string.format, with the arguments from position first on. %s takes
// anything that has a text.
func (v *vm) format(L *lua.LState, first int) string {
	template := L.CheckString(first)
	arg := first
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(template, "%")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		end := strings.IndexFunc(rest, func(r rune) bool { return !strings.ContainsRune("-+ #0123456789.", r) })
		if end < 0 {
			v.mistake(L, "format: the text ends within %%%s", rest)
		}
		flags, verb := rest[:end], rest[end]
		template = rest[end+1:]
		if verb == '%' {
			b.WriteByte('%')
			continue
		}
		arg++
		if arg > L.GetTop() {
			v.mistake(L, "format: no value for %%%s%c, which is number %d", flags, verb, arg-first)
		}
		v.directive(L, &b, flags, verb, L.Get(arg))
	}
}

func (v *vm) directive(L *lua.LState, b *strings.Builder, flags string, verb byte, value lua.LValue) {
	width, precision, _ := strings.Cut(strings.TrimLeft(flags, "-+ #0"), ".")
	if len(width) > 2 || len(precision) > 2 || strings.ContainsAny(width+precision, "-+ #.") {
		v.mistake(L, "format: %%%s%c is not a directive (widths go up to 99)", flags, verb)
	}
	if strings.ContainsRune("gG", rune(verb)) && !strings.Contains(flags, ".") {
		flags += ".6" // as in C
	}
	switch verb {
	case 'd', 'i', 'u':
		fmt.Fprintf(b, "%"+flags+"d", int64(v.number(L, verb, value)))
	case 'c':
		b.WriteByte(byte(v.number(L, verb, value)))
	case 'x', 'X', 'o':
		fmt.Fprintf(b, "%"+flags+string(verb), int64(v.number(L, verb, value)))
	case 'e', 'E', 'f', 'F', 'g', 'G':
		fmt.Fprintf(b, "%"+flags+string(verb), float64(v.number(L, verb, value)))
	case 's':
		fmt.Fprintf(b, "%"+flags+"s", v.text(L, value))
	case 'q':
		b.WriteString(strconv.Quote(v.text(L, value)))
	default:
		v.mistake(L, "format: %%%c is not known (d, x, f, g, s and q are)", verb)
	}
}

func (v *vm) number(L *lua.LState, verb byte, value lua.LValue) lua.LNumber {
	switch x := value.(type) {
	case lua.LNumber:
		return x
	case lua.LString:
		if n, err := strconv.ParseFloat(strings.TrimSpace(string(x)), 64); err == nil {
			return lua.LNumber(n)
		}
	}
	v.known(value)
	v.mistake(L, "format: %%%c wants a number, got %s", verb, v.withArticle(value))
	return 0
}

// text is tostring: opaque values and handles have a text of their own.
func (v *vm) text(L *lua.LState, value lua.LValue) string {
	v.known(value)
	return L.ToStringMeta(value).String()
}
