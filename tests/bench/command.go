package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// command prepares a program with the environment that all contestants get.
func (b *bench) command(ctx context.Context, argv ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = b.dir
	cmd.Env = []string{
		"PATH=" + b.pgBin + ":/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME=" + b.dir, "TMPDIR=" + b.dir,
		"USER=" + b.user, "LOGNAME=" + b.user, "LC_ALL=C",
		"PGHOST=" + b.dir, "PGUSER=" + sqlUser, "PGDATABASE=postgres",
	}
	return cmd
}

// output runs a program that nobody measures.
func (b *bench) output(ctx context.Context, argv ...string) (string, error) {
	var text strings.Builder
	cmd := b.command(ctx, argv...)
	cmd.Stdout, cmd.Stderr = &text, &text
	cmd.WaitDelay = time.Second
	if err := b.procs.run(cmd); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, text.String())
	}
	return text.String(), nil
}

// timed runs a program in a directory and returns how long it took. What it
// prints goes to a file: a pipe would have to wait for every process that a
// command leaves behind.
func (b *bench) timed(ctx context.Context, dir string, argv ...string) (time.Duration, error) {
	from, err := b.log.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	cmd := b.command(ctx, argv...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, b.log, b.log
	start := time.Now()
	err = b.procs.run(cmd)
	took := time.Since(start)
	if err != nil {
		said, readErr := tail(b.log.Name(), from)
		return took, errors.Join(fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, said), readErr)
	}
	return took, nil
}

// shell runs an archive_command or restore_command as the server does: through
// the shell, in the data directory, with %p, %f and %r replaced.
func (b *bench) shell(ctx context.Context, pgdata, command, path, name, redo string) (time.Duration, error) {
	return b.timed(ctx, pgdata, "/bin/sh", "-c", expand(command, path, name, redo))
}

func expand(command, path, name, redo string) string {
	return strings.NewReplacer("%p", path, "%f", name, "%r", redo).Replace(command)
}

// tail is what was appended to a file, the last 4 kB of it.
func tail(path string, from int64) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	data = data[min(from, int64(len(data))):]
	return strings.TrimSpace(string(data[max(0, len(data)-4096):])), nil
}

// write makes a file, and its directory.
func write(path, content string, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), mode)
}

// emptyDir empties a directory, and makes it where it is missing.
func emptyDir(dir string) error {
	return errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700))
}
