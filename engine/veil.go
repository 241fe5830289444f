package engine

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/warmrun/warmrun/walcore/hint"
)

// veil hides the secrets of a run in what it prints, returns and fails with,
// also where a function has encoded them: all of that goes to the terminal and
// into the journal. Nil hides nothing.
type veil struct {
	shapes []string // the longest first: one may be the beginning of another
	texts  *strings.Replacer
}

// veilOver hides the secrets among the parameters of a run.
func veilOver(params map[string]any) *veil {
	v := &veil{}
	for _, param := range params {
		if s, ok := param.(Secret); ok {
			v.shapes = append(v.shapes, s.shapes()...)
		}
	}
	if len(v.shapes) == 0 {
		return nil
	}
	slices.SortFunc(v.shapes, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	var pairs []string
	for _, shape := range v.shapes {
		pairs = append(pairs, shape, hidden)
	}
	v.texts = strings.NewReplacer(pairs...)
	return v
}

// shapes are the forms in which a secret can turn up.
func (s Secret) shapes() []string {
	if s.text == "" {
		return nil
	}
	raw := []byte(s.text)
	shapes := []string{
		s.text, url.QueryEscape(s.text), url.PathEscape(s.text), hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)),
		base64.StdEncoding.EncodeToString(raw), base64.RawStdEncoding.EncodeToString(raw),
		base64.URLEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw),
	}
	if quoted, err := json.Marshal(s.text); err == nil {
		shapes = append(shapes, strings.Trim(string(quoted), `"`))
	}
	return shapes
}

// text hides what is in a text.
func (v *veil) text(text string) string {
	if v == nil {
		return text
	}
	return v.texts.Replace(text)
}

// value hides what is in a value that a step has returned.
func (v *veil) value(value any) any {
	if v == nil {
		return value
	}
	switch x := value.(type) {
	case string:
		return v.text(x)
	case []any:
		list := make([]any, len(x))
		for i, item := range x {
			list[i] = v.value(item)
		}
		return list
	case map[string]any:
		object := make(map[string]any, len(x))
		for key, item := range x {
			object[v.text(key)] = v.value(item)
		}
		return object
	}
	return value
}

// error hides what is in an error and its hint.
func (v *veil) error(err error) error {
	if v == nil || err == nil {
		return err
	}
	text, advice := err.Error(), hint.Of(err)
	if clean := v.text(text); clean != text {
		err = &cleanError{clean, err}
	}
	if clean := v.text(advice); clean != advice {
		err = hint.Wrap(err, "%s", clean)
	}
	return err
}

// cleanError is an error whose text is shown otherwise.
type cleanError struct {
	text string
	err  error
}

func (e *cleanError) Error() string { return e.text }
func (e *cleanError) Unwrap() error { return e.err }

// over hides what is written to out.
func (v *veil) over(out io.Writer) *veiledWriter { return &veiledWriter{veil: v, to: out} }

// veiledWriter passes everything on at once but for an end that may be the
// beginning of a secret, which can come in pieces.
type veiledWriter struct {
	veil *veil
	to   io.Writer

	mu   sync.Mutex
	held string
}

func (w *veiledWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	clean, held := w.veil.piece(w.held + string(p))
	w.held = held
	if clean == "" {
		return len(p), nil
	}
	if _, err := io.WriteString(w.to, clean); err != nil {
		return 0, err
	}
	return len(p), nil
}

// flush writes what was held back. Errors are dropped, as printer does.
func (w *veiledWriter) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held != "" {
		_, _ = io.WriteString(w.to, w.veil.text(w.held))
		w.held = ""
	}
}

// piece hides what is in a text that may go on, and gives the end of it of which
// only what follows can tell.
func (v *veil) piece(text string) (clean, held string) {
	if v == nil {
		return text, ""
	}
	var b strings.Builder
	for text != "" {
		if slices.ContainsFunc(v.shapes, func(s string) bool { return len(s) > len(text) && strings.HasPrefix(s, text) }) {
			break
		}
		put, rest := text[:1], text[1:]
		if i := slices.IndexFunc(v.shapes, func(s string) bool { return strings.HasPrefix(text, s) }); i >= 0 {
			put, rest = hidden, text[len(v.shapes[i]):]
		}
		b.WriteString(put)
		text = rest
	}
	return b.String(), text
}
