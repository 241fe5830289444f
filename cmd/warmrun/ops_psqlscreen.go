package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/warmrun/warmrun/builtins/scratch"
	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/hint"
)

// psqlScratchOptions are a scratch server of this node, and a database of it.
type psqlScratchOptions struct {
	Dir      string `json:"dir"`
	Database string `json:"database"` // the node's database without it
}

// psqlProgram finds psql: beside the server's programs, or where the shell finds it.
func (s *session) psqlProgram() (string, error) {
	if dir := s.site.Self.BinDir; dir != "" {
		path := filepath.Join(dir, "psql")
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath("psql")
	if err != nil {
		return "", hint.Wrap(fmt.Errorf("psql is not installed on %s: %w", s.site.Self.Name, err), "install PostgreSQL's client programs, or ask with --query")
	}
	return path, nil
}

// runPsql runs psql with the streams of this process, and waits for its end. Where
// standard input is a terminal psql is in its foreground: Ctrl-C is a matter of
// psql, and calls nothing off here.
func (s *session) runPsql(ctx context.Context, o psqlScratchOptions) error {
	if s.part || s.serving || s.events != nil {
		return engine.NotBegun(hint.Wrap(errors.New("psql wants the terminal, which this run does not have"), "ask with --query"))
	}
	server, err := scratch.Open(o.Dir)
	if err != nil {
		return err
	}
	program, err := s.psqlProgram()
	if err != nil {
		return err
	}
	at := server.Session(s.site.Self.User, cmp.Or(o.Database, s.site.Self.Database))
	cmd := exec.CommandContext(ctx, program, "-h", at.SocketDir, "-p", fmt.Sprint(at.Port), "-U", at.User, "-d", at.Database)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGHUP) }
	cmd.WaitDelay = shellGrace
	if isTerminal(os.Stdin) {
		terminal := int(os.Stdin.Fd())
		cmd.SysProcAttr = &syscall.SysProcAttr{Foreground: true, Ctty: terminal}
		// Who is in the background and takes the terminal back is stopped by this.
		signal.Ignore(syscall.SIGTTOU)
		defer signal.Reset(syscall.SIGTTOU)
		defer func() { _ = unix.IoctlSetPointerInt(terminal, unix.TIOCSPGRP, unix.Getpgrp()) }() // it may have hung up
	}
	defer engine.LivesElsewhere(ctx)()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("psql ended with: %w", cmp.Or(context.Cause(ctx), err))
	}
	return nil
}
