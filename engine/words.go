package engine

import (
	"sort"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// inWords prints an argument of a recorded call. A bare text stands without
// quotes when it is one plain word.
func (v *vm) inWords(value lua.LValue, bare bool, depth int) string {
	switch x := value.(type) {
	case lua.LString:
		if bare && plainWord(string(x)) {
			return string(x)
		}
		return shortQuote(string(x))
	case *lua.LTable:
		return v.tableInWords(x, depth)
	case *lua.LUserData:
		if v.opaqueOf(x) != nil {
			return v.opaqueText(x)
		}
		return handleText(x.Value)
	}
	return value.String()
}

func (v *vm) tableInWords(table *lua.LTable, depth int) string {
	if depth > 4 {
		return "{...}"
	}
	var items []string
	list := table.Len()
	for i := 1; i <= list; i++ {
		items = append(items, v.inWords(table.RawGetInt(i), false, depth+1))
	}
	keys := keysOf(table)
	sort.Strings(keys)
	for _, key := range keys {
		items = append(items, key+"="+v.inWords(table.RawGetString(key), false, depth+1))
	}
	if len(items) == 0 {
		return ""
	}
	return "{" + strings.Join(items, ", ") + "}"
}

func plainWord(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || strings.ContainsRune(`"'{}<>,;`, r)
	})
}

// shortQuote quotes a text, on one line and not endlessly.
func shortQuote(s string) string {
	const most = 200
	runes := []rune(strings.Join(strings.Fields(s), " "))
	if len(runes) > most {
		return strconv.Quote(string(runes[:most])) + "..."
	}
	return strconv.Quote(string(runes))
}
