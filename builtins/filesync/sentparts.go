package filesync

import "sync"

// sentParts are the parts of large files that one stream of a push has been
// given and has not yet been answered for. The stream that gets the last answer
// for a file has it finished.
type sentParts struct {
	c     *conn
	track *tracker

	mu    sync.Mutex
	jobs  map[uint32]job
	ready []*split // to be finished by the goroutine that sends
	ended bool     // it has sent everything else
	late  bool     // something was finished since
}

func (p *sentParts) add(j job) {
	if j.split == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.jobs[j.id] = j
}

// done takes the answer for a part. The goroutine that reads must not wait for
// room to write as long as the other one may hold that room.
func (p *sentParts) done(payload []byte) error {
	id, o, err := decodeOutcome(payload)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	j, there := p.jobs[id]
	if !there {
		return protocolError("an answer for a part that was not sent")
	}
	delete(p.jobs, id)
	if !j.split.done(j, o) {
		return nil
	}
	p.ready = append(p.ready, j.split)
	if !p.ended {
		return nil
	}
	p.late = true
	return p.flush()
}

// finish has those files finished whose parts are all there.
func (p *sentParts) finish() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.flush()
}

func (p *sentParts) flush() error {
	for _, s := range p.ready {
		p.track.ended(*s.whole.entry, s.differs())
		if err := p.c.write(frameFinish, s.finish().encode()); err != nil {
			return err
		}
	}
	p.ready = nil
	return nil
}

// end asks the other side to flush everything.
func (p *sentParts) end() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.flush(); err != nil {
		return err
	}
	p.ended = true
	return p.c.send(frameSync)
}

// again reports whether files were finished after the other side was asked to
// flush everything. It is then asked again.
func (p *sentParts) again() (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.late {
		return false, nil
	}
	p.late = false
	return true, p.c.send(frameSync)
}
