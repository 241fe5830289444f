package hint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The permission of a file is judged by what can be seen of it, which does not
// depend on who runs the test.
func TestFile(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(data, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(data, 0o755) })
	inside := filepath.Join(data, "PG_VERSION")
	me := nameOf(os.Geteuid())
	for _, test := range []struct {
		err  error
		want []string // nil: no hint
	}{
		{&fs.PathError{Op: "open", Path: inside, Err: syscall.EACCES}, []string{data + " belongs to " + me + " and has mode 0000, and this runs as " + me, "chmod u+rwX " + data, "on purpose"}},
		{&os.LinkError{Op: "rename", Old: "x", New: inside, Err: syscall.EACCES}, []string{data + " belongs to"}},
		{fmt.Errorf("far away: %w", &fs.PathError{Op: "write", Path: inside, Err: syscall.ENOSPC}), []string{"free space", inside}},
		{&fs.PathError{Op: "open", Path: inside, Err: syscall.EROFS}, []string{"read-only", "dmesg"}},
		{&fs.PathError{Op: "read", Path: inside, Err: syscall.EIO}, []string{"disk", "dmesg"}},
		{&fs.PathError{Op: "open", Path: inside, Err: syscall.ENOENT}, nil},
		{errors.New("anything"), nil},
		{nil, nil},
	} {
		got := File(test.err)
		if test.want == nil && got != "" {
			t.Errorf("%v: got %q, want none", test.err, got)
		}
		for _, want := range test.want {
			if !strings.Contains(got, want) {
				t.Errorf("%v: got %q, want %q in it", test.err, got, want)
			}
		}
	}
}

func TestFileOfAnother(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	path := filepath.Join(t.TempDir(), "theirs")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, 12345, 0); err != nil {
		t.Fatal(err)
	}
	got := File(&fs.PathError{Op: "open", Path: path, Err: syscall.EACCES})
	if !strings.Contains(got, path+" belongs to user 12345 and has mode 0600, and this runs as root: run it as user 12345, or give root access") {
		t.Errorf("got %q", got)
	}
}
