package engine

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/walcore/hint"
)

// What a runbook gets for each kind of parameter, and what a wrong argument is
// told.
func TestParameterKinds(t *testing.T) {
	for _, test := range []struct {
		kind, given string
		body        string // what the step returns
		want        any
		wrong       string // the error, where want is nil
	}{
		{"lsn", "0/3000028", `c.params.x > lsn("0/3000027") and c.params.x - lsn("0/3000000")`, int64(0x28), ""},
		{"lsn", "3000028", ``, nil, `--x: "3000028" is not an LSN`},
		{"time", "2024-05-01T12:00:00.123456789Z", `c.params.x`, "2024-05-01T12:00:00.123456789Z", ""},
		{"time", "2024-05-01 14:00:00+02", `c.params.x`, "2024-05-01T14:00:00+02:00", ""},
		{"time", "2024-05-01 14:00:00.5 UTC", `c.params.x`, "2024-05-01T14:00:00.5Z", ""},
		{"time", "2024-05-01 14:00:00", ``, nil, `--x: "2024-05-01 14:00:00" is not a time with its zone: want one such as 2024-05-01T12:00:00Z or "2024-05-01 14:00:00+02"`},
		{"size", "16MB", `c.params.x`, int64(16 << 20), ""},
		{"duration", "1h30m", `c.params.x`, "1h30m", ""},
		{"duration", "soon", ``, nil, `--x: "soon" is not a duration: want a number and a unit, such as 30s, 5min or 1h30m`},
		{"integer", "12", `c.params.x + 1`, int64(13), ""},
		{"integer", "1.5", ``, nil, `--x: "1.5" is not a whole number`},
		{"boolean", "yes", `c.params.x`, true, ""},
		{"secret", "token", `type(c.params.x)`, "secret", ""},
		{"secret", "none", ``, nil, `--x: no such file`},
	} {
		host := (&world{}).host()
		host.Secret = func(name string) (Secret, error) {
			if name != "token" {
				return Secret{}, errors.New("no such file")
			}
			return NewSecret("geheim"), nil
		}
		r := mustLoad(t, bookText("params = { x = param."+test.kind+` { help = "x" } }, steps = { step { "one", run = function(c) return `+test.body+" end } }"), host)
		result, err := r.Run(t.Context(), map[string]string{"x": test.given}, RunOptions{})
		switch {
		case test.want == nil:
			if err == nil || err.Error() != test.wrong {
				t.Errorf("%s %q: got error %v, want %s", test.kind, test.given, err, test.wrong)
			}
		case err != nil || result.Steps[0].Value != test.want:
			t.Errorf("%s %q: got %v, %v, want %v", test.kind, test.given, result, err, test.want)
		}
	}
}

// A secret is nowhere to be seen: not in the output, not in a plan, not in what
// is recorded, not in an error, and no function of Lua can turn it into a text.
func TestSecretsStayHidden(t *testing.T) {
	const word = "geheim"
	for _, body := range []string{
		`say("%s", c.params.token)`,
		`say(c.params.token)`,
		`say("a " .. c.params.token)`,
		`return tostring(c.params.token)`,
		`return c.params.token`,
		`return { nested = { c.params.token } }`,
		`return table.concat({ c.params.token })`,
		`return string.format("%q", c.params.token)`,
		`return (string.gsub("x", "x", c.params.token))`,
		`return string.byte(c.params.token)`,
		`return c.params.token:upper()`,
		`fail("%s", c.params.token)`,
		`error(c.params.token)`,
		`test.take_secret(c.params.token)`,
		`test.tell_secret(c.params.token)`,
		`return test.echo_secret(c.params.token)`,
		`return { [test.echo_secret(c.params.token)] = { test.echo_secret(c.params.token) } }`,
		`say("got %s", test.echo_secret(c.params.token))`,
		`local ok, err = pcall(test.tell_secret, c.params.token) say("%s", err)`,
		`fail { "no", hint = test.echo_secret(c.params.token) }`,
		`test.echo(c.params.token)`,
		`psql.exec(c.node, "SELECT $1", c.params.token)`,
	} {
		w := &world{}
		host := w.host()
		taken := ""
		host.Modules[2].Funcs = append(host.Modules[2].Funcs, Func{Name: "take_secret", Effect: Change, Args: []string{"secret"},
			Fn: takeSecret(&taken)},
			Func{Name: "tell_secret", Effect: Change, Args: []string{"secret"}, Fn: func(_ context.Context, s Secret) error {
				return hint.Wrap(fmt.Errorf("GET /?key=%s: Basic %s", s.Reveal(), base64.StdEncoding.EncodeToString([]byte(s.Reveal()))), "is %s right?", s.Reveal())
			}},
			Func{Name: "echo_secret", Effect: Change, Args: []string{"secret"}, Fn: func(_ context.Context, s Secret) (string, error) {
				return "you sent " + s.Reveal(), nil
			}})
		host.Secret = func(string) (Secret, error) { return NewSecret(word), nil }
		r := mustLoad(t, bookText(`params = { token = param.secret { required = true } }, steps = { step { "one", run = function(c) `+body+` end } }`), host)
		var out bytes.Buffer
		var events []Event
		result, err := r.Run(t.Context(), map[string]string{"token": "file"}, RunOptions{Out: &out,
			Observe: func(e Event) error { events = append(events, e); return nil }})
		plan, planErr := r.Plan(t.Context(), map[string]string{"token": "file"})
		if planErr != nil {
			t.Errorf("%s: plan: %v", body, planErr)
		}
		shown := fmt.Sprintf("%s %+v %#v %v %s %s %v", &out, events, result, err, hint.Of(err), plan.Text(), w.calls)
		if strings.Contains(shown, word) || strings.Contains(shown, base64.StdEncoding.EncodeToString([]byte(word))) {
			t.Errorf("%s shows the secret: %s", body, shown)
		}
		if strings.Contains(body, "take_secret") && (err != nil || taken != word) {
			t.Errorf("%s: got %q, %v, want the secret handed over", body, taken, err)
		}
	}
}
