package engine

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/walcore/hint"
)

// TestDispensableSecret: an extension that only warns does not keep a run from its
// work when the file of its secret is gone. The run says so at its beginning and where
// the secret is taken, and the plan says it. One that may end the run needs its secret:
// the run is refused before anything is done, and the plan has a check that fails.
func TestDispensableSecret(t *testing.T) {
	const param = `params = { url = param.secret { default = "webhook.url" } },`
	const post = `run = function(c) test.take_secret(c.params.url) end`
	for _, test := range []struct {
		name, inner string
		needed      bool
		said        string // where the secret is taken
	}{
		{"at the end of every run", param + `finally = { step { "post", ` + post + ` } }`, false, "step post of finally: "},
		{"after a step", param + `after = { promote = step { "post", ` + post + ` } }`, false, "the run goes on: step post of an extension only warns"},
		{"before a step, which ends the run", param + `before = { stop = step { "post", on_error = "fail", ` + post + ` } }`, true, ""},
		{"instead of a step", param + `replace = { stop = step { "stop", ` + post + ` } }`, true, ""},
		{"beside a check", param + `checks = { check { "c", function(c) return true end } }, finally = { step { "post", ` + post + ` } }`, true, ""},
	} {
		w, taken := &world{}, ""
		host := extendedHost(w, extension(test.inner))
		host.Modules[2].Funcs = append(host.Modules[2].Funcs, Func{Name: "take_secret", Effect: Change, Args: []string{"secret"}, Fn: takeSecret(&taken)})
		host.Secret = func(name string) (Secret, error) {
			return Secret{}, hint.Wrap(fmt.Errorf("open /w/%s: no such file", name), "write it")
		}
		r := mustLoad(t, extended, host)
		plan, err := r.Plan(t.Context(), nil)
		if err != nil {
			t.Fatalf("%s: no plan: %v", test.name, err)
		}
		text := plan.Text()
		if want := "open /w/webhook.url: no such file"; !strings.Contains(text, want) || !strings.Contains(text, "write it") || plan.Failed() != test.needed {
			t.Errorf("%s: the plan fails: %v, and says\n%s", test.name, plan.Failed(), text)
		}
		var out bytes.Buffer
		_, err = r.Run(t.Context(), nil, RunOptions{Out: &out})
		if taken != "" {
			t.Errorf("%s: took %q", test.name, taken)
		}
		if test.needed {
			var param *ParamError
			if !errors.As(err, &param) || HasBegun(err) || len(w.calls) > 0 || hint.Of(err) != "nothing was done; write it" {
				t.Errorf("%s: got %v (hint %q) after %q", test.name, err, hint.Of(err), w.calls)
			}
			continue
		}
		if err != nil || !slices.Equal(w.calls, []string{"stop db1 fast 0s", "promote db2"}) {
			t.Errorf("%s: got %v after %q, want the run done", test.name, err, w.calls)
		}
		for _, want := range []string{"warning: --url: open /w/webhook.url: no such file: what takes it will fail, and the run goes on; write it\n", test.said} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: the run says\n%s\nwant %q", test.name, &out, want)
			}
		}
		if n := strings.Count(out.String(), "/w/webhook.url"); n < 2 {
			t.Errorf("%s: the file is named %d times, want it where the secret is taken, too:\n%s", test.name, n, &out)
		}
	}
}
