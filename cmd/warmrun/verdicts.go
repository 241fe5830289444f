package main

import (
	"fmt"
	"strings"

	"github.com/warmrun/warmrun/engine"
)

// verdicts are the operator's word on steps that were interrupted: these have
// done their work, those are to be run again. A step of a run within another is
// named RUNBOOK/STEP.
type verdicts struct{ done, again []string }

// split parts those on steps of a runbook itself from those on runs within it.
func (v verdicts) split(book *engine.Runbook) (own, inner verdicts) {
	part := func(names []string) (own, inner []string) {
		for _, name := range names {
			if strings.Contains(name, "/") && !hasStep(book, name) {
				inner = append(inner, name)
			} else {
				own = append(own, name)
			}
		}
		return own, inner
	}
	own.done, inner.done = part(v.done)
	own.again, inner.again = part(v.again)
	return own, inner
}

func hasStep(book *engine.Runbook, name string) bool {
	for _, step := range book.Steps {
		if step.Name == name {
			return true
		}
	}
	return false
}

// within are the verdicts as a run of the named runbook takes them.
func (v verdicts) within(runbook string) verdicts {
	strip := func(names []string) (out []string) {
		for _, name := range names {
			out = append(out, strings.TrimPrefix(name, runbook+"/"))
		}
		return out
	}
	return verdicts{done: strip(v.done), again: strip(v.again)}
}

// words are the flags that hand the verdicts to a run on another node.
func (v verdicts) words() (words []string) {
	for _, name := range v.done {
		words = append(words, "--part-done="+name)
	}
	for _, name := range v.again {
		words = append(words, "--part-repeat="+name)
	}
	return words
}

// any is one of the names, or empty.
func (v verdicts) any() string {
	for _, name := range append(v.done, v.again...) {
		return name
	}
	return ""
}

// unsettledMark begins the line by which a nested run says that it was
// interrupted in a step which only the operator can settle: the run around it
// then stays as it was too.
const unsettledMark = "warmrun: unsettled: "

// markUnsettled is that line.
func markUnsettled(unsettled *engine.UnsettledError) string {
	return fmt.Sprintf("%s%q %q %q", unsettledMark, unsettled.Runbook, unsettled.Step, unsettled.Func)
}

// readUnsettled reads what markUnsettled has made; nil is any other line.
func readUnsettled(line string) *engine.UnsettledError {
	text, ok := strings.CutPrefix(line, unsettledMark)
	var u engine.UnsettledError
	if !ok {
		return nil
	}
	if _, err := fmt.Sscanf(text, "%q %q %q", &u.Runbook, &u.Step, &u.Func); err != nil {
		return nil
	}
	return &u
}
