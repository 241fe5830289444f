package engine

import (
	lua "github.com/yuin/gopher-lua"
)

// What scripts see of Lua's own libraries. What is not listed does not exist
// for them: no way to load text, no files, no coroutines, no debug. print is
// left out because it would bypass the output of the step; say replaces it.
var (
	baseNames = []string{"error", "ipairs", "next", "pairs", "rawequal", "rawget",
		"select", "tonumber", "tostring", "unpack"}
	libraries = map[string]lua.LGFunction{
		lua.TabLibName: lua.OpenTable, lua.StringLibName: lua.OpenString, lua.MathLibName: lua.OpenMath,
	}
	removed = map[string][]string{lua.StringLibName: {"dump"}, lua.MathLibName: {"randomseed"}}
)

// newVM makes a Lua state with nothing in it but the sandbox and the host's
// modules.
func newVM(b *book, planning bool) (*vm, error) {
	L := lua.NewState(lua.Options{
		CallStackSize: callStackSize, SkipOpenLibs: true,
		RegistrySize: registrySize, RegistryMaxSize: registryMaxSize, RegistryGrowStep: registryStep,
	})
	L.G.MainThread = L
	v := &vm{
		L: L, book: b, planning: planning,
		loaded: map[string]lua.LValue{}, goErrors: map[string]error{},
		frozen: map[*lua.LTable]bool{}, members: map[string]*lua.LTable{}, globals: L.CreateTable(0, 64), env: L.CreateTable(0, 0),
	}
	L.Panic = v.raise
	v.openUnknown()
	v.openBase()
	v.openLibraries()
	v.openOperators()
	v.openSpeech()
	v.openForm()
	if err := v.openHandles(); err != nil {
		return nil, err
	}
	if err := v.openOpaques(); err != nil {
		return nil, err
	}
	if err := v.openModules(); err != nil {
		return nil, err
	}
	v.closeGlobals()
	return v, nil
}

// function wraps a library function. In a plan no library function takes an
// unknown value: that would make something known of it.
func (v *vm) function(fn lua.LGFunction) *lua.LFunction {
	if !v.planning {
		return v.L.NewFunction(fn)
	}
	return v.L.NewFunction(func(L *lua.LState) int {
		for i := 1; i <= L.GetTop(); i++ {
			v.known(L.Get(i))
		}
		return fn(L)
	})
}

// guarded is function for one that exists already.
func (v *vm) guarded(fn lua.LValue) lua.LValue {
	f, ok := fn.(*lua.LFunction)
	if !ok || !v.planning || !f.IsG {
		return fn
	}
	inner := f.GFunction
	guarded := *f
	guarded.GFunction = func(L *lua.LState) int {
		for i := 1; i <= L.GetTop(); i++ {
			v.known(L.Get(i))
		}
		return inner(L)
	}
	return &guarded
}

func (v *vm) openBase() {
	lua.OpenBase(v.L)
	base := v.L.G.Global
	for _, name := range baseNames {
		v.globals.RawSetString(name, v.guarded(base.RawGetString(name)))
	}
	// Protected calls take and give unknown values without looking at them.
	v.globals.RawSetString("pcall", v.L.NewFunction(v.pcall))
	v.globals.RawSetString("xpcall", v.L.NewFunction(v.xpcall))
	for name, fn := range map[string]lua.LGFunction{
		"assert": v.assert, "type": v.typeOf, "rawset": v.rawSet,
		"setmetatable": v.setMetatable, "getmetatable": v.getMetatable,
	} {
		v.globals.RawSetString(name, v.function(fn))
	}
}

func (v *vm) openLibraries() {
	for name, open := range libraries {
		open(v.L)
		lib := v.L.G.Global.RawGetString(name).(*lua.LTable)
		for _, gone := range removed[name] {
			lib.RawSetString(gone, lua.LNil)
		}
		own := v.newTable()
		lib.ForEach(func(key, value lua.LValue) {
			if fn, ok := value.(*lua.LFunction); ok {
				value = v.guarded(fn)
			}
			own.RawSet(key, value)
		})
		own.RawSetString("__index", lua.LNil)
		for fname, fn := range v.replacements(name) {
			own.RawSetString(fname, v.function(fn))
		}
		v.globals.RawSetString(name, v.freeze(name, own))
		if name == lua.StringLibName {
			methods := v.newTable()
			methods.RawSetString("__index", own)
			methods.RawSetString("__metatable", lua.LFalse)
			v.L.SetMetatable(lua.LString(""), methods)
		}
	}
}

