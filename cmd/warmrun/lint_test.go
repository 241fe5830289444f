package main

import (
	"testing"

	"github.com/warmrun/warmrun/engine"
)

// TestShippedRunbooksAreClean: what the program brings along passes its own
// lint, also with the operations that it has now.
func TestShippedRunbooksAreClean(t *testing.T) {
	names, err := runbookNames(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := newSession(nil, nil, nil)
	for _, name := range names {
		source, err := findSource(nil, name, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range engine.Lint(t.Context(), source, s.host(s.setting())) {
			t.Error(f)
		}
	}
}

// TestOperationsKeepSecrets: what goes to another node goes as JSON, in which a
// secret is not.
func TestOperationsKeepSecrets(t *testing.T) {
	for _, op := range operations() {
		f := op.bind(&session{})
		if op.local != nil && engine.TakesSecret(f) {
			t.Errorf("%s.%s runs on other nodes and takes a secret, which would not arrive", op.module, f.Name)
		}
	}
}

// TestOperationsAreDeclaredOnce: of two of a name runbooks would get one and
// other nodes the other.
func TestOperationsAreDeclaredOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, op := range operations() {
		name := op.module + "." + op.bind(&session{}).Name
		if seen[name] {
			t.Errorf("%s is declared twice", name)
		}
		seen[name] = true
	}
}
