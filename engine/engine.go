// Package engine loads, checks, plans and runs runbooks. It knows Lua and
// knows nothing of PostgreSQL: what a runbook may do comes in as named Go
// functions, and this package alone turns them into Lua.
//
// Terms:
//
//   - A runbook is a Lua file that returns a table of metadata, parameters,
//     checks and an ordered list of named steps. Loading one has no effect:
//     functions of modules can be called only inside a step or a check.
//   - A check is a condition that must hold before the first step. Checks only
//     read.
//   - A step is one unit of work with a name. Hooks, results and undo are all
//     attached by that name.
//   - A plan is a dry run: reads are done for real, changes are listed. What
//     depends on the result of a change is unknown, and a plan says so rather
//     than guess.
//   - The line of no return is the moment after which a run only goes forward:
//     a step marked irreversible begins, it calls a function that is marked
//     NoReturn, or a function calls NoReturn.
package engine

import (
	"context"
	"io"
	"reflect"
	"time"
)

// Effect says what calling a function does to the world.
type Effect int

const (
	// Read only looks. Reads are allowed everywhere and run for real in a plan.
	Read Effect = iota
	// Change alters something. Changes are allowed in run and undo only, and a
	// plan records them without calling the function.
	Change
	// Wait looks until something has come about that an earlier change brings
	// on. It is allowed everywhere, but a plan records it, because the change
	// it waits for has not been made.
	Wait
)

// String is the word for the effect in documentation.
func (e Effect) String() string {
	return [...]string{"read", "change", "wait"}[e]
}

// Func is one function that runbooks can call as MODULE.NAME.
type Func struct {
	Name   string
	Effect Effect
	// Doc is one sentence for the reference.
	Doc string
	// Args names the arguments after the context, for messages. The option
	// table needs no name.
	Args []string
	// Fn is a func(context.Context, ...) that returns an error last, with any
	// number of results before it. Arguments may be strings, booleans,
	// numbers, time.Duration, time.Time, slices and maps of these, any,
	// opaque types, handles (structs from Host.Vars), pointers to them (nil
	// when absent), a variadic end, and a struct as last argument: the option
	// table, which may be left out and takes only the keys that the json tags
	// name. A duration is written as a string with a unit ("30s", "5min").
	Fn any
	// Describe puts a call into words for a plan. It gets the converted
	// arguments, the option struct included. Where one of them is unknown, it
	// gets all as plain values, the options as a map[string]any, and an Unknown
	// in the place of each that is. Nil means the generic form.
	Describe func(args []any) string
	// Plans marks a function that is called in a plan as well, where it only
	// plans (Planning tells). Its first result is then a string, the lines to
	// add to the plan.
	Plans bool
	// NoReturn marks a function whose work cannot be taken back: a step that
	// calls it passes the line of no return first, whatever the step says.
	NoReturn bool
	// Resumes marks a function that can be called again in a step that was
	// interrupted, because what it calls has a journal of its own (CallsRun).
	Resumes bool
}

// Module is a named group of functions: a global table in Lua.
type Module struct {
	Name, Doc string
	Funcs     []Func
}

// Opaque is a Go type that Lua holds as a value of its own, because a Lua
// number or string cannot stand for it. Such values compare with each other
// only, print by their text form, and keep it in JSON. NAME(text) makes one.
type Opaque struct {
	// Name is the type's name and the global function that parses one.
	Name string
	Type reflect.Type
	// Parse reads the text form.
	Parse func(string) (any, error)
	// Compare orders two values as strings.Compare does; nil means that only
	// equality is known.
	Compare func(a, b any) int
	// Sub is a minus b as a number; nil means there is no difference.
	Sub func(a, b any) (float64, error)
}

// Source is the text of a runbook or of a library file.
type Source struct {
	// Name is the runbook's name, or the name that require was called with.
	Name string
	// Path is what messages call the file.
	Path string
	Text string
	// Shipped is true for what came with the program, false for a site's own.
	Shipped bool
	// Shadows is true for a site's own text in the place of a shipped one.
	Shadows bool
	// Library is true for a text that was required, Extension for one that
	// extends a runbook. Both are set by the engine.
	Library, Extension bool
}

// Host is what the surrounding program provides.
type Host struct {
	Modules []Module
	Opaques []Opaque
	// Out receives live output where RunOptions has none. Nil discards it.
	Out io.Writer
	// Vars are the fields of c besides params, results and name: strings,
	// numbers, booleans, slices, maps, nil, or structs, which become
	// read-only handles with their json names. A key with a nil value exists
	// and is nil; any other name is an error in the runbook.
	Vars map[string]any
	// VarDocs has half a sentence about each of them, for the reference.
	VarDocs map[string]string
	// Confirm asks the operator. Nil means that nobody can be asked: runs
	// with a question then need RunOptions.AssumeYes.
	Confirm func(ctx context.Context, question string) (bool, error)
	// Library finds the text for require. Nil means there is none.
	Library func(name string) (Source, error)
	// Extensions finds the texts that extend a runbook, in their order. Nil means
	// there are none.
	Extensions func(runbook string) ([]Source, error)
	// Node resolves a parameter of kind node. Nil keeps the text.
	Node func(name string) (any, error)
	// Secret reads what a parameter of kind secret names, such as a file: the
	// text itself is never an argument. Nil means that there are no secrets.
	Secret func(name string) (Secret, error)
	// Pause waits between two tries, and is false when ctx ends first. Nil waits
	// for real.
	Pause func(ctx context.Context, d time.Duration) bool
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	// inTurn: on_nodes calls one node after the other, in the order of the list.
	inTurn bool
}

func (h Host) now() time.Time {
	if h.Now == nil {
		return time.Now()
	}
	return h.Now()
}

func (h Host) pause(ctx context.Context, d time.Duration) bool {
	if h.Pause != nil {
		return h.Pause(ctx, d)
	}
	return pause(ctx, d)
}
