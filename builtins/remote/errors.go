package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/warmrun/warmrun/walcore/hint"
)

// UnreachableError means that the node's sshd did not answer, or that the
// connection to it broke. Nothing is known about what runs on the node.
type UnreachableError struct {
	Host string // the host and port that were tried
	Err  error
}

func (e *UnreachableError) Error() string { return fmt.Sprintf("cannot reach %s: %v", e.Host, e.Err) }

// Unwrap is the reason.
func (e *UnreachableError) Unwrap() error { return e.Err }

// Unreachable reports whether err means that the node could not be reached:
// its name does not resolve, nothing listens, nothing answers in time, or the
// connection broke. A refused login and a wrong host key are none of these.
func Unreachable(err error) bool {
	var u *UnreachableError
	return errors.As(err, &u)
}

// loginError is a host that has let none of the keys in.
type loginError struct{ error }

func (e *loginError) Unwrap() error { return e.error }

// LoginRefused reports whether err means that the host answered, showed the
// right host key, and let none of the keys in that there were to offer.
func LoginRefused(err error) bool {
	var refused *loginError
	return errors.As(err, &refused)
}

// ExitError is a command that ran and failed.
type ExitError struct {
	Host    string
	Command string
	// Status is the exit status, and 128 plus the signal's number by the
	// shell's custom where Signal is set and known.
	Status int
	// Signal is the name without SIG, as in TERM; empty where the command
	// exited by itself.
	Signal string
	// Stderr is the last part of what the command wrote to its standard
	// error, at most 4 KB, cut at a line where possible.
	Stderr string
}

func (e *ExitError) Error() string {
	how := fmt.Sprintf("exit status %d", e.Status)
	if e.Signal != "" {
		how = "killed by SIG" + e.Signal
	}
	text := fmt.Sprintf("%s on %s: %s", shorten(e.Command), e.Host, how)
	if said := lastLines(e.Stderr, 5); said != "" {
		text += ": " + said
	}
	return text
}

// shorten keeps a command recognisable in a message.
func shorten(command string) string {
	const limit = 80
	line, _, more := strings.Cut(strings.TrimSpace(command), "\n")
	if len(line) > limit {
		line, more = strings.ToValidUTF8(line[:limit], ""), true
	}
	if more {
		line += " ..."
	}
	return line
}

// lastLines is the end of a text on one line.
func lastLines(text string, n int) string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-n):], "; ")
}

// explainNetwork makes an UnreachableError with advice out of what went wrong
// below the ssh protocol.
func explainNetwork(t target, err error) error {
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("connect to %s: %w", t, err)
	}
	u := &UnreachableError{Host: t.String(), Err: err}
	var dns *net.DNSError
	var netErr net.Error
	try := "`" + t.command("-v") + "`"
	switch {
	case errors.As(err, &dns):
		return hint.Wrap(u, "the name %s does not resolve here: correct the node's host, or give it a HostName in ~/.ssh/config", t.Host)
	case errors.Is(err, syscall.ECONNREFUSED):
		return hint.Wrap(u, "nothing listens on port %d there: check that sshd runs on that host and that the port is right, then try %s", t.Port, try)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return hint.Wrap(u, "no answer in time: check that the host is up and that no firewall drops port %d, then try %s", t.Port, try)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return hint.Wrap(u, "the connection was cut before the login was complete: look at sshd's log on that host (MaxStartups, tcp wrappers), then try %s", try)
	}
	return hint.Wrap(u, "check the network between the hosts, then try %s", try)
}

// brokeBelow reports whether an error of the handshake came from the network
// and not from the other side's answer.
func brokeBelow(err error) bool {
	var netErr net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.As(err, &netErr) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
