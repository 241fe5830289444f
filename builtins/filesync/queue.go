package filesync

import (
	"cmp"
	"slices"
	"sync"
)

// largeFile is the size from which files are sent in order of size. Smaller
// ones keep the order of the listing.
const largeFile = 256 << 10

// queue hands jobs to the streams: large files first, so that none of them is
// left to one stream at the end, and those split.
type queue struct {
	mu   sync.Mutex
	jobs []job
	open *split // the first of jobs, where it is one whose parts are being taken
	at   int64  // where its next part begins
	next uint32 // id
}

// newQueue sorts the jobs in place.
func newQueue(jobs []job) *queue {
	class := func(j job) int64 {
		if j.entry.Size < largeFile {
			return 0
		}
		return j.entry.Size
	}
	slices.SortStableFunc(jobs, func(a, b job) int { return cmp.Compare(class(b), class(a)) })
	return &queue{jobs: jobs}
}

// take removes the next job, or the next part of it. One larger than room is
// left for another stream.
func (q *queue) take(room int64) (job, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.jobs) == 0 {
		return job{}, false
	}
	j := q.jobs[0]
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
		q.jobs, q.open = q.jobs[1:], nil
	}
	j.id = q.next
	q.next++
	return j, true
}

// put gives a job back that turned out to be one to copy.
func (q *queue) put(j job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := 0
	if q.open != nil {
		at = 1 // behind the one whose parts are being taken
	}
	q.jobs = slices.Insert(q.jobs, at, j)
}

// streamsFor is how many streams are worth opening for the jobs.
func streamsFor(limit int, jobs []job) int {
	if limit <= 0 {
		limit = defaultStreams
	}
	var bytes, pieces int64
	for _, j := range jobs {
		bytes += j.entry.Size
		pieces += 1 + j.entry.Size/rangeSize
	}
	useful := 1 + bytes/(8<<20) + int64(len(jobs))/256
	return int(min(int64(limit), useful, max(1, pieces)))
}
