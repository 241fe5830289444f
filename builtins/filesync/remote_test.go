package filesync

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestRemote(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "new")
	far := newFarEnds(t)
	_, err := OpenRemote(t.Context(), far.dial, root, RemoteOptions{})
	checkErrorIs(t, err, os.ErrNotExist)
	r, err := OpenRemote(t.Context(), far.dial, root, RemoteOptions{Create: true})
	must(t, err)
	defer func() { must(t, r.Close()) }()

	_, err = r.ReadFile(t.Context(), "label")
	checkErrorIs(t, err, os.ErrNotExist)
	must(t, r.WriteFile(t.Context(), "label", []byte("one"), 0o600))
	must(t, r.WriteFile(t.Context(), "label", []byte("two"), 0o640))
	content, err := r.ReadFile(t.Context(), "label")
	if err != nil || string(content) != "two" {
		t.Errorf("got %q, %v, want two", content, err)
	}
	must(t, r.Mkdir(t.Context(), "d", 0o700))
	must(t, r.Mkdir(t.Context(), "d", 0o700))
	must(t, os.Symlink("/elsewhere", filepath.Join(root, "l")))
	must(t, r.Sync(t.Context()))
	entries, err := r.List(t.Context(), "/d")
	must(t, err)
	if len(entries) != 3 || entries[1].Target != "/elsewhere" || entries[2].Size != 3 || entries[2].Mode != 0o640 {
		t.Errorf("got %+v, want the root, the link and the file", entries)
	}
	for path, want := range map[string]bool{root: true, filepath.Dir(root): false, root + "x": false} {
		if got, err := r.Is(path); err != nil || got != want {
			t.Errorf("Is(%s): got %v, %v, want %v", path, got, err, want)
		}
	}
	// A refusal must not end the stream.
	if err := r.Remove(t.Context(), "."); err == nil {
		t.Error("got no error for removing the root")
	}
	if err := r.WriteFile(t.Context(), "missing/file", nil, 0o600); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want no such directory", err)
	}
	must(t, r.Remove(t.Context(), "label", "l", "d", "never-there"))
	must(t, r.Sync(t.Context()))
	left, err := os.ReadDir(root)
	if err != nil || len(left) != 0 {
		t.Errorf("got %v, %v left, want nothing", left, err)
	}
}

func TestRemoteProcess(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	sleeper := exec.Command("sleep", "60")
	sleeper.Dir = root
	must(t, sleeper.Start())
	r, err := OpenRemote(t.Context(), newFarEnds(t).dial, root, RemoteOptions{})
	must(t, err)
	defer func() { must(t, r.Close()) }()
	for _, c := range []struct {
		pid  int
		want ProcessState
	}{
		{sleeper.Process.Pid, ProcessState{Running: true, Here: true}},
		{os.Getpid(), ProcessState{Running: true}},
		{-5, ProcessState{}},
		{1<<31 - 1, ProcessState{}},
	} {
		if got, err := r.Process(t.Context(), c.pid); err != nil || got != c.want {
			t.Errorf("process %d: got %+v, %v, want %+v", c.pid, got, err, c.want)
		}
	}
	must(t, sleeper.Process.Kill())
	_, _ = sleeper.Process.Wait() // killed, as it was meant to be
	if got, err := r.Process(t.Context(), sleeper.Process.Pid); err != nil || got.Running {
		t.Errorf("killed process: got %+v, %v, want it not running", got, err)
	}
}
