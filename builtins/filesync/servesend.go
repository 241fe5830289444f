package filesync

import (
	"context"
	"fmt"
)

// send does what a pull asks for.
func (s *server) send(ctx context.Context, t frameType, payload []byte) error {
	if s.sender == nil {
		s.startSender(ctx)
	}
	switch t {
	case frameFetch:
		j, err := decodeFetch(payload)
		if err != nil {
			return err
		}
		if s.jobs == nil {
			return protocolError("a request after the last")
		}
		select {
		case s.jobs <- j:
			return nil
		default:
			return protocolError("too many requests at once")
		}
	case frameHashes:
		return s.sender.deliver(payload)
	case frameSync:
		if s.jobs != nil {
			close(s.jobs)
			s.jobs = nil
		}
		return nil
	}
	return protocolError("an unexpected request of type %d", t)
}

// startSender runs the sender beside the reading of requests. When it fails it
// says so itself, because the reading waits for the other end.
func (s *server) startSender(ctx context.Context) {
	jobs := make(chan job, maxOpenJobs)
	s.jobs = jobs
	s.sender = &sender{
		c: s.c, root: s.tree.root, pack: packer{how: s.pack}, hash: s.hash,
		next: func(ctx context.Context, wait bool, _ int64) (job, bool, error) {
			return nextJob(ctx, jobs, wait)
		},
		inspector: Options{}.inspector,
		changed: func(j job, c Change) error {
			return s.c.write(frameChanged, new(encoder).uint(uint64(j.id)).uint(uint64(c)).b)
		},
		pace:    func(context.Context, int) error { return nil },
		handled: func(int, int) {},
		ended:   func(job, int64) {},
	}
	s.sending.Go(func() {
		s.sendErr = s.sender.run(ctx)
		if s.sendErr != nil {
			_ = s.c.send(frameFail, encodeFailure(s.sendErr)) // if it cannot be told it will find out
			return
		}
		s.sendErr = s.c.send(frameDone)
	})
}

func nextJob(ctx context.Context, jobs <-chan job, wait bool) (job, bool, error) {
	if !wait {
		select {
		case j, ok := <-jobs:
			return j, ok, nil
		default:
			return job{}, false, nil
		}
	}
	select {
	case j, ok := <-jobs:
		return j, ok, nil
	case <-ctx.Done():
		return job{}, false, fmt.Errorf("the copy was stopped: %w", context.Cause(ctx))
	}
}
