package sshserver

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
)

// How long a command may outlive its connection: it sees the end of its
// streams first, is told to hang up after the first span, and is killed after
// the second.
const (
	hangupAfter = time.Second
	killAfter   = 2 * time.Second
)

// signals are the names of RFC 4254, section 6.10, that a command may get.
var signals = []struct {
	name   string
	signal syscall.Signal
}{
	{"ABRT", syscall.SIGABRT}, {"ALRM", syscall.SIGALRM}, {"FPE", syscall.SIGFPE}, {"HUP", syscall.SIGHUP},
	{"ILL", syscall.SIGILL}, {"INT", syscall.SIGINT}, {"KILL", syscall.SIGKILL}, {"PIPE", syscall.SIGPIPE},
	{"QUIT", syscall.SIGQUIT}, {"SEGV", syscall.SIGSEGV}, {"TERM", syscall.SIGTERM},
	{"USR1", syscall.SIGUSR1}, {"USR2", syscall.SIGUSR2},
}

// session serves one channel of type session, which runs one command.
func (s *Server) session(ctx context.Context, offered ssh.NewChannel) {
	channel, requests, err := offered.Accept()
	if err != nil {
		return
	}
	var started *command
	for request := range requests {
		ok := false
		switch request.Type {
		case "exec":
			var payload struct{ Command string }
			if started == nil && ssh.Unmarshal(request.Payload, &payload) == nil {
				started, err = s.start(channel, payload.Command)
				ok = err == nil
			}
		case "signal":
			var payload struct{ Name string }
			if started != nil && ssh.Unmarshal(request.Payload, &payload) == nil {
				ok = started.deliver(payload.Name)
			}
		}
		// A failed reply means a broken connection, which ends the loop too.
		_ = request.Reply(ok, nil)
		if request.Type == "exec" && ok {
			started.stream(channel)
		}
	}
	// The requests end when the channel does, or the connection.
	if started != nil {
		started.abandon()
	}
}

// command is a running command of a session. It leads a process group and a
// session of its own, as under OpenSSH.
type command struct {
	cmd                   *exec.Cmd
	stdin, stdout, stderr *os.File // our ends of its pipes
	exited                chan struct{}
	streams               sync.WaitGroup
}

func (s *Server) start(channel ssh.Channel, line string) (*command, error) {
	c := &command{cmd: exec.Command("/bin/sh", "-c", line), exited: make(chan struct{})}
	c.cmd.Dir, c.cmd.Env = s.config.Dir, s.config.Env
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// Files rather than exec.Cmd's own pipes: Wait must return when the
	// command ends, also while a server that it left behind holds its output.
	theirs, err := c.pipes()
	if err == nil {
		c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = theirs[0], theirs[1], theirs[2]
		err = c.cmd.Start()
	}
	for _, f := range theirs {
		_ = f.Close()
	}
	if err != nil {
		for _, f := range []*os.File{c.stdin, c.stdout, c.stderr} {
			if f != nil {
				_ = f.Close()
			}
		}
		_, _ = io.WriteString(channel.Stderr(), err.Error()+"\n")
		return nil, err
	}
	return c, nil
}

func (c *command) pipes() (theirs []*os.File, err error) {
	for i, ours := range []**os.File{&c.stdin, &c.stdout, &c.stderr} {
		r, w, err := os.Pipe()
		if err != nil {
			return theirs, err
		}
		if i == 0 {
			r, w = w, r
		}
		*ours, theirs = r, append(theirs, w)
	}
	return theirs, nil
}

// stream moves the command's input and output until they end. The exit status
// goes out as soon as the command ends; the channel closes when nobody holds
// its output any more, which is what OpenSSH does.
func (c *command) stream(channel ssh.Channel) {
	c.streams.Go(func() {
		// Errors of the three copies are the ends of the streams' lives.
		_, _ = io.Copy(c.stdin, channel)
		_ = c.stdin.Close()
	})
	var output sync.WaitGroup
	output.Go(func() { _, _ = io.Copy(channel, c.stdout) })
	output.Go(func() { _, _ = io.Copy(channel.Stderr(), c.stderr) })
	c.streams.Go(func() {
		err := c.cmd.Wait()
		close(c.exited)
		sendExit(channel, c.cmd.ProcessState, err)
		output.Wait()
		_ = channel.CloseWrite()
		_ = channel.Close()
	})
}

func sendExit(channel ssh.Channel, state *os.ProcessState, err error) {
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		_, _ = io.WriteString(channel.Stderr(), err.Error()+"\n")
		return // no status at all: the client reports that as its own error
	}
	if wait, ok := state.Sys().(syscall.WaitStatus); ok && wait.Signaled() {
		for _, known := range signals {
			if known.signal == wait.Signal() {
				_, _ = channel.SendRequest("exit-signal", false, ssh.Marshal(struct {
					Name     string
					Core     bool
					Message  string
					Language string
				}{known.name, wait.CoreDump(), "", ""}))
				return
			}
		}
	}
	_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(state.ExitCode())}))
}

// deliver sends a signal to the command and the processes it started.
func (c *command) deliver(name string) bool {
	for _, known := range signals {
		if known.name == name {
			return c.signal(known.signal)
		}
	}
	return false
}

// signal reaches the process group while its leader lives. Afterwards the
// number may belong to somebody else.
func (c *command) signal(signal syscall.Signal) bool {
	select {
	case <-c.exited:
		return false
	default:
		return syscall.Kill(-c.cmd.Process.Pid, signal) == nil
	}
}

// abandon ends a command whose channel is gone. It returns when the command
// has ended and its streams are closed.
func (c *command) abandon() {
	for _, f := range []*os.File{c.stdin, c.stdout, c.stderr} {
		_ = f.Close()
	}
	for _, next := range []struct {
		after  time.Duration
		signal syscall.Signal
	}{{hangupAfter, syscall.SIGHUP}, {killAfter, syscall.SIGKILL}} {
		select {
		case <-c.exited:
		case <-time.After(next.after):
			c.signal(next.signal)
		}
	}
	c.streams.Wait()
}
