package engine

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/walcore/hint"
)

// position stands for an LSN: 64 bits, a text form, order and difference.
type lsn uint64

func (l lsn) String() string               { return fmt.Sprintf("%X/%X", uint64(l)>>32, uint64(l)&0xffffffff) }
func (l lsn) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

func parseLSN(s string) (any, error) {
	var high, low uint64
	if _, err := fmt.Sscanf(s, "%X/%X", &high, &low); err != nil {
		return nil, fmt.Errorf("%q is not an LSN", s)
	}
	return lsn(high<<32 | low), nil
}

var lsnType = Opaque{
	Name: "lsn", Type: reflect.TypeFor[lsn](), Parse: parseLSN,
	Compare: func(a, b any) int { return cmp.Compare(a.(lsn), b.(lsn)) },
	Sub:     func(a, b any) (float64, error) { return float64(int64(a.(lsn) - b.(lsn))), nil },
}

// node is a handle.
type node struct {
	Name  string            `json:"name"`
	Port  int               `json:"port"`
	Paths []string          `json:"paths"`
	Tags  map[string]string `json:"tags"`
	SSH   struct {
		User string `json:"user"`
	} `json:"ssh"`
	Secret string `json:"-"`
}

// outerOptions embeds another struct: its fields have places of their own.
type outerOptions struct {
	First bool   `json:"first"`
	Last  string `json:"last"`
	innerOptions
}

type innerOptions struct {
	Names []string `json:"names"`
	Flag  bool     `json:"flag"`
}

type stopOptions struct {
	Mode    string        `json:"mode"`
	Timeout time.Duration `json:"timeout"`
	Retries int           `json:"retries"`
	Upto    lsn           `json:"upto"`
	Also    []string      `json:"also"`
	Quick   *bool         `json:"quick"`
}

type control struct {
	State      string    `json:"state"`
	Checkpoint lsn       `json:"checkpoint"`
	SystemID   uint64    `json:"system_id,string"`
	ModifiedAt time.Time `json:"modified_at"`
	Age        time.Duration
	Note       string `json:"note,omitempty"`
	Names      []string
}

// world is a fake cluster that writes down what was done to it.
type world struct {
	calls []string
	state string
	hook  func(ctx context.Context, call string) error
}

func (w *world) do(ctx context.Context, format string, args ...any) error {
	call := fmt.Sprintf(format, args...)
	w.calls = append(w.calls, call)
	if w.hook != nil {
		return w.hook(ctx, call)
	}
	return nil
}

func (w *world) stop(ctx context.Context, n string, o stopOptions) (control, error) {
	if err := w.do(ctx, "stop %s %s %s", n, o.Mode, o.Timeout); err != nil {
		return control{}, err
	}
	w.state = "shut down"
	return control{State: w.state, Checkpoint: 0x3000028}, nil
}

func (w *world) start(ctx context.Context, n string) error {
	w.state = "in production"
	return w.do(ctx, "start %s", n)
}

func (w *world) control(ctx context.Context, n string) (control, error) {
	return control{
		State: w.state, Checkpoint: 0x3000028, SystemID: 7263984723984723984,
		ModifiedAt: time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC), Age: 1500 * time.Millisecond, Names: []string{"a", "b"},
	}, nil
}

func (w *world) host() Host {
	return Host{
		Modules: []Module{
			{Name: "pg_ctl", Funcs: []Func{
				{Name: "stop", Effect: Change, Args: []string{"node"}, Fn: w.stop},
				{Name: "start", Effect: Change, Args: []string{"node"}, Fn: w.start,
					Describe: func(args []any) string { return fmt.Sprintf("start the server on %s", args[0]) }},
				{Name: "control", Effect: Read, Args: []string{"node"}, Fn: w.control},
				{Name: "promote", Effect: Change, Args: []string{"node"}, Fn: func(ctx context.Context, n string) (lsn, error) {
					return 0x4000000, w.do(ctx, "promote %s", n)
				}},
				{Name: "wait_ready", Effect: Wait, Args: []string{"node"}, Fn: func(ctx context.Context, n string) error {
					return w.do(ctx, "wait_ready %s", n)
				}},
			}},
			{Name: "psql", Funcs: []Func{
				{Name: "exec", Effect: Change, Args: []string{"node", "sql"}, Fn: func(ctx context.Context, n, sql string, args ...any) error {
					return w.do(ctx, "exec %s %s %v", n, sql, args)
				}},
				{Name: "value", Effect: Read, Args: []string{"node", "sql"}, Fn: func(_ context.Context, n, sql string, args ...any) (any, error) {
					return strings.ToUpper(sql), nil
				}},
			}},
			{Name: "test", Funcs: testFuncs(w)},
		},
		Opaques: []Opaque{lsnType},
		Vars: map[string]any{
			"node": "db1", "partner": "db2", "dr": nil,
			"self": node{Name: "db1", Port: 5432, Paths: []string{"x", "y"}, Tags: map[string]string{"rack": "r1"}, Secret: "s"},
			"list": []string{"p", "q"},
		},
	}
}

