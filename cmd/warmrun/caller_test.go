package main

import (
	"errors"
	"io"
	"testing"
)

// TestCaller: losing the caller ends a run, unless it is past the line of no
// return; and the line is not passed once the caller is lost.
func TestCaller(t *testing.T) {
	for _, past := range []bool{false, true} {
		c := &caller{}
		in, out := io.Pipe()
		ctx, leave := c.watch(t.Context(), in)
		if past {
			if err := c.passNoReturn(); err != nil {
				t.Fatal(err)
			}
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
		if !past {
			<-ctx.Done()
			if err := c.passNoReturn(); !errors.Is(err, errCallerLost) {
				t.Errorf("the line was passed after the caller was lost: %v", err)
			}
		}
		if got := c.gone(); got == past || (ctx.Err() != nil) == past {
			t.Errorf("past the line %v: losing the caller ends the run: %v, %v", past, got, ctx.Err())
		}
		leave()
	}
}
