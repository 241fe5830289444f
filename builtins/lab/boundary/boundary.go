// Package boundary lets a rehearsal hold the runs of a lab at the boundaries of
// their steps: a run asks before and after it writes an event into its journal,
// and goes on when it has an answer. Whoever holds it meanwhile may kill it, its
// connections or its servers, and knows exactly what was on record then.
//
// Only a node of a lab asks, and only while somebody listens there.
package boundary

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"path/filepath"
	"sync"
	"syscall"
)

// socketName is the file in the lab's directory that a rehearsal listens on.
const socketName = "boundaries"

// Moment is one side of the writing of one event.
type Moment struct {
	Node    string `json:"node"`
	Runbook string `json:"runbook"`
	Step    string `json:"step,omitempty"`
	// Event and Outcome are what the journal calls them: "step ended", "done".
	Event   string `json:"event"`
	Outcome string `json:"outcome,omitempty"`
	// Before: the event is not on record yet.
	Before bool `json:"before,omitempty"`

	// PID is the process that is held, as the kernel says.
	PID int `json:"-"`
}

// Pass tells whoever listens in the lab's directory, and returns when it has
// answered or is gone. Where nobody listens it returns at once.
func Pass(dir string, m Moment) {
	conn, err := net.Dial("unix", filepath.Join(dir, socketName))
	if err != nil {
		return
	}
	defer conn.Close()
	if json.NewEncoder(conn).Encode(m) != nil {
		return
	}
	// An answer, or the end of the one who would have given it: either will do.
	_, _ = conn.Read(make([]byte, 1))
}

// Watch holds the runs of a lab.
type Watch struct {
	listener *net.UnixListener
	hold     func(Moment)
	done     sync.WaitGroup
}

// Listen calls hold for each moment, one after the other; the run goes on when
// hold returns. Those that come after the end of ctx are not told of.
func Listen(ctx context.Context, dir string, hold func(Moment)) (*Watch, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "unix", filepath.Join(dir, socketName))
	if err != nil {
		return nil, err
	}
	unix, ok := listener.(*net.UnixListener)
	if !ok {
		return nil, errors.Join(errors.New("this is no unix socket"), listener.Close())
	}
	w := &Watch{listener: unix, hold: hold}
	w.done.Go(w.accept)
	return w, nil
}

// Close lets everything pass from now on.
func (w *Watch) Close() error {
	err := w.listener.Close()
	w.done.Wait()
	return err
}

func (w *Watch) accept() {
	for {
		conn, err := w.listener.AcceptUnix()
		if err != nil {
			return // it was closed
		}
		w.serve(conn)
		_ = conn.Close() // which is an answer, too
	}
}

func (w *Watch) serve(conn *net.UnixConn) {
	line, err := bufio.NewReader(conn).ReadBytes('\n')
	var m Moment
	if err != nil || json.Unmarshal(line, &m) != nil {
		return // it died while it asked
	}
	if m.PID, err = peer(conn); err == nil {
		w.hold(m)
	}
}

// peer is the process at the other end.
func peer(conn *net.UnixConn) (pid int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var got error
	err = raw.Control(func(fd uintptr) {
		var credentials *syscall.Ucred
		if credentials, got = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); got == nil {
			pid = int(credentials.Pid)
		}
	})
	return pid, errors.Join(err, got)
}