// coded is an error that a caller tells by its type.
type coded struct{ code int }

func (c *coded) Error() string { return fmt.Sprintf("code %d", c.code) }

func testFuncs(w *world) []Func {
	return []Func{
		{Name: "fail", Effect: Read, Args: []string{"text"}, Fn: func(_ context.Context, text string) error {
			return hint.Wrap(errors.New(text), "try harder")
		}},
		{Name: "coded", Fn: func(context.Context) error { return &coded{code: 7} }},
		{Name: "panic", Fn: func(context.Context) error { panic("boom in Go") }},
		{Name: "index", Fn: func(_ context.Context) error { return fmt.Errorf("%v", w.calls[len(w.calls)]) }},
		{Name: "hang", Fn: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
		{Name: "echo", Args: []string{"value"}, Fn: func(_ context.Context, v any) (any, error) { return v, nil }},
		{Name: "go", Args: []string{"value"}, Fn: func(_ context.Context, v any) (string, error) { return fmt.Sprintf("%T %v", v, v), nil }},
		{Name: "int", Args: []string{"n"}, Fn: func(_ context.Context, n int32) (int32, error) { return n, nil }},
		{Name: "uint", Args: []string{"n"}, Fn: func(_ context.Context, n uint8) (uint8, error) { return n, nil }},
		{Name: "float", Args: []string{"n"}, Fn: func(_ context.Context, n float64) (float64, error) { return n, nil }},
		{Name: "bool", Args: []string{"b"}, Fn: func(_ context.Context, b bool) (bool, error) { return b, nil }},
		{Name: "strings", Args: []string{"list"}, Fn: func(_ context.Context, l []string) (int, error) { return len(l), nil }},
		{Name: "map", Args: []string{"map"}, Fn: func(_ context.Context, m map[string]any) (string, error) { return fmt.Sprint(m), nil }},
		{Name: "lsn", Args: []string{"at"}, Fn: func(_ context.Context, l lsn) (string, error) { return l.String(), nil }},
		{Name: "node", Args: []string{"node"}, Fn: func(_ context.Context, n node) (int, error) { return n.Port, nil }},
		{Name: "maybe", Args: []string{"text"}, Fn: func(_ context.Context, s *string) (string, error) {
			if s == nil {
				return "none", nil
			}
			return *s, nil
		}},
		{Name: "wait", Args: []string{"how long"}, Fn: func(_ context.Context, d time.Duration) (time.Duration, error) { return d, nil }},
		{Name: "embedded", Fn: func(_ context.Context, o outerOptions) (string, error) {
			return fmt.Sprintf("first=%t last=%q names=%q flag=%t", o.First, o.Last, o.Names, o.Flag), nil
		}},
		{Name: "options", Args: []string{"node"}, Fn: func(_ context.Context, n string, o *stopOptions) (string, error) {
			quick := "unset"
			if o.Quick != nil {
				quick = fmt.Sprint(*o.Quick)
			}
			return fmt.Sprintf("%s mode=%s timeout=%s retries=%d upto=%s also=%q quick=%s", n, o.Mode, o.Timeout, o.Retries, o.Upto, o.Also, quick), nil
		}},
		{Name: "keyword", Args: []string{"local"}, Fn: func(context.Context, string) error { return nil }},
		{Name: "many", Fn: func(context.Context) (string, int, error) { return "two", 2, nil }},
		{Name: "big", Fn: func(context.Context) (uint64, error) { return 1<<63 + 1, nil }},
		{Name: "print", Args: []string{"text"}, Fn: func(ctx context.Context, text string) error {
			_, err := fmt.Fprint(Output(ctx), text)
			return err
		}},
		{Name: "no_return", Effect: Change, Fn: func(ctx context.Context) error { return NoReturn(ctx) }},
	}
}

// book wraps steps and checks into a runbook's text.
func bookText(inner string) string {
	return `return runbook { api = 1, name = "demo", summary = "a demonstration", runs_on = "primary", lock = "none",
` + inner + `
}`
}

func mustLoad(t *testing.T, text string, host Host) *Runbook {
	t.Helper()
	r, err := Load(t.Context(), Source{Path: "demo.lua", Text: text}, host)
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	return r
}

// runStep runs a runbook whose only step has the given body.
func runStep(t *testing.T, host Host, body string) (any, string, error) {
	t.Helper()
	r := mustLoad(t, bookText("steps = { step { \"one\", run = function(c)\n"+body+"\nend } }"), host)
	var out bytes.Buffer
	result, err := r.Run(t.Context(), nil, RunOptions{Out: &out})
	if result == nil || len(result.Steps) == 0 {
		return nil, out.String(), err
	}
	return result.Steps[0].Value, out.String(), err
}

// takeSecret is a function that a secret may be given to.
func takeSecret(to *string) any {
	return func(_ context.Context, s Secret) error {
		*to = s.Reveal()
		return nil
	}
}
