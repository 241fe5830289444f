package engine

import (
	"context"
	"io"
)

// Planning reports whether ctx belongs to a plan: a function with Plans set
// must then only plan.
func Planning(ctx context.Context) bool { return false }

// Output is where a function writes live output, line by line, such as
// progress. It is never nil.
func Output(ctx context.Context) io.Writer { return io.Discard }

// NoReturn records the line of no return. A function calls it right before the
// act that cannot be taken back, and must not go on when it returns an error.
func NoReturn(ctx context.Context) error { return nil }
