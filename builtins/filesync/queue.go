package filesync

import "sync"

// largeFile is the size from which files are sent in order of size. Smaller
// ones keep the order of the listing.
const largeFile = 256 << 10

// anySize is the room of a stream that has nothing else under way.
const anySize = 1<<63 - 1

// queue hands jobs to the streams: large files first, so that none of them is
// left to one stream at the end, and those split.
type queue struct {
	mu      sync.Mutex
	plan    *plan
	streams int
	large   []large // what is left of the plan's
	small   []planned
	back    []job  // given back
	head    *job   // the next that is any stream's, if it has been looked at: large, or given back
	open    *split // of head, where that is one whose parts are being taken
	at      int64  // where its next part begins
	next    uint32 // id
}

// newQueue sorts the plan's jobs, for so many streams.
func newQueue(p *plan, streams int) *queue {
	p.jobs.sort()
	return &queue{plan: p, streams: streams, large: p.jobs.large, small: p.jobs.small}
}

// lane is where one stream takes its jobs. Of small files it is given some that
// follow one another, because streams that make files in the same directory wait for
// each other.
type lane struct {
	queue *queue
	own   []job // small ones
}

func (q *queue) lane() *lane { return &lane{queue: q} }

// take removes the next job, or the next part of it. It returns false where that
// takes more than room, and only with anySize for sure where there is none.
func (l *lane) take(room int64) (job, bool) {
	q := l.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.head == nil {
		q.head = q.shared()
	}
	if q.head != nil {
		return q.part(room)
	}
	if len(l.own) == 0 {
		l.own = q.share()
	}
	if len(l.own) == 0 || l.own[0].size() > room {
		return job{}, false
	}
	j := l.own[0]
	l.own = l.own[1:]
	return q.number(j), true
}

// part takes the first job, or the next part of it.
func (q *queue) part(room int64) (job, bool) {
	j := *q.head
	if j.entry.Size > rangeSize && !j.kept {
		if q.open == nil {
			q.open, q.at = newSplit(j), 0
		}
		j = q.open.part(q.at)
	}
	if j.size() > room {
		return job{}, false
	}
	if q.at = j.to; j.to == j.entry.Size {
		q.head, q.open = nil, nil
	}
	return q.number(j), true
}

func (q *queue) number(j job) job {
	j.id = q.next
	q.next++
	return j
}

// shared takes the first of the jobs that are any stream's.
func (q *queue) shared() *job {
	var j job
	switch {
	case len(q.back) > 0:
		j, q.back = q.back[0], q.back[1:]
	case len(q.large) > 0:
		j, q.large = q.plan.job(q.large[0].planned), q.large[1:]
	default:
		return nil
	}
	return &j
}

// share takes small files for one stream: no more than it would ask ahead for, and
// fewer at the end, so that none has much to do when the others are done.
func (q *queue) share() []job {
	n := min(maxAhead, (len(q.small)+2*q.streams-1)/(2*q.streams))
	var share []job
	for bytes := int64(0); len(share) < n && bytes < mostAhead; q.small = q.small[1:] {
		j := q.plan.job(q.small[0])
		share, bytes = append(share, j), bytes+j.size()
	}
	return share
}

// put gives a job back that turned out to be one to copy.
func (q *queue) put(j job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.back = append(q.back, j)
}
