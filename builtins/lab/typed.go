package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/warmrun/warmrun/builtins/psql"
)

func (d *demo) target(name string) psql.Target {
	n, err := d.lab.Node(name)
	if err != nil {
		return psql.Target{}
	}
	return d.lab.Target(n)
}

func value(ctx context.Context, target psql.Target, sql string) (string, error) {
	conn, err := psql.Connect(ctx, target)
	if err != nil {
		return "", err
	}
	got, err := conn.Value(ctx, sql)
	return fmt.Sprint(got), errors.Join(err, conn.Close(ctx))
}

// commands runs several, each written as "NODE COMMAND ARGS...".
func (d *demo) commands(ctx context.Context, lines ...string) error {
	for _, line := range lines {
		words := strings.Fields(line)
		if _, err := d.command(ctx, words[0], words[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// command runs the program on a node and shows it as it would be typed there.
func (d *demo) command(ctx context.Context, node string, args ...string) (time.Duration, error) {
	return d.step(typed(node, args), func(detail io.Writer) error { return d.run(ctx, detail, node, args...) })
}

func typed(node string, args []string) string {
	return node + "$ warmrun " + strings.Join(args, " ")
}

func (d *demo) run(ctx context.Context, detail io.Writer, node string, args ...string) error {
	n, err := d.lab.Node(node)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, commandPatience)
	defer cancel()
	cmd := d.lab.Command(ctx, n, args...)
	cmd.Stdout, cmd.Stderr = detail, detail
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", typed(node, args), err)
	}
	return nil
}

// quote runs a command and shows the one sentence of its output that matters
// here: the first line with phrase in it.
func (d *demo) quote(ctx context.Context, phrase, node string, args ...string) error {
	output, err := d.output(ctx, node, args...)
	if err != nil || d.verbose {
		return err
	}
	for line := range strings.Lines(output) {
		if strings.Contains(line, phrase) {
			d.detail(wrap(strings.TrimSpace(line), columns-6))
			break
		}
	}
	return nil
}

func (d *demo) output(ctx context.Context, node string, args ...string) (string, error) {
	var output strings.Builder
	_, err := d.step(typed(node, args), func(detail io.Writer) error {
		return d.run(ctx, io.MultiWriter(detail, &output), node, args...)
	})
	return output.String(), err
}

// logs shows the end of every server's log, after a failure.
func (d *demo) logs() {
	for _, n := range d.lab.Nodes {
		d.print("\n  the last lines of %s:\n", n.Log)
		d.detail(tail(n.Log))
	}
}
