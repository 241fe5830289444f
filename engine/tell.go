package engine

import (
	"bytes"
	"context"
	"io"
)

// The events that are told to RunOptions.Tell only. They are on no record.
const (
	// OutputLine is a line of a step's live output: Line.
	OutputLine EventKind = "output"
	// Marked is a line that is drawn before a step: Line, and Outage where an
	// outage begins or ends there.
	Marked EventKind = "mark"
	// StillRunning is told of a step that has said nothing for a while: Seconds
	// since it began, and in Line how far it is, where that is known.
	StillRunning EventKind = "still running"
)

// tell passes an event on to whoever follows the run, as it may be shown: the
// secrets of this run and of those around it are hidden.
func (r *runner) tell(e Event) {
	if r.opts.Tell == nil {
		return
	}
	e.At, e.Runbook, e.Finally = r.rb.book.host.now(), r.path, r.closing
	if e.Kind == RunBegan || e.Kind == RunResumed {
		e.Steps = namesOf(r.vm.def.steps)
	}
	for at := r; at != nil; at = at.around() {
		e.Error, e.Line = at.veil.text(e.Error), at.veil.text(e.Line)
		e.Value = at.veil.value(e.Value)
	}
	r.opts.Tell(e)
}

// around is the run that this one is part of, or nil.
func (r *runner) around() *runner {
	if r.parent == nil {
		return nil
	}
	return r.parent.run
}

func namesOf(steps []*stepDef) []string {
	names := make([]string, len(steps))
	for i, s := range steps {
		names[i] = s.Name
	}
	return names
}

// mark draws the line before a step.
func (r *runner) mark(def *stepDef) {
	if def.Mark != "" {
		r.out.mark(def.Mark)
		r.tell(Event{Kind: Marked, Step: def.Name, Line: def.Mark, Outage: def.Outage})
	}
}

// body is where the output of a step or a check goes; loud is for an undo, whose
// output is never left out.
func (r *runner) body(name string, loud bool) *indenter {
	body := r.out.body()
	if loud {
		body = newIndenter(&lenient{to: r.out.to}, "    ")
	}
	if r.opts.Tell != nil {
		lines := &lineSplitter{each: func(line string) { r.tell(Event{Kind: OutputLine, Step: name, Line: line}) }}
		body.told = &teller{veiled: r.veil.over(lines), lines: lines}
	}
	return body
}

// teller tells of what is written to a body, line by line.
type teller struct {
	veiled *veiledWriter
	lines  *lineSplitter
}

// end tells of a line that was left open.
func (t *teller) end() {
	t.veiled.flush()
	t.lines.end()
}

// lineSplitter makes lines of what is written. A carriage return begins the line
// anew. The veil above it lets one writer in at a time.
type lineSplitter struct {
	each func(line string)
	line []byte
}

func (s *lineSplitter) Write(p []byte) (int, error) {
	for _, c := range p {
		switch c {
		case '\n':
			s.each(string(s.line))
			s.line = s.line[:0]
		case '\r':
			s.line = s.line[:0]
		default:
			s.line = append(s.line, c)
		}
	}
	return len(p), nil
}

func (s *lineSplitter) end() {
	if len(bytes.TrimSpace(s.line)) > 0 {
		s.each(string(s.line))
	}
	s.line = s.line[:0]
}

// untold writes to a body what is told of otherwise: the output of a run within a
// step, which has events of its own.
type untold struct{ body *indenter }

func (w untold) Write(p []byte) (int, error) { return w.body.print(p) }

// frame is the writer for the output of a run within a step.
func frame(out io.Writer) io.Writer {
	if body, ok := out.(*indenter); ok {
		return untold{body}
	}
	return out
}

// Frame is Output for a run within the step that tells its events itself.
func Frame(ctx context.Context) io.Writer { return frame(Output(ctx)) }

// Veil hides in a text the secrets of the run that ctx belongs to, and of those
// around it.
func Veil(ctx context.Context, text string) string {
	for at := scopeOf(ctx).run; at != nil; at = at.around() {
		text = at.veil.text(text)
	}
	return text
}
