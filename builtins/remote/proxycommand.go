package remote

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// proxyGrace is how long a ProxyCommand has to end by itself.
const proxyGrace = 2 * time.Second

// proxyConn is a connection made by a ProxyCommand: the command's standard
// input and output are the two ends of a socket pair.
type proxyConn struct {
	net.Conn
	command string
	cmd     *exec.Cmd
	stderr  tail
	ended   chan struct{}
}

// startProxy runs the command by the shell, as ssh does. It stands outside of
// the terminal's process group: an interrupt that is meant for this program
// must not cut the connection that it cleans up over.
func startProxy(command string) (*proxyConn, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket for ProxyCommand: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "proxy"), os.NewFile(uintptr(fds[1]), "proxy")
	conn, err := net.FileConn(ours)
	if err := errors.Join(err, ours.Close()); err != nil {
		return nil, errors.Join(err, theirs.Close())
	}
	p := &proxyConn{Conn: conn, command: command, cmd: exec.Command("/bin/sh", "-c", "exec "+command), ended: make(chan struct{})}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = theirs, theirs, &p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// A child of the command that keeps its standard error open must not hold
	// up the end.
	p.cmd.WaitDelay = proxyGrace
	err = p.cmd.Start()
	if err := errors.Join(err, theirs.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("start ProxyCommand: %w", err), conn.Close())
	}
	go func() {
		defer close(p.ended)
		// How it ended shows in what it wrote and in the connection.
		_ = p.cmd.Wait()
	}()
	return p, nil
}

// Close ends the command: it is hung up, and killed if that does not help.
func (p *proxyConn) Close() error {
	err := p.Conn.Close()
	// The command may have ended by itself.
	_ = p.cmd.Process.Signal(syscall.SIGHUP)
	grace := time.NewTimer(proxyGrace)
	defer grace.Stop()
	select {
	case <-p.ended:
	case <-grace.C:
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
	return err
}

// explain adds what the command said to an error of the connection.
func (p *proxyConn) explain(err error) error {
	if said := lastLines(p.stderr.String(), 5); said != "" {
		return fmt.Errorf("ProxyCommand %s: %s: %w", shorten(p.command), said, err)
	}
	return fmt.Errorf("ProxyCommand %s: %w", shorten(p.command), err)
}
