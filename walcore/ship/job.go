package ship

import (
	"context"
	"errors"
	"time"

	"github.com/warmrun/warmrun/walcore"
)

// failed reports whether a job is over without success.
func (j *job) failed() bool {
	select {
	case <-j.done:
		return j.err != nil
	default:
		return false
	}
}

// succeeded reports whether the file of a job has been delivered.
func (j *job) succeeded() bool {
	select {
	case <-j.done:
		return j.err == nil
	default:
		return false
	}
}

// forgetOld drops what was delivered long ago; l.mu is held.
func (l *link) forgetOld() {
	for name, j := range l.jobs {
		select {
		case <-j.done:
			if j.err != nil || time.Since(j.at) > keepDelivered {
				delete(l.jobs, name)
			}
		default:
		}
	}
}

// run carries one file. before is closed when those that come before it have
// been offered, and offered is called when this one has.
func (l *link) run(r ArchiveRequest, j *job, before <-chan struct{}, offered func()) {
	defer offered()
	<-before // each of them ends with the shipper's context at the latest
	var put walcore.PutResult
	var err error
	select {
	case l.window <- struct{}{}:
		put, err = l.put(r, offered)
		<-l.window
	case <-l.ctx.Done():
		err = context.Cause(l.ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	j.err, j.at = err, time.Now()
	close(j.done)
	if err != nil {
		return
	}
	l.counts.Files++
	l.counts.Bytes += put.Bytes
	if j.ahead {
		l.counts.SentAhead++
	}
}

// lostError is a file whose connection was lost on the way. Whether it is there
// is not known.
type lostError struct{ error }

func (e *lostError) Unwrap() error { return e.error }

func (l *link) put(r ArchiveRequest, offered func()) (walcore.PutResult, error) {
	c, err := l.connect()
	if err != nil {
		return walcore.PutResult{}, err
	}
	if newest := r.Name.Timeline(); newest > l.knownHistories() {
		err = r.shipHistories(l.ctx, c)
		if err == nil && r.Name.Kind() != walcore.KindHistory {
			l.noteHistories(c, newest)
		}
	}
	var put walcore.PutResult
	if err == nil {
		put, err = c.Put(l.ctx, r.Name, r.Path, PutOptions{offered: offered})
	}
	if err != nil && c.lost() {
		l.drop(c, err)
		return put, &lostError{oneLine(err)}
	}
	return put, err
}

// connect returns the held connection, or opens it. Files are offered one after
// the other, so there is never more than one attempt.
func (l *link) connect() (*Client, error) {
	l.mu.Lock()
	c, dest := l.client, l.dest
	l.mu.Unlock()
	if c != nil && !c.lost() {
		return c, nil
	}
	if c != nil {
		l.drop(c, errors.New("it had ended"))
	}
	c, err := ConnectWith(l.ctx, dest.Dial, Options{Version: l.version, Compress: dest.Compress, Store: dest.Store})
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.pause.length = min(max(2*l.pause.length, firstPause), longestPause)
		l.pause.why, l.pause.until = err, time.Now().Add(l.pause.length)
		return nil, err
	}
	l.client, l.connected, l.pause, l.histories = c, time.Now(), pause{}, 0
	l.counts.Connects++
	return c, nil
}

// drop forgets a connection that has ended, and what was delivered over it: a
// node that was made anew has none of it.
func (l *link) drop(c *Client, why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client != c {
		return
	}
	l.client, l.sent = nil, run{}
	_ = c.Close() // it is lost already, and why is told
	for name, j := range l.jobs {
		select {
		case <-j.done:
			delete(l.jobs, name)
		default:
		}
	}
	l.pause.why = why
}

func (l *link) knownHistories() walcore.Timeline {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.histories, 1)
}

// noteHistories remembers that all histories up to a timeline's are there.
func (l *link) noteHistories(c *Client, newest walcore.Timeline) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client == c {
		l.histories = newest
	}
}

// close ends the connection.
func (l *link) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client == nil {
		return nil
	}
	return l.client.Close()
}
