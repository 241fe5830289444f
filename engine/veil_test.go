package engine

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
)

// TestVeil: a secret is hidden in whatever pieces it is printed, and where one
// secret begins with another the longer one is.
func TestVeil(t *testing.T) {
	v := veilOver(map[string]any{"a": NewSecret("geheim"), "b": NewSecret("geheimnis"), "c": NewSecret(`qu"ote`)})
	const text, want = "gehe geheimnis geheimer g Z2VoZWlt qu\\\"ote ge", "gehe *** ***er g *** *** ge"
	if got := v.text(text); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for size := 1; size <= len(text); size++ {
		var out bytes.Buffer
		w := v.over(&out)
		for rest := []byte(text); len(rest) > 0; {
			n := min(size, len(rest))
			if _, err := w.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if got := out.String(); !strings.HasSuffix(got, "*** *** ") {
			t.Errorf("pieces of %d: %q was written before the end", size, got)
		}
		if w.flush(); out.String() != want {
			t.Errorf("pieces of %d: got %q, want %q", size, out.String(), want)
		}
	}
}

// TestLintFindsSecrets: a secret is not to be written into a runbook, whose text
// is in the journal of each of its runs.
func TestLintFindsSecrets(t *testing.T) {
	host := (&world{}).host()
	type options struct {
		Token Secret `json:"token"`
	}
	taken := ""
	host.Modules[2].Funcs = append(host.Modules[2].Funcs,
		Func{Name: "take_secret", Effect: Read, Args: []string{"secret"}, Fn: takeSecret(&taken)},
		Func{Name: "with_token", Effect: Read, Fn: func(context.Context, *options) error { return nil }})
	for _, test := range []struct{ body, want string }{
		{`test.take_secret("geheim")`, "argument 1 (secret) of test.take_secret: " + secretWritten},
		{`test.with_token({ token = "geheim" })`, "token in test.with_token: " + secretWritten},
		{`test.take_secret(c.params.token) test.with_token({ token = c.params.token })`, ""},
	} {
		text := bookText(`params = { token = param.secret {} }, steps = { step { "one", run = function(c) ` + test.body + ` end } }`)
		got := ""
		for _, f := range Lint(t.Context(), Source{Path: "demo.lua", Text: text}, host) {
			got += f.Text
		}
		if got != test.want {
			t.Errorf("%s: got %q, want %q", test.body, got, test.want)
		}
	}
}

// TestBackWithoutItsSecret: a run can be undone when the file of a secret is gone.
// Only what is given the secret fails then, and a run forward is refused.
func TestBackWithoutItsSecret(t *testing.T) {
	for _, test := range []struct {
		undo, left string
		back       bool
	}{
		{`psql.exec(c.node, "undo")`, "", true},
		{`test.take_secret(c.params.token)`, "one", true},
		{`psql.exec(c.node, "undo")`, "", false},
	} {
		w, taken := &world{}, ""
		host := w.host()
		host.Modules[2].Funcs = append(host.Modules[2].Funcs, Func{Name: "take_secret", Effect: Change, Args: []string{"secret"}, Fn: takeSecret(&taken)})
		gone := false
		host.Secret = func(string) (Secret, error) {
			if gone {
				return Secret{}, errors.New("no such file")
			}
			return NewSecret("geheim"), nil
		}
		r := mustLoad(t, bookText(`params = { token = param.secret {} }, steps = {
  step { "one", run = function(c) psql.exec(c.node, "do") end, undo = function(c) `+test.undo+` end },
  step { "two", run = function(c) end },
}`), host)
		args, h := map[string]string{"token": "file"}, &History{Back: test.back}
		_, err := r.Run(t.Context(), args, RunOptions{Observe: func(e Event) error {
			if gone {
				return errors.New("the process is dead")
			}
			h.Events, gone = append(h.Events, e), e.Kind == StepEnded
			return nil
		}})
		if !gone || err == nil {
			t.Fatalf("the run ended before it was interrupted: %v", err)
		}
		w.calls, taken = nil, ""
		_, err = r.Run(t.Context(), args, RunOptions{History: h})
		var step *StepError
		var param *ParamError
		switch {
		case !test.back:
			if !errors.As(err, &param) || HasBegun(err) || len(w.calls) > 0 {
				t.Errorf("forward: got %v after %v", err, w.calls)
			}
		case !errors.As(err, &step) || strings.Join(step.Left, " ") != test.left || taken != "":
			t.Errorf("%s: got %v, %+v, want left %q", test.undo, err, step, test.left)
		case test.left != "" && !strings.Contains(step.UndoErr.Error(), "no such file"):
			t.Errorf("the undo failed with %v", step.UndoErr)
		}
	}
}
