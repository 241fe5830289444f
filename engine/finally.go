package engine

import (
	"context"
	"fmt"

	lua "github.com/yuin/gopher-lua"
)

// finally runs the steps that come at the end of every run, done or failed,
// after what had to be undone was. Nothing that they do changes how the run has
// ended, and what ended the run does not end them.
func (r *runner) finally(ctx context.Context, failure error) {
	r.ending = lua.LString(Done)
	if failure != nil {
		r.ending, r.failure = lua.LString(Failed), lua.LString(r.veil.text(failure.Error()))
	}
	r.closing = true
	defer func() { r.closing = false }()
	for _, def := range r.vm.def.finally {
		if !r.out.quiet {
			r.out.begin(def.Name, "  [finally]")
		}
		bounded, cancel := r.undoContext(ctx)
		if err := r.step(bounded, def); err != nil {
			r.out.always("    %s", fmt.Errorf("step %s of finally: %w", def.Name, err))
		}
		cancel()
	}
}
