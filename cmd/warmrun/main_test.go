package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// TestMain lets the scripts run this test binary as warmrun, and under the
// names of 2warm's scripts.
func TestMain(m *testing.M) {
	commands := map[string]func(){"warmrun": main}
	for _, name := range []string{"archiveWALFile", "restoreWALFile", "configSetup", "configStandby", "triggerStandby", "distrib2warm", "rsyncDR", "flushPrimary", "pg_standby"} {
		commands[name] = main
	}
	testscript.Main(m, commands)
}

// TestScripts tries the command line as a person or a server would.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: false,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"linkto": linkNames, "wal": makeWAL, "flip": flip},
		Setup: func(env *testscript.Env) error {
			env.Setenv("CALL_PROTOCOL", strconv.Itoa(callProtocol))
			env.Setenv("PGDATA", "")
			env.Setenv("WARMRUN_HOME", "")
			// The work directory belongs to whoever runs the test; scripts make
			// data directories below it that an ordinary user may enter.
			return os.Chmod(env.WorkDir, 0o755)
		},
	})
}

// linkNames links the program into a 2warm tree under names of its scripts.
func linkNames(ts *testscript.TestScript, neg bool, names []string) {
	if neg {
		ts.Fatalf("linkto NAME...")
	}
	for _, name := range names {
		program, err := exec.LookPath(name)
		ts.Check(err)
		ts.Check(os.Symlink(program, ts.MkAbs(filepath.Join("../2warm/global/replication", name))))
	}
}

// TestFilesAreNotPassedOn on an old kernel, where each of them is marked.
func TestFilesAreNotPassedOn(t *testing.T) {
	fd, err := unix.Dup(1)
	if err != nil {
		t.Fatal(err)
	}
	keepEachToOurselves()
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("got flags %#x, %v, want FD_CLOEXEC", flags, err)
	}
	if flags, err := unix.FcntlInt(1, unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC != 0 {
		t.Errorf("standard output: got flags %#x, %v, want it passed on", flags, err)
	}
	if err := unix.Close(fd); err != nil {
		t.Error(err)
	}
}
