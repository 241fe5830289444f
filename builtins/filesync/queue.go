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
// left to one stream at the end.
type queue struct {
	mu   sync.Mutex
	jobs []job
}

func newQueue(jobs []job) *queue {
	sorted := slices.Clone(jobs)
	class := func(j job) int64 {
		if j.entry.Size < largeFile {
			return 0
		}
		return j.entry.Size
	}
	slices.SortStableFunc(sorted, func(a, b job) int { return cmp.Compare(class(b), class(a)) })
	return &queue{jobs: sorted}
}

// take removes the next job. One larger than room is left for another stream.
func (q *queue) take(room int64) (job, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.jobs) == 0 || q.jobs[0].entry.Size > room {
		return job{}, false
	}
	j := q.jobs[0]
	q.jobs = q.jobs[1:]
	return j, true
}

// streamsFor is how many streams are worth opening for the jobs.
func streamsFor(limit int, jobs []job) int {
	if limit <= 0 {
		limit = defaultStreams
	}
	var bytes int64
	for _, j := range jobs {
		bytes += j.entry.Size
	}
	useful := 1 + bytes/(8<<20) + int64(len(jobs))/256
	return int(min(int64(limit), useful, int64(max(1, len(jobs)))))
}
