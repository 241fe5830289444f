package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warmrun/warmrun/builtins/filesync"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/ship"
)

// stdio is standard input and output as one stream.
type stdio struct {
	io.Reader
	io.Writer
}

// widePipe is the most that every user may have (pipe(7)).
const widePipe = 1 << 20

// widen makes more room in the pipes from and to sshd, so that the one need not
// wait for the other with each packet: it makes shipping a tenth faster. What is
// no pipe stays as it is.
func (s stdio) widen() stdio {
	for _, end := range []any{s.Reader, s.Writer} {
		if f, ok := end.(*os.File); ok {
			_, _ = unix.FcntlInt(f.Fd(), unix.F_SETPIPE_SZ, widePipe)
		}
	}
	return s
}

// closable is the same stream with a Close that ends a read or write under way,
// which those of a process's own standard files wait for. What cannot be waited
// for so, such as a plain file, stays as it is.
func (s stdio) closable() io.ReadWriter {
	in, err := pollable(s.Reader)
	if err != nil {
		return s
	}
	out, err := pollable(s.Writer)
	if err != nil {
		// What is still in use must wait again by itself.
		_, _ = unix.SetNonblock(int(in.Fd()), false), in.Close()
		return s
	}
	return closableStdio{stdio{in, out}, in, out}
}

// closableStdio is a stdio that can be closed.
type closableStdio struct {
	stdio
	in, out *os.File
}

func (s closableStdio) Close() error { return errors.Join(s.in.Close(), s.out.Close()) }

// pollable opens a file once more, by its descriptor, in the way in which reads
// and writes can be ended.
func pollable(end any) (*os.File, error) {
	f, ok := end.(*os.File)
	if !ok {
		return nil, os.ErrInvalid
	}
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	again := os.NewFile(uintptr(fd), f.Name())
	if err := again.SetDeadline(time.Time{}); err != nil {
		return nil, errors.Join(err, unix.SetNonblock(fd, false), again.Close())
	}
	return again, nil
}

// agentCommand receives WAL. It can be the forced command of an ssh key.
type agentCommand struct {
	Archive    string `help:"The archive directory (default: what the site says)." placeholder:"DIR"`
	Restricted bool   `help:"Refuse what a key that may only ship WAL has no need of; sshd runs this as its forced command."`
}

// Run serves one connection until it closes.
func (c *agentCommand) Run(ctx context.Context, p *process, g *globals) error {
	dir, walDir := c.Archive, ""
	if dir == "" {
		s, err := p.session(*g)
		if err != nil {
			return err
		}
		dir = s.site.Self.Archive
		if s.site.Self.PGData != "" {
			walDir = walcore.WALDir(s.site.Self.PGData)
		}
	}
	// A client that hangs up right after its acknowledgement must not keep the
	// server from being woken.
	signal.Ignore(syscall.SIGPIPE)
	// Whoever ends the agent finds a sound archive, as after any other death of
	// it, and a read of standard input could not be ended otherwise.
	signal.Reset(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	log := func(format string, args ...any) { fmt.Fprintf(p.err, "warmrun agent: "+format+"\n", args...) }
	config := agentConfig(dir, walDir, log)
	// sshd sets it for a forced command (sshd(8)), which may be an agent
	// that somebody else has put there. What it holds was never looked at.
	config.Restricted = c.Restricted || os.Getenv("SSH_ORIGINAL_COMMAND") != ""
	return ship.Serve(ctx, stdio{p.in, p.out}.widen(), config)
}

// agentConfig is what an agent of this node's archive is told.
func agentConfig(archiveDir, walDir string, log func(format string, args ...any)) ship.AgentConfig {
	return ship.AgentConfig{
		Archive: archiveDir,
		WALDir:  walDir,
		Log:     log,
		Version: version,
		Arrived: func(ctx context.Context, name walcore.FileName) {
			archive, err := walcore.OpenArchive(archiveDir)
			if err == nil {
				err = archive.Nudge(ctx, name)
			}
			if err != nil {
				// The server looks again by itself after its retry interval.
				log("could not wake the server for %s: %v", name, err)
			}
		},
	}
}

// syncAgentCommand is the far end of a copy.
type syncAgentCommand struct{}

// Run serves one stream of a copy until it closes.
func (c *syncAgentCommand) Run(ctx context.Context, p *process, g *globals) error {
	if err := becomeOwner(p.surroundings(*g)); err != nil {
		return err
	}
	return filesync.Serve(ctx, stdio{p.in, p.out}.widen().closable(), filesync.ServeConfig{})
}
