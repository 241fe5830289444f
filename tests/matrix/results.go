package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/warmrun/warmrun/tests/pgmajor"
)

const module = "github.com/warmrun/warmrun"

// atOnce is how many majors each package tests at the same time: they wait most of
// it.
const atOnce = "3"

// results is how tests have ended, by package and name: pass, fail or skip.
type results map[string]string

// of is how the test of a column has ended on a major, or "" where it did not run.
func (r results) of(c column, major int) string { return r[c.id(major)] }

// id is the test as `go test -json` names it.
func (c column) id(major int) string {
	name := path.Join(c.test, strconv.Itoa(major), strings.ReplaceAll(c.part, " ", "_"))
	return path.Join(module, c.pkg) + " " + name
}

// runTests runs the tests of all columns, says how each ends, and shows what one that
// fails has printed.
func runTests(ctx context.Context) (results, error) {
	var packages, tests []string
	for _, c := range columns {
		packages, tests = append(packages, "./"+c.pkg), append(tests, c.test)
	}
	slices.Sort(packages)
	slices.Sort(tests)
	args := []string{"test", "-json", "-count=1", "-timeout=120m", "-parallel=" + atOnce, "-run", "^(" + strings.Join(slices.Compact(tests), "|") + ")$"}
	cmd := exec.CommandContext(ctx, "go", append(args, slices.Compact(packages)...)...)
	cmd.Env = append(os.Environ(), pgmajor.AllVariable+"=1")
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = time.Minute
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended, errRead := readEvents(out, os.Stdout)
	if err := cmd.Wait(); err != nil {
		err = fmt.Errorf("go test: %w", err)
		return ended, errors.Join(err, errRead)
	}
	return ended, errRead
}

// event is a line of go test -json (go doc test2json).
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64 // seconds
}

// readEvents follows the tests until they end.
func readEvents(from io.Reader, to io.Writer) (results, error) {
	ended := results{}
	printed := map[string]*strings.Builder{}
	for decoder := json.NewDecoder(from); ; {
		var e event
		switch err := decoder.Decode(&e); {
		case errors.Is(err, io.EOF):
			return ended, nil
		case err != nil:
			return ended, fmt.Errorf("read what go test says: %w", err)
		}
		id := e.Package + " " + e.Test
		switch e.Action {
		case "output":
			if printed[id] == nil {
				printed[id] = &strings.Builder{}
			}
			printed[id].WriteString(e.Output)
		case "pass", "fail", "skip":
			ended[id] = e.Action
			if e.Test != "" {
				fmt.Fprintf(to, "%-4s  %6.1f s  %s\n", e.Action, e.Elapsed, strings.TrimPrefix(id, module+"/"))
			}
			if e.Action == "fail" && printed[id] != nil {
				fmt.Fprint(to, printed[id])
			}
			delete(printed, id)
		}
	}
}
