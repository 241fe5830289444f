package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// handedVar names the files that were opened before this process became an
// ordinary user: as NAME=DESCRIPTOR words.
//
// The compiler's cache, the source tree and the file for -json may all be
// closed to that user. So they are used while they can be, and what comes of it
// is handed over as open files, which need no name and leave nothing behind. A
// TUN device is root's only, and is handed over in the same way.
const handedVar = "WARMRUN_BENCH_HANDED"

// prepareHanded builds what is measured and opens what is written, unless that
// was done before the user changed.
func prepareHanded(ctx context.Context, o options) (err error) {
	if os.Getenv(handedVar) != "" {
		return nil
	}
	dir, err := os.MkdirTemp("", "warmrun-bench-build")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	warmrun := o.warmrun
	if warmrun == "" {
		warmrun = filepath.Join(dir, "warmrun")
		if err := goBuild(ctx, warmrun, "github.com/warmrun/warmrun/cmd/warmrun"); err != nil {
			return err
		}
	}
	empty := filepath.Join(dir, "empty")
	source := empty + ".go"
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		return err
	}
	if err := goBuild(ctx, empty, source); err != nil {
		return err
	}
	words := []string{}
	for _, f := range []struct {
		name, path string
		flags      int
	}{
		{"warmrun", warmrun, unix.O_RDONLY}, {"empty", empty, unix.O_RDONLY},
		{"json", o.json, unix.O_WRONLY | unix.O_CREAT | unix.O_TRUNC},
	} {
		if f.path == "" {
			continue
		}
		// Without O_CLOEXEC on purpose: Demote executes this program again.
		fd, err := unix.Open(f.path, f.flags, 0o644)
		if err != nil {
			return fmt.Errorf("open %s: %w", f.path, err)
		}
		words = append(words, f.name+"="+strconv.Itoa(fd))
	}
	if slices.ContainsFunc(o.parts, func(p part) bool { return p.name == "delay" }) {
		if fd, err := openDelay(); err == nil {
			words = append(words, "tun="+strconv.Itoa(fd))
		} else if err := os.Setenv(noDelayVar, err.Error()); err != nil {
			return err
		}
	}
	return os.Setenv(handedVar, strings.Join(words, " "))
}

func goBuild(ctx context.Context, to, what string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w", "-o", to, what)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", what, err, out)
	}
	return nil
}

// handed is the file of a name, or nil when there is none.
func handed(name string) *os.File {
	for _, word := range strings.Fields(os.Getenv(handedVar)) {
		key, value, _ := strings.Cut(word, "=")
		fd, err := strconv.Atoi(value)
		if key == name && err == nil {
			unix.CloseOnExec(fd)
			return os.NewFile(uintptr(fd), name)
		}
	}
	return nil
}

// installHanded makes a program of a handed file.
func installHanded(name, path string) (err error) {
	from := handed(name)
	if from == nil {
		return fmt.Errorf("the program %s was not handed over", name)
	}
	defer from.Close()
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}
