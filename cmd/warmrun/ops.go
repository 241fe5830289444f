package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// operation is one function that runbooks may call: module.name(node, {...}).
// An operation with local runs on the node it names, here or through
// `warmrun call` there.
type operation struct {
	module string
	bind   func(*session) engine.Func
	local  func(context.Context, *session, json.RawMessage) (any, error)
}

// onNode declares an operation that works on the node named by its first
// argument. O is its option table, R what it returns.
func onNode[O, R any](module, name string, effect engine.Effect, doc string, run func(context.Context, *session, O) (R, error)) operation {
	full := module + "." + name
	return operation{
		module: module,
		bind: func(s *session) engine.Func {
			return engine.Func{Name: name, Effect: effect, Doc: doc, Args: []string{"node", "options"},
				Describe: describer(full),
				Fn: func(ctx context.Context, node string, options O) (R, error) {
					return callOn(ctx, s, cluster.NodeName(node), full, options, run)
				}}
		},
		local: func(ctx context.Context, s *session, raw json.RawMessage) (any, error) {
			var options O
			decoder := json.NewDecoder(bytes.NewReader(raw))
			decoder.DisallowUnknownFields()
			if err := decoder.Decode(&options); err != nil {
				return nil, hint.Wrap(fmt.Errorf("%s: arguments: %w", full, err), "the nodes run different versions of warmrun; run: warmrun distrib")
			}
			return run(ctx, s, options)
		},
	}
}

// pastReturn is an operation that cannot be taken back.
func pastReturn(op operation) operation {
	bind := op.bind
	op.bind = func(s *session) engine.Func {
		f := bind(s)
		f.NoReturn = true
		return f
	}
	return op
}

// callOn runs an operation here where the node is this one, else there.
func callOn[O, R any](ctx context.Context, s *session, node cluster.NodeName, full string, options O, run func(context.Context, *session, O) (R, error)) (R, error) {
	var result R
	if _, err := s.site.Node(node); err != nil {
		return result, err
	}
	if s.site.IsSelf(node) {
		return run(ctx, s, options)
	}
	err := s.call(ctx, node, full, options, &result)
	return result, err
}

// here declares an operation that runs where the runbook runs, whatever nodes
// it names.
func here(module, name string, effect engine.Effect, doc string, args []string, fn func(*session) any) operation {
	return operation{module: module, bind: func(s *session) engine.Func {
		return engine.Func{Name: name, Effect: effect, Doc: doc, Args: args, Fn: fn(s),
			Describe: describer(module + "." + name)}
	}}
}

// none is the option table of an operation that takes none.
type none struct{}

// operations is everything a runbook may call.
func operations() []operation {
	var all []operation
	for _, part := range [][]operation{
		pgctlOperations(), psqlOperations(), archiveOperations(), standbyOperations(), lineageOperations(), bringBackOperations(),
		switchOperations(), rejoinOperations(), slotOperations(), clusterOperations(), copyOperations(), rivalOperations(), unfenceOperations(), relayOperations(), chainOperations(),
		backupOperations(), scratchOperations(),
		statusOperations(), sshOperations(), shellOperations(), httpOperations(), trustOperations(), runbookOperations(), runsOperations(),
	} {
		all = append(all, part...)
	}
	return all
}

// modules groups the operations for the engine.
func modules(s *session) []engine.Module {
	docs := map[string]string{
		"pg_ctl":   "the server process and its control file",
		"psql":     "SQL on any node's server",
		"archive":  "the WAL archive of a node, and shipping into it",
		"standby":  "making a standby, promoting it, and proof of what it replayed",
		"cluster":  "the nodes and their parts",
		"copy":     "copying directories between nodes, and base copies",
		"backup":   "base copies that a node keeps",
		"scratch":  "servers made from kept base copies, beside everything else",
		"drill":    "what is known of the last drill",
		"relay":    "relaying WAL to the disaster recovery node",
		"rivals":   "the nodes that might accept writes beside this one",
		"fence":    "refusing an old primary's WAL past a cut",
		"status":   "what the nodes do and how far they are",
		"ssh":      "commands on other nodes",
		"shell":    "commands on any node, this one too",
		"http":     "telling other systems",
		"cron":     "what runs by itself",
		"trust":    "keys that may ship WAL",
		"runs":     "the runs of runbooks that a node knows",
		"runbooks": "other runbooks, here or on another node",
	}
	var out []engine.Module
	index := map[string]int{}
	for _, op := range operations() {
		i, ok := index[op.module]
		if !ok {
			i = len(out)
			index[op.module] = i
			out = append(out, engine.Module{Name: op.module, Doc: docs[op.module]})
		}
		out[i].Funcs = append(out[i].Funcs, op.bind(s))
	}
	return out
}
