package filesync

import (
	"fmt"
	"sync"
)

// sentParts are the parts of large files that one stream of a push has been
// given and has not yet been answered for. The stream that gets the last answer
// for a file has it finished.
type sentParts struct {
	c     *conn
	track *tracker

	mu    sync.Mutex // never held while something is written
	jobs  map[uint32]job
	ready []*split // to be finished
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
// room to write as long as the other one may hold that room, so it writes
// nothing here.
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
	last, mixed := j.split.done(j, o)
	if last {
		p.ready = append(p.ready, j.split)
	}
	if mixed {
		if err := p.track.changed(j.entry.Path, Modified); err != nil {
			return fmt.Errorf("%s: %w", j.entry.Path, err)
		}
	}
	return nil
}

// take returns the files whose parts are all there, each once.
func (p *sentParts) take() []*split {
	p.mu.Lock()
	defer p.mu.Unlock()
	ready := p.ready
	p.ready = nil
	return ready
}

// finish has those files finished whose parts are all there, and returns how
// many they are.
func (p *sentParts) finish() (int, error) {
	ready := p.take()
	for _, s := range ready {
		p.track.ended(*s.whole.entry, s.differs())
		if err := p.c.write(frameFinish, s.finish().encode()); err != nil {
			return 0, err
		}
	}
	return len(ready), nil
}

// end asks the other side to flush everything. After it the goroutine that
// sends writes no more.
func (p *sentParts) end() error {
	if _, err := p.finish(); err != nil {
		return err
	}
	return p.c.send(frameSync)
}

// again finishes, once the other side has flushed everything, the files whose
// last answer came after that had been asked for. It reports whether there were
// any: the other side is then asked again.
func (p *sentParts) again() (bool, error) {
	n, err := p.finish()
	if n == 0 || err != nil {
		return false, err
	}
	return true, p.c.send(frameSync)
}
