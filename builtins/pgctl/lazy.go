package pgctl

import (
	"regexp"
	"sync"
)

// lazyRegexp compiles an expression when it is first used. The server starts
// this program for every WAL file, and such a call uses none.
func lazyRegexp(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}
