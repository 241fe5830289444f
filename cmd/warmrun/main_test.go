package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the scripts run this test binary as warmrun.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"warmrun": main})
}

// TestScripts tries the command line as a person or a server would.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: false,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PGDATA", "")
			env.Setenv("WARMRUN_HOME", "")
			// The work directory belongs to whoever runs the test; scripts make
			// data directories below it that an ordinary user may enter.
			return os.Chmod(env.WorkDir, 0o755)
		},
	})
}
