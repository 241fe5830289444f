// Command matrix runs everything that depends on the version of PostgreSQL on each
// version that is supported, and makes the table of it in README.md.
//
//	go run ./tests/matrix [-readme README.md]
//
// It prints the table in any case. README.md gets it only where every test has
// passed; else the exit status is 1. The system's own version is run with the
// system's programs, the others are prebuilt servers that are downloaded.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/warmrun/warmrun/tests/pgmajor"
	"github.com/warmrun/warmrun/walcore/hint"
)

func main() {
	readme := flag.String("readme", "", "the file that gets the table, between its two marks")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *readme); err != nil {
		fmt.Fprintf(os.Stderr, "matrix: error: %v\n", err)
		if advice := hint.Of(err); advice != "" {
			fmt.Fprintf(os.Stderr, "matrix: hint: %s\n", advice)
		}
		os.Exit(1)
	}
}

func run(ctx context.Context, readme string) error {
	table := table{Day: time.Now().UTC().Format("2 January 2006"), System: systemName()}
	// All are downloaded before anything runs beside it.
	for _, major := range pgmajor.All() {
		server, err := pgmajor.Find(ctx, major)
		if err != nil {
			return err
		}
		table.Rows = append(table.Rows, row{Major: server.Major, Version: server.Version, System: server.System})
	}
	results, errTests := runTests(ctx)
	good := table.fill(results)
	fmt.Printf("\n%s", table.markdown())
	switch {
	case errTests != nil:
		return errTests
	case !good:
		return errors.New("not every test was run")
	case readme == "":
		return nil
	}
	return writeTable(readme, table)
}

// systemName is what this system calls itself (os-release(5)).
func systemName() string {
	text, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "an unknown system"
	}
	lines := strings.Split(string(text), "\n")
	at := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, "PRETTY_NAME=") })
	if at < 0 {
		return "an unknown system"
	}
	return strings.Trim(strings.TrimPrefix(lines[at], "PRETTY_NAME="), `"'`)
}
