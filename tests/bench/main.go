// Command bench measures shipping and restoring WAL, and copying, side by side
// with what else does that: rsync over ssh as 2warm runs it, rsync with the best
// settings that it has, pgbackrest, pg_basebackup, cp, and pg_standby where an
// older PostgreSQL has it. Also what a step of a runbook costs, and how
// long clients cannot write while primary and standby change places, beside repmgr.
//
//	go run ./tests/bench [-part archive,restore] [-quick] [-json FILE]
//
// The parts of WAL are archive, delivered, restore, wake, commit and cleanup;
// those of copies are base, delta, delay, files and resume; memory has both.
//
// Everything is real: a PostgreSQL server writes what is moved, an OpenSSH server
// receives it, every result is compared with its source. The contestants take
// turns within each round, so that a busy machine is busy for all of them; what
// counts is the median of the ratios within the rounds, never a time.
//
// Terms:
//
//   - part: one table of the report, and what measures it.
//   - contestant: one way to do what the part measures; warmrun is one of them.
//   - round: every contestant once, in an order that changes from round to round.
//   - load: what kind of WAL the segments hold, or what kind of data a copy does.
//   - transfer: one way to copy a tree, which is a contestant of those parts.
//
// Started by root it becomes an ordinary user first, because neither server
// should be root's. It leaves no process and no file behind. Only root can have
// the long link of the part delay; the bench is then in a network namespace of
// its own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/warmrun/warmrun/builtins/lab"
	"github.com/warmrun/warmrun/walcore/hint"
)

// part is one table of the report.
type part struct {
	name, about string
	run         func(context.Context, *bench) error
}

func parts() []part {
	return []part{
		{"archive", "full segments and CPU: rsync, pgbackrest, cp", archivePart},
		{"delivered", "a call whose segment was delivered already", deliveredPart},
		{"restore", "a restore call from the local archive", restorePart},
		{"wake", "from durable in the archive to restored", wakePart},
		{"commit", "from commit to visible on the hot standby", commitPart},
		{"memory", "peak memory of agent, shipper, restore and copies", memoryPart},
		{"switchover", "the gap that writing clients see, and failover: repmgr", switchoverPart},
		{"runbook", "a step with its journal, and loading runbooks", runbookPart},
		{"cleanup", "restore with %r in an archive of 200,000 segments", cleanupPart},
		{"base", "a first base copy: rsync, pgbackrest, pg_basebackup", basePart},
		{"delta", "a second one, when 1 % of the pages have changed", deltaPart},
		{"delay", "a copy over a link of 100 ms (only as root): rsync", delayPart},
		{"files", "200,000 files of 8 kB: rsync", filesPart},
		{"resume", "a copy that was killed at 90 %, run again: rsync", resumePart},
	}
}

type options struct {
	parts   []part
	quick   bool
	verbose bool
	dir     string
	json    string
	warmrun string
}

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := parseOptions(args, errOut)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return 2 // the flag package has said why
	}
	if err := o.measure(ctx, out); err != nil {
		fmt.Fprintf(errOut, "bench: error: %v\n", err)
		if advice := hint.Of(err); advice != "" {
			fmt.Fprintf(errOut, "bench: hint: %s\n", advice)
		}
		return 1
	}
	return 0
}

func parseOptions(args []string, errOut io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(errOut)
	var about []string
	for _, p := range parts() {
		about = append(about, fmt.Sprintf("  %-10s %s", p.name, p.about))
	}
	chosen := flags.String("part", "all", "parts to run, with commas between:\n"+strings.Join(about, "\n")+"\n")
	flags.BoolVar(&o.quick, "quick", false, "few repetitions: shows that it works, proves nothing")
	flags.BoolVar(&o.verbose, "v", false, "show what is done, with times, on standard error")
	flags.StringVar(&o.dir, "dir", os.TempDir(), "`directory` to work in; its file system is the one measured")
	flags.StringVar(&o.json, "json", "", "write the rows to this `file` as well")
	flags.StringVar(&o.warmrun, "warmrun", "", "measure this `program` (default: built from this source)")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	for _, name := range strings.Split(*chosen, ",") {
		at := slices.IndexFunc(parts(), func(p part) bool { return p.name == name })
		switch {
		case name == "all":
			o.parts = parts()
		case at >= 0:
			o.parts = append(o.parts, parts()[at])
		default:
			err := fmt.Errorf("there is no part %q", name)
			fmt.Fprintf(errOut, "bench: error: %v\nThe parts are:\n%s\n", err, strings.Join(about, "\n"))
			return o, err
		}
	}
	return o, nil
}

// measure runs the parts and prints each table when it is complete.
func (o options) measure(ctx context.Context, out io.Writer) error {
	if err := prepareHanded(ctx, o); err != nil {
		return err
	}
	if err := lab.Demote(""); err != nil {
		return err
	}
	b, err := newBench(o, out)
	if err != nil {
		return err
	}
	err = b.runParts(ctx)
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	return errors.Join(err, b.end())
}

func (b *bench) runParts(ctx context.Context) error {
	if err := b.printMachine(ctx); err != nil {
		return err
	}
	for _, p := range b.options.parts {
		if err := p.run(ctx, b); err != nil {
			return fmt.Errorf("part %s: %w", p.name, err)
		}
		if err := b.writeJSON(); err != nil {
			return err
		}
	}
	return nil
}