// freeze gives a table to scripts for reading only. A name that it does not
// have is an error and not nil.
func (v *vm) freeze(name string, table *lua.LTable) *lua.LTable {
	v.members[name] = table
	return v.proxy(func(L *lua.LState, key lua.LValue) lua.LValue {
		value := table.RawGet(key)
		if value == lua.LNil {
			v.mistake(L, "%s has no function %s%s", name, key.String(), didYouMean(key.String(), keysOf(table)))
		}
		return value
	}, name)
}

// proxy is an empty table whose fields come from a function.
func (v *vm) proxy(get func(*lua.LState, lua.LValue) lua.LValue, name string) *lua.LTable {
	meta := v.newTable()
	meta.RawSetString("__metatable", lua.LFalse)
	meta.RawSetString("__index", v.L.NewFunction(func(L *lua.LState) int {
		L.Push(get(L, L.Get(2)))
		return 1
	}))
	meta.RawSetString("__newindex", v.L.NewFunction(func(L *lua.LState) int {
		v.mistake(L, "%s cannot be changed", name)
		return 0
	}))
	proxy := v.newTable()
	proxy.Metatable = meta
	v.frozen[proxy] = true
	return proxy
}

// closeGlobals makes the environment of the scripts: known globals can be
// read, everything else is a spelling mistake.
func (v *vm) closeGlobals() {
	unknown := v.newTable()
	unknown.RawSetString("__index", v.L.NewFunction(func(L *lua.LState) int {
		name := L.Get(2).String()
		v.mistake(L, "unknown name %s%s", name, didYouMean(name, keysOf(v.globals)))
		return 0
	}))
	v.globals.Metatable = unknown
	meta := v.newTable()
	meta.RawSetString("__index", v.globals)
	meta.RawSetString("__metatable", lua.LFalse)
	meta.RawSetString("__newindex", v.L.NewFunction(func(L *lua.LState) int {
		name := L.Get(2).String()
		v.mistake(L, "%s is not a local variable: write local %s, or local function %s", name, name, name)
		return 0
	}))
	v.env.Metatable = meta
	v.L.Env = v.env
}

// keysOf are the text keys of a table that a script can spell.
func keysOf(table *lua.LTable) []string {
	var keys []string
	table.ForEach(func(key, _ lua.LValue) {
		if name, ok := key.(lua.LString); ok && name != "" && name[0] != 0 {
			keys = append(keys, string(name))
		}
	})
	return keys
}

func (v *vm) assert(L *lua.LState) int {
	if lua.LVAsBool(L.Get(1)) {
		return L.GetTop()
	}
	switch message := L.Get(2).(type) {
	case *lua.LNilType:
		v.mistake(L, "assertion failed")
	case lua.LString:
		L.Error(message, 0)
	default:
		L.Error(message, 1)
	}
	return 0
}

func (v *vm) typeOf(L *lua.LState) int {
	L.Push(lua.LString(v.typeName(L.CheckAny(1))))
	return 1
}

// typeName is Lua's name of a type, and an opaque type's own.
func (v *vm) typeName(value lua.LValue) string {
	if ud, ok := value.(*lua.LUserData); ok {
		if t := v.opaqueOf(ud); t != nil {
			return t.Name
		}
	}
	return value.Type().String()
}

func (v *vm) rawSet(L *lua.LState) int {
	table := v.writable(L, 1)
	L.RawSet(table, L.CheckAny(2), L.CheckAny(3))
	L.SetTop(1)
	return 1
}

// writable is a table argument that may be changed.
func (v *vm) writable(L *lua.LState, n int) *lua.LTable {
	table := L.CheckTable(n)
	if v.frozen[table] {
		v.mistake(L, "this table cannot be changed")
	}
	return table
}

func (v *vm) setMetatable(L *lua.LState) int {
	table := L.CheckTable(1)
	if protected(table) || v.frozen[table] {
		v.mistake(L, "cannot change a protected metatable")
	}
	switch meta := L.CheckAny(2).(type) {
	case *lua.LNilType, *lua.LTable:
		table.Metatable = meta
	default:
		v.mistake(L, "setmetatable: want a table or nil, got a %s", meta.Type())
	}
	L.SetTop(1)
	return 1
}

func protected(table *lua.LTable) bool {
	meta, ok := table.Metatable.(*lua.LTable)
	return ok && meta.RawGetString("__metatable") != lua.LNil
}

func (v *vm) getMetatable(L *lua.LState) int {
	if table, ok := L.CheckAny(1).(*lua.LTable); ok && !v.frozen[table] {
		L.Push(L.GetMetatable(table))
		return 1
	}
	L.Push(lua.LFalse)
	return 1
}
