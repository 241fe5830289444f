package ship

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/fault"
)

// ShipperConfig is what a shipper is told by the program it is part of.
type ShipperConfig struct {
	// Place is where calls find it.
	Place Place
	// Prepare reads the site anew and says what is to be done with a file. Only
	// the shipper's own fields are left out.
	Prepare func(path string, name walcore.FileName) (ArchiveRequest, error)
	// Idle is how long it stays without a call.
	Idle time.Duration
	// Program tells one build of the program from another: a call of another
	// one ends the shipper.
	Program string
	// Remarks is what dialers have to say, which belongs into the server's log.
	// May be nil.
	Remarks *Remarks
	// Log gets a line when something changes, not for each file. May be nil.
	Log func(format string, args ...any)
}

// Shipper keeps one connection to each destination of one data directory, and
// sends segments before the server asks for them. It decides nothing that
// Archive does not, and nothing is lost with it: a call that finds no shipper,
// or one that dies, ships by itself.
type Shipper struct {
	cfg     ShipperConfig
	ctx     context.Context
	stop    context.CancelCauseFunc
	started time.Time
	work    sync.WaitGroup // calls and jobs

	mu    sync.Mutex
	links map[string]*link
	calls int64
	busy  int
	idle  *time.Timer
}

// Why a shipper ends by itself.
var (
	errIdle    = errors.New("nothing was archived for a while")
	errAsked   = errors.New("it was asked to stop")
	errOutdate = errors.New("the program was replaced by another version")
)

// ErrShipperRuns means that the data directory has a shipper already.
var ErrShipperRuns = errors.New("a shipper runs already")

// RunShipper serves calls until ctx ends, it has been idle for long enough, or
// it is asked to stop. Files under way are brought to an end. It returns nil
// then, and ErrShipperRuns where another one holds the place.
func RunShipper(ctx context.Context, cfg ShipperConfig) error {
	if cfg.Log == nil {
		cfg.Log = func(string, ...any) {}
	}
	hold, err := cfg.Place.take()
	if err != nil {
		return err
	}
	defer hold.Close() // gives the place up, last of all
	fault.At(fault.ShipperListen)
	listener, err := cfg.Place.listen()
	if err != nil {
		return err
	}
	// Jobs go on when the shipper is told to end; stop is for new calls.
	s := &Shipper{cfg: cfg, started: time.Now(), links: map[string]*link{}}
	s.ctx, s.stop = context.WithCancelCause(context.WithoutCancel(ctx))
	s.idle = time.AfterFunc(cfg.Idle, func() { s.stop(errIdle) })
	defer context.AfterFunc(ctx, func() { s.stop(context.Cause(ctx)) })()
	defer context.AfterFunc(s.ctx, func() { _ = listener.Close() })()
	cfg.Log("shipper %d of %s started", os.Getpid(), cfg.Place.DataDir)
	s.accept(listener)
	err = s.finish()
	cfg.Log("shipper %d ended: %v", os.Getpid(), context.Cause(s.ctx))
	return err
}

// accept answers calls until the listener is closed.
func (s *Shipper) accept(listener *net.UnixListener) {
	for {
		conn, err := listener.AcceptUnix()
		if err != nil {
			s.stop(err)
			return
		}
		s.enter()
		s.work.Go(func() {
			defer s.leave()
			if err := s.serve(conn); err != nil {
				s.cfg.Log("a call broke off: %v", err)
			}
		})
	}
}

// finish waits for what is under way and closes the connections.
func (s *Shipper) finish() error {
	s.work.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle.Stop()
	var errs []error
	for _, l := range s.links {
		errs = append(errs, l.close())
	}
	return errors.Join(errs...)
}

// enter and leave count the calls under way; the time without one is idle.
func (s *Shipper) enter() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	s.busy++
	s.idle.Stop()
}

func (s *Shipper) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy--; s.busy == 0 {
		s.idle.Reset(s.cfg.Idle)
	}
}

// archive does one call of archive_command.
func (s *Shipper) archive(c call) (string, error) {
	r, err := s.cfg.Prepare(c.Path, c.Name)
	if err != nil {
		return "", err
	}
	out := NewRemarks(io.Discard)
	r.Out, r.carry = out, func(ctx context.Context, r ArchiveRequest, d Destination) error {
		return s.link(d, r.Version).carry(ctx, r)
	}
	err = Archive(context.WithoutCancel(s.ctx), r)
	fault.At(fault.ShipperAnswer)
	return s.cfg.Remarks.take() + out.take(), err
}

// link is the one to a destination. One whose way has changed is left behind.
func (s *Shipper) link(d Destination, version string) *link {
	key := fmt.Sprintf("%s %s %s %s %s", d.Node, d.Where, d.Compress, d.Store, d.Config)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.links[key] == nil {
		for other, l := range s.links {
			if l.dest.Node == d.Node {
				delete(s.links, other)
				s.work.Go(func() { _ = l.close() }) // nothing is under way that counts
			}
		}
		s.links[key] = newLink(context.WithoutCancel(s.ctx), d, version, &s.work)
	}
	return s.links[key]
}
