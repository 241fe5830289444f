package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
)

// confirm asks the operator on the terminal. It is nil where there is none:
// the engine then refuses to start a run that would ask.
func (s *session) confirm() func(context.Context, string) (bool, error) {
	if !isTerminal(os.Stdin) {
		return nil
	}
	return func(_ context.Context, question string) (bool, error) {
		fmt.Fprintf(s.err, "%s [y/N] ", question)
		answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
		if err != nil {
			return false, err
		}
		answer = strings.ToLower(strings.TrimSpace(answer))
		return answer == "y" || answer == "yes", nil
	}
}
