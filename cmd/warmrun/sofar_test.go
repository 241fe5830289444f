package main

import (
	"bytes"
	"fmt"
	"testing"
)

// TestCallOutput: what an operation on another node says of how far it is comes
// to its step, and nothing else is lost, wherever the stream is cut.
func TestCallOutput(t *testing.T) {
	const all = "first\n" + soFarMark + "3 of 12 segments\nsecond\nopen"
	for cut := range len(all) {
		var rest bytes.Buffer
		var far []string
		w := &callOutput{rest: &rest, soFar: func(text string) { far = append(far, text) }}
		for _, part := range []string{all[:cut], all[cut:]} {
			if _, err := w.Write([]byte(part)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.end(); err != nil {
			t.Fatal(err)
		}
		if got := rest.String(); got != "first\nsecond\nopen" || fmt.Sprint(far) != "[3 of 12 segments]" {
			t.Errorf("cut at %d: %q, and %q", cut, got, far)
		}
	}
}
