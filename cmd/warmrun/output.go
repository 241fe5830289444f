package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"github.com/warmrun/warmrun/engine"
)

// live is where an operation writes what it is doing: the output of the step
// that called it, or standard error where another node called it.
func (s *session) live(ctx context.Context) io.Writer {
	if s.quiet {
		return io.Discard
	}
	if s.serving {
		return s.err
	}
	return engine.Output(ctx)
}

// say writes one line of live output.
func say(ctx context.Context, s *session, format string, args ...any) {
	fmt.Fprintf(s.live(ctx), format+"\n", args...)
}

// isTerminal reports whether a stream is one that a person looks at.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// columnsOf is the width of the terminal that a stream is, or 0 for none.
func columnsOf(stream any) int {
	f, ok := stream.(*os.File)
	if !ok {
		return 0
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return columns
}

// passphrasePrompt asks for the passphrase of an encrypted key, or is nil
// where nobody can be asked.
func passphrasePrompt() func(string) (string, error) {
	if !isTerminal(os.Stdin) || !isTerminal(os.Stderr) {
		return nil
	}
	return func(question string) (string, error) {
		fmt.Fprint(os.Stderr, question)
		answer, err := term.ReadPassword(int(os.Stdin.Fd()))
		fmt.Fprintln(os.Stderr)
		return string(answer), err
	}
}
