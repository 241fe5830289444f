package engine

import (
	"context"
	"io"
	"time"
)

// RunOptions bend one run.
type RunOptions struct {
	// Out receives the live output; nil means Host.Out, or the output of the
	// step that started this run.
	Out io.Writer
	// Terminal allows colour.
	Terminal bool
	// Quiet leaves only failures and undo in the output.
	Quiet bool
	// AssumeYes answers every confirm with yes.
	AssumeYes bool
	// Observe is told of every event before the run goes on. An error it
	// returns fails the run, so a journal that cannot be written stops it.
	Observe func(Event) error
	// Tell is told of the same events once they were observed, and of what the
	// steps print, are marked with and take their time over: everything that is
	// printed, for programs. It is called from several goroutines. Nil tells nobody.
	Tell func(Event)
	// Before is asked before every step, also of runbooks within; an error ends
	// the run as a failure of the step does, which then has not begun, and
	// ErrOvertaken ends it where it stands. It is asked before each undo, too,
	// where only ErrOvertaken counts.
	Before func(ctx context.Context, step string) error
	// StopUndo, once closed, ends a running undo; what is left is reported.
	StopUndo <-chan struct{}
	// UndoTimeout bounds the undo of each step; 0 means 10 minutes.
	UndoTimeout time.Duration
	// History makes this the continuation of a run that ended early, as the
	// journal tells of it; see there.
	History *History
	// SettleNested brings a run that a step has called through CallsRun to an
	// end, undone: before anything else of this run is undone, where the step
	// has not finished, and in the place of a step's own undo. The error is
	// ErrPastReturn where that run can only go forward.
	SettleNested func(context.Context, NestedRun) error

	announceAfter  time.Duration // see heading; 0 is the usual
	heartbeatAfter time.Duration // 0 is the usual
}

// EventKind names what has happened in a run.
type EventKind string

// The events of a run, in the order in which they can occur.
const (
	RunBegan    EventKind = "run began"
	CheckEnded  EventKind = "check ended"
	StepBegan   EventKind = "step began"
	StepRetried EventKind = "step retried"
	// ChangeBegan comes before the first call of a step's try that may change
	// something. A step that was interrupted before it can be run again.
	ChangeBegan EventKind = "change began"
	// NestedCalled comes before a step calls a run that has a journal of its own.
	NestedCalled EventKind = "nested run called"
	// NoReturnPassed comes before the irreversible work, not after it.
	NoReturnPassed EventKind = "no return"
	StepEnded      EventKind = "step ended"
	// GaveUp comes before the first undo: from here on the run goes back.
	GaveUp    EventKind = "gave up"
	UndoBegan EventKind = "undo began"
	UndoEnded EventKind = "undo ended"
	RunEnded  EventKind = "run ended"
	// RunResumed begins the continuation of a run that ended early.
	RunResumed EventKind = "run resumed"
)

// Event is one entry of a run's history.
type Event struct {
	Kind EventKind `json:"event"`
	At   time.Time `json:"at"`
	// Runbook is the runbook's name; for a runbook inside a step it is the
	// whole path, as in "switchover/flush/flushPrimary".
	Runbook string  `json:"runbook"`
	Step    string  `json:"step,omitempty"`
	Outcome Outcome `json:"outcome,omitempty"`
	Attempt int     `json:"attempt,omitempty"`
	// Value is a step's result in the form that encoding/json takes.
	Value any    `json:"value,omitempty"`
	Error string `json:"error,omitempty"`
	// Func is what a step is about to call, and Nodes on which nodes where that
	// is several.
	Func  string   `json:"func,omitempty"`
	Nodes []string `json:"nodes,omitempty"`
	// Nested is the run that a step is about to call.
	Nested *NestedRun `json:"nested,omitempty"`
	// Changed: the step has called what may change something; at the end of an undo,
	// it may have left some of that, because it has no undo of its own. Refused: it
	// was turned down before it had changed anything.
	Changed bool `json:"changed,omitempty"`
	Refused bool `json:"refused,omitempty"`
	// Warned: it failed, and the run went on.
	Warned bool `json:"warned,omitempty"`
	// Left are the steps that a run has left not undone.
	Left []string `json:"left,omitempty"`

	// What is only told, and on no record: a line of output, what a step is
	// marked with or how far it is; where an outage begins or ends; how long the
	// step has run; that it belongs to finally; and the steps of the run.
	Line    string   `json:"line,omitempty"`
	Outage  string   `json:"outage,omitempty"`
	Seconds float64  `json:"seconds,omitempty"`
	Finally bool     `json:"finally,omitempty"`
	Steps   []string `json:"steps,omitempty"`
}

// NestedRun is a run of another runbook that a step has called, and that has a
// journal of its own.
type NestedRun struct {
	// Key tells the calls of one run apart: the same for the same call when the
	// step is run again after it was interrupted.
	Key     string `json:"key"`
	Node    string `json:"node"`
	Runbook string `json:"runbook"`
	// Undo: the step's undo has called it.
	Undo bool `json:"undo,omitempty"`
}

// Outcome is how a step or a check ended.
type Outcome string

// The outcomes.
const (
	Done        Outcome = "done"
	AlreadyDone Outcome = "already done" // done_if said so; undo leaves it alone
	Skipped     Outcome = "skipped"      // when said no
	Failed      Outcome = "failed"
	Undone      Outcome = "undone"
	UndoFailed  Outcome = "undo failed"
)

// Result is what a run did, complete also when it failed.
type Result struct {
	Runbook string            `json:"runbook"`
	Params  map[string]string `json:"params,omitempty"`
	Began   time.Time         `json:"began"`
	Ended   time.Time         `json:"ended"`
	Steps   []StepResult      `json:"steps"`
	// Next is the runbook that usually follows.
	Next string `json:"next,omitempty"`
}

// StepResult is one step of a Result. Steps that were not reached are absent.
type StepResult struct {
	Name     string  `json:"name"`
	Outcome  Outcome `json:"outcome"`
	Attempts int     `json:"attempts,omitempty"`
	Seconds  float64 `json:"seconds"`
	// Value is what run returned: nil, booleans, numbers, strings, []any,
	// map[string]any and opaque values, which encoding/json writes as text.
	Value any    `json:"value,omitempty"`
	Error string `json:"error,omitempty"`
}
