package engine

import (
	"context"
	"errors"
	"fmt"
)

// ErrOvertaken is in an error of RunOptions.Before when the run is no longer this
// process's to drive: another process has gone on with it, or another run has
// changed what it rests on. Nothing more is done then, and nothing undone: what
// this process knows does not hold, and the end of the run is not its to write.
var ErrOvertaken = errors.New("nothing more is done here")

// overtaken asks the same before anything is undone. The undo of a run that lost
// its locks for another reason goes on.
func (r *runner) overtaken(ctx context.Context, step string) error {
	if r.opts.Before == nil {
		return nil
	}
	ctx, cancel := r.undoContext(ctx)
	defer cancel()
	if err := r.opts.Before(ctx, step); errors.Is(err, ErrOvertaken) {
		return leave(err)
	}
	return nil
}

// leave ends a run without an end in its journal.
func leave(err error) error {
	if err == nil || errors.Is(err, errUnsettled) {
		return err
	}
	return fmt.Errorf("%w: %w", err, errUnsettled)
}
