package engine

import (
	"sort"
	"strings"

	"github.com/warmrun/warmrun/walcore/hint"
)

// didYouMean is the end of a message about an unknown name: the known name
// that is closest to it or, where none is close, the few there are.
func didYouMean(name string, known []string) string {
	best := hint.Nearest(name, known)
	if best != "" {
		return ", did you mean " + best + "?"
	}
	if len(known) == 0 || len(known) > 18 {
		return ""
	}
	sorted := append([]string(nil), known...)
	sort.Strings(sorted)
	return " (known: " + strings.Join(sorted, ", ") + ")"
}
