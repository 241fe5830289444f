package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// outcome is how a command ended.
type outcome struct {
	code     int // -1: a signal killed it
	out, err string
}

func (o outcome) all() string { return o.out + o.err }

func (o outcome) status() string {
	if o.code < 0 {
		return "killed"
	}
	return fmt.Sprintf("exit status %d", o.code)
}

// run runs the program on a node. Its output goes through files: a process that
// it leaves behind must not be waited for.
func (r *rehearsal) run(ctx context.Context, node string, words ...string) (o outcome, err error) {
	n, err := r.lab.Node(node)
	if err != nil {
		return o, err
	}
	ctx, cancel := context.WithTimeout(ctx, commandPatience)
	defer cancel()
	var files [2]*os.File
	for i := range files {
		if files[i], err = os.CreateTemp(r.lab.Dir, "said-*"); err != nil {
			return o, err
		}
		defer files[i].Close()
		defer os.Remove(files[i].Name())
	}
	cmd := r.lab.Command(ctx, n, words...)
	cmd.Stdout, cmd.Stderr = files[0], files[1]
	runErr := cmd.Run()
	for i, text := range []*string{&o.out, &o.err} {
		said, err := os.ReadFile(files[i].Name())
		if err != nil {
			return o, err
		}
		*text = string(said)
	}
	if ctx.Err() != nil {
		return o, fmt.Errorf("%s$ warmrun %s does not end: %w\n%s", node, strings.Join(words, " "), context.Cause(ctx), o.all())
	}
	var exit *exec.ExitError
	if runErr != nil && !errors.As(runErr, &exit) {
		return o, runErr
	}
	o.code = cmd.ProcessState.ExitCode()
	return o, nil
}

// eventually waits until something is so.
func eventually(ctx context.Context, what string, is func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, settlePatience)
	defer cancel()
	for {
		ok, err := is()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %s: %s (%v)", settlePatience, what, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
