package engine

import (
	"errors"
	"reflect"
)

// Secret is a text that no output, journal or error shows. Runbooks hold it as
// a value of its own, which they can only hand on to a function that takes a
// Secret: they cannot print it, join it to a text, encode it or return it.
type Secret struct {
	text string
	lost error // why it could not be read, where a run or a plan can do without it
}

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

// lostSecret stands for a secret that cannot be read. Whoever is given it gets
// the error.
func lostSecret(err error) Secret { return Secret{lost: err} }

func isSecret(t reflect.Type) bool {
	return t == secretType || t.Kind() == reflect.Pointer && t.Elem() == secretType
}

// TakesSecret reports whether a function has a Secret among its arguments or
// options.
func TakesSecret(f Func) bool {
	t := reflect.TypeOf(f.Fn)
	for i := range t.NumIn() {
		in := t.In(i)
		if isSecret(in) {
			return true
		}
		if in.Kind() != reflect.Struct {
			continue
		}
		for _, option := range reflect.VisibleFields(in) {
			if isSecret(option.Type) {
				return true
			}
		}
	}
	return false
}
