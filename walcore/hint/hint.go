// Package hint attaches to an error what its reader should do next. The
// program prints it on a line of its own below the error.
package hint

import (
	"errors"
	"fmt"
)

type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

// Wrap returns err with a hint, formatted as by fmt.Sprintf. A nil err stays
// nil.
func Wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &hinted{error: err, hint: fmt.Sprintf(format, args...)}
}

// Of is the outermost hint in err's chain, or the empty string.
func Of(err error) string {
	var h *hinted
	if !errors.As(err, &h) {
		return ""
	}
	return h.hint
}
