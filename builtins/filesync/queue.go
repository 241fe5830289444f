package filesync

import "sync"

// largeFile is the size from which files are sent in order of size. Smaller
// ones keep the order of the listing.
const largeFile = 256 << 10

// queue hands jobs to the streams: large files first, so that none of them is
// left to one stream at the end, and those split.
type queue struct {
	mu    sync.Mutex
	plan  *plan
	large []large // what is left of the plan's
	small []planned
	back  []job  // given back
	head  *job   // the next one, if it has been looked at
	open  *split // of head, where that is one whose parts are being taken
	at    int64  // where its next part begins
	next  uint32 // id
}

// newQueue sorts the plan's jobs.
func newQueue(p *plan) *queue {
	p.jobs.sort()
	return &queue{plan: p, large: p.jobs.large, small: p.jobs.small}
}

// take removes the next job, or the next part of it. One larger than room is
// left for another stream.
func (q *queue) take(room int64) (job, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.head == nil {
		q.head = q.first()
	}
	if q.head == nil {
		return job{}, false
	}
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
	j.id = q.next
	q.next++
	return j, true
}

// first takes the first job out of those that are left.
func (q *queue) first() *job {
	var j job
	switch {
	case len(q.back) > 0:
		j, q.back = q.back[0], q.back[1:]
	case len(q.large) > 0:
		j, q.large = q.plan.job(q.large[0].planned), q.large[1:]
	case len(q.small) > 0:
		j, q.small = q.plan.job(q.small[0]), q.small[1:]
	default:
		return nil
	}
	return &j
}

// put gives a job back that turned out to be one to copy.
func (q *queue) put(j job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.back = append(q.back, j)
}
