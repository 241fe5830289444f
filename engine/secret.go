package engine

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/url"
	"reflect"
	"strings"
)

// Secret is a text that no output, journal or error shows. Runbooks hold it as
// a value of its own, which they can only hand on to a function that takes a
// Secret: they cannot print it, join it to a text, encode it or return it.
type Secret struct{ text string }

// NewSecret hides a text.
func NewSecret(text string) Secret { return Secret{text: text} }

// Reveal gives the text itself. Functions call it as late as they can.
func (s Secret) Reveal() string { return s.text }

// hidden stands where a secret would be shown.
const hidden = "***"

// String never shows the text, and neither do GoString and MarshalText.
func (s Secret) String() string { return hidden }

// GoString is what %#v prints.
func (s Secret) GoString() string { return hidden }

// MarshalText keeps secrets out of JSON.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// UnmarshalText makes a secret of a text that a runbook has written out.
func (s *Secret) UnmarshalText(text []byte) error {
	s.text = string(text)
	return nil
}

var secretType = reflect.TypeFor[Secret]()

// secretOpaque is how scripts hold a Secret. It has no Parse: a script cannot
// make one, and does not have to.
func secretOpaque() Opaque { return Opaque{Name: "secret", Type: secretType} }

var errSecretKept = errors.New("a secret can only be given to a function that takes one")

// withoutSecrets hides the secrets of a run in an error, also where a function
// has encoded them. What an error says goes to the terminal and into the journal.
func (r *runner) withoutSecrets(err error) error {
	if err == nil {
		return nil
	}
	var pairs []string
	for _, param := range r.params {
		if s, ok := param.(Secret); ok {
			pairs = append(pairs, s.shapes()...)
		}
	}
	text := err.Error()
	if clean := strings.NewReplacer(pairs...).Replace(text); clean != text {
		return &cleanError{clean, err}
	}
	return err
}

// shapes are the forms in which a secret can turn up, each with what is shown
// in its place.
func (s Secret) shapes() (pairs []string) {
	if s.text == "" {
		return nil
	}
	raw := []byte(s.text)
	for _, shape := range []string{
		s.text, url.QueryEscape(s.text), url.PathEscape(s.text), hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)),
		base64.StdEncoding.EncodeToString(raw), base64.RawStdEncoding.EncodeToString(raw),
		base64.URLEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw),
	} {
		pairs = append(pairs, shape, hidden)
	}
	return pairs
}

// cleanError is an error whose text is shown otherwise.
type cleanError struct {
	text string
	err  error
}

func (e *cleanError) Error() string { return e.text }
func (e *cleanError) Unwrap() error { return e.err }

// TakesSecret reports whether a function has a Secret among its arguments or
// options.
func TakesSecret(f Func) bool {
	t := reflect.TypeOf(f.Fn)
	for i := range t.NumIn() {
		in := t.In(i)
		if in == secretType {
			return true
		}
		if in.Kind() != reflect.Struct {
			continue
		}
		for _, option := range reflect.VisibleFields(in) {
			if option.Type == secretType {
				return true
			}
		}
	}
	return false
}
