package ship

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
)

// call is what a process says to the shipper, as one line of JSON.
type call struct {
	Op      callOp           `json:"op"`
	Program string           `json:"program"`
	Path    string           `json:"path,omitempty"`
	Name    walcore.FileName `json:"name,omitempty"`
}

type callOp string

const (
	callArchive callOp = "archive"
	callStatus  callOp = "status"
	callStop    callOp = "stop"
)

// callReply is the answer, as another one.
type callReply struct {
	Done   bool           `json:"done"`             // the call was carried out, well or not
	Said   string         `json:"said,omitempty"`   // messages that are no errors
	Error  string         `json:"error,omitempty"`  // why it failed
	Hint   string         `json:"hint,omitempty"`   // what to do about it
	Status *ShipperStatus `json:"status,omitempty"` // of callStatus
}

// longestCall bounds a line.
const longestCall = 64 << 10

// serve answers one call.
func (s *Shipper) serve(conn *net.UnixConn) (err error) {
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := samePeer(conn); err != nil {
		return err
	}
	var c call
	if err := json.NewDecoder(io.LimitReader(conn, longestCall)).Decode(&c); err != nil {
		return err
	}
	alive := aliveOn(conn)
	reply := s.answer(c)
	alive.stop()
	err = json.NewEncoder(conn).Encode(reply)
	if errors.Is(err, unix.EPIPE) {
		return nil // the caller was stopped; its file is delivered all the same
	}
	return err
}

// alive writes white space to a caller that waits, which a JSON decoder skips.
type alive struct {
	end  chan struct{}
	done chan struct{}
}

func aliveOn(conn io.Writer) *alive {
	a := &alive{end: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(a.done)
		ticker := time.NewTicker(signOfLife)
		defer ticker.Stop()
		for {
			select {
			case <-a.end:
				return
			case <-ticker.C:
				if _, err := conn.Write([]byte("\n")); err != nil {
					return // the caller has gone
				}
			}
		}
	}()
	return a
}

func (a *alive) stop() {
	close(a.end)
	<-a.done
}

func (s *Shipper) answer(c call) callReply {
	switch {
	case c.Op == callStatus:
		status := s.status()
		return callReply{Done: true, Status: &status}
	case c.Op == callStop:
		s.stop(errAsked)
		return callReply{Done: true}
	case c.Program != s.cfg.Program:
		s.stop(errOutdate)
		return callReply{}
	case c.Op == callArchive && s.ctx.Err() == nil:
		said, err := s.archive(c)
		reply := callReply{Done: true, Said: said}
		if err != nil {
			reply.Error, reply.Hint = err.Error(), hint.Of(err)
		}
		return reply
	}
	return callReply{}
}

// samePeer lets only this user and root in.
func samePeer(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var peer *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) { peer, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(err, credErr); err != nil {
		return err
	}
	if int(peer.Uid) != os.Geteuid() && peer.Uid != 0 {
		return fmt.Errorf("user %d called, who is not the server's user", peer.Uid)
	}
	return nil
}
