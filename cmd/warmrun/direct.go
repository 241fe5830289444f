package main

import (
	"context"
	"strings"
	"time"
)

// runner is a command of the grammar whose fields are set.
type runner interface {
	Run(ctx context.Context, p *process, g *globals) error
}

// direct reads the command lines that a server runs for each WAL file, without
// building the command tree, which takes longer than such a call may. Whatever
// is not plainly one of them, help and mistakes among it, is left to the full
// parser, which says the same of what is accepted here.
func direct(args []string) (runner, globals, bool) {
	var g globals
	before := flagSet{text: map[string]*string{"--home": &g.Home, "--pgdata": &g.PGData}}
	words, ok := before.read(args, true)
	if !ok || len(words) == 0 {
		return nil, g, false
	}
	switch words[0] {
	case "archive":
		c := &archiveCommand{}
		flags := before.with("--to", &c.To)
		given, ok := flags.read(words[1:], false)
		return c, g, ok && assign(given, 2, &c.Path, &c.Name)
	case "restore":
		c := &restoreCommand{}
		flags := before.with("--from", &c.From).with("--trigger", &c.Trigger)
		flags.bools = map[string]*bool{"--wait": &c.Wait}
		flags.durations = map[string]*time.Duration{"--poll": &c.Poll, "--max-wait": &c.MaxWait}
		given, ok := flags.read(words[1:], false)
		return c, g, ok && assign(given, 2, &c.Name, &c.Path, &c.Redo)
	case "pg_standby":
		return &pgStandbyCommand{Args: words[1:]}, g, true
	}
	return nil, g, false
}

// assign sets the positional arguments, of which the first few are required.
func assign(given []string, required int, to ...*string) bool {
	if len(given) < required || len(given) > len(to) {
		return false
	}
	for i, value := range given {
		*to[i] = value
	}
	return true
}

// flagSet is the long flags of one command.
type flagSet struct {
	text      map[string]*string
	bools     map[string]*bool
	durations map[string]*time.Duration
}

// with is a copy that knows one more flag.
func (f flagSet) with(name string, to *string) flagSet {
	text := map[string]*string{name: to}
	for name, to := range f.text {
		text[name] = to
	}
	f.text = text
	return f
}

// read sets the flags and returns the other words; all from the first one on
// where that ends the flags. It is false for anything out of the ordinary.
func (f flagSet) read(args []string, stop bool) (words []string, ok bool) {
	for len(args) > 0 {
		arg := args[0]
		if arg == "" || arg == "--" {
			return nil, false
		}
		if arg[0] != '-' {
			if stop {
				return args, true
			}
			words, args = append(words, arg), args[1:]
			continue
		}
		if args, ok = f.flag(arg, args[1:]); !ok {
			return nil, false
		}
	}
	return words, true
}

// flag sets one flag, whose value may be the next word.
func (f flagSet) flag(arg string, rest []string) (left []string, ok bool) {
	name, value, joined := strings.Cut(arg, "=")
	if to := f.bools[name]; to != nil && !joined {
		*to = true
		return rest, true
	}
	if !joined && len(rest) > 0 {
		value, rest = rest[0], rest[1:]
	}
	if value == "" || value[0] == '-' {
		return nil, false
	}
	if to := f.text[name]; to != nil {
		*to = value
		return rest, true
	}
	if to := f.durations[name]; to != nil {
		var err error
		*to, err = time.ParseDuration(value)
		return rest, err == nil
	}
	return nil, false
}
