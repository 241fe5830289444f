package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/builtins/remote"
	"github.com/warmrun/warmrun/walcore/hint"
)

// What a nested run prints must reach the run around it in the right form, in
// whatever pieces the connection delivers it.
func TestNestedOutput(t *testing.T) {
	const text = "working\nwarmrun: event {\"event\":\"step began\"}\nwarmrun: no return\nmore work\nwarmrun: error: it broke\nwarmrun: hint: mend it\n"
	for size := 1; size <= len(text); size += 7 {
		var rest bytes.Buffer
		marks := 0
		var followed bytes.Buffer
		events := &runEvents{out: &followed}
		w := &nestedOutput{rest: &rest, noReturn: func() error { marks++; return nil }, event: events.relay}
		for p := []byte(text); len(p) > 0; {
			n := min(size, len(p))
			if _, err := w.Write(p[:n]); err != nil {
				t.Fatal(err)
			}
			p = p[n:]
		}
		if got, want := rest.String(), "working\nmore work\n"; got != want {
			t.Errorf("pieces of %d: got output %q, want %q", size, got, want)
		}
		if got, want := followed.String(), "{\"event\":\"step began\"}\n"; got != want {
			t.Errorf("pieces of %d: got events %q, want %q", size, got, want)
		}
		if marks != 1 {
			t.Errorf("pieces of %d: got %d marks of no return, want 1", size, marks)
		}
		err := explainNested(t.Context(), "db1", "flushPrimary", w.complaints.String(), &remote.ExitError{Status: 4})
		if err == nil || !strings.Contains(err.Error(), "flushPrimary on db1: it broke") || hint.Of(err) != "mend it" {
			t.Errorf("pieces of %d: got error %v with hint %q", size, err, hint.Of(err))
		}
		if code := exitCode(err); code != exitOperator {
			t.Errorf("pieces of %d: got exit code %d, want %d", size, code, exitOperator)
		}
	}
}

// TestMayPass: a connection that breaks while a runbook runs elsewhere leaves
// unknown whether a runbook that this one calls has passed the line of no return.
func TestMayPass(t *testing.T) {
	s := recorded(t)
	for book, want := range map[string]bool{
		"demo": false, "flushPrimary": false, "triggerStandby": true, "switchover": true, "failover": true,
	} {
		broke := errors.New("the connection broke")
		if got := mayHavePassed(t.Context(), s, book, broke); got != want {
			t.Errorf("%s may have passed the line: %v, want %v", book, got, want)
		}
	}
}
