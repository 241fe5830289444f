package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore"
)

// farEvery is how often an operation that takes its time is asked how far it is:
// more often than the step around it gives a sign of life.
const farEvery = 10 * time.Second

// soFarMark begins a line on standard error of `warmrun call` that says how far
// the operation is.
const soFarMark = "warmrun: so far: "

// telling asks a function every so often how far an operation is, until the one
// that it gives is called. An empty answer is none.
func (s *session) telling(ctx context.Context, far func(context.Context) string) (done func()) {
	ctx, cancel := context.WithCancel(ctx)
	var asked sync.WaitGroup
	asked.Go(func() {
		tick := time.NewTicker(farEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if text := far(ctx); text != "" && ctx.Err() == nil {
				s.soFar(ctx, text)
			}
		}
	})
	return func() {
		cancel()
		asked.Wait()
	}
}

// soFar says how far an operation is to the step that has called it, on whatever
// node that is.
func (s *session) soFar(ctx context.Context, text string) {
	if s.serving {
		fmt.Fprintf(s.err, "%s%s\n", soFarMark, text)
		return
	}
	engine.SoFar(ctx, "%s", text)
}

// callOutput reads the standard error of `warmrun call` on another node: live
// output, and how far the operation is.
type callOutput struct {
	rest  io.Writer
	soFar func(text string)
	line  []byte
}

func (w *callOutput) Write(p []byte) (int, error) {
	w.line = append(w.line, p...)
	for {
		line, rest, whole := bytes.Cut(w.line, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		if err := w.take(string(line) + "\n"); err != nil {
			return 0, err
		}
		w.line = rest
	}
}

func (w *callOutput) take(line string) error {
	if text, ok := strings.CutPrefix(line, soFarMark); ok {
		w.soFar(strings.TrimSpace(text))
		return nil
	}
	_, err := io.WriteString(w.rest, line)
	return err
}

// end passes a line on that was left open.
func (w *callOutput) end() error {
	_, err := w.rest.Write(w.line)
	w.line = nil
	return err
}

// tellReplay says how far this node's server has replayed, while something waits
// until it has come to an LSN; 0 is none.
func (s *session) tellReplay(ctx context.Context, to walcore.LSN) (done func()) {
	return s.telling(ctx, func(ctx context.Context) string {
		at, err := s.self().Replayed(ctx)
		switch {
		case err != nil:
			return ""
		case to > at.LSN:
			return fmt.Sprintf("%s has replayed up to %s, %s before %s", s.site.Self.Name, at.LSN, bytesText(int64(to-at.LSN)), to)
		}
		return fmt.Sprintf("%s has replayed up to %s", s.site.Self.Name, at.LSN)
	})
}
