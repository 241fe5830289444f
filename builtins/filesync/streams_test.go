package filesync

import (
	"runtime"
	"testing"
	"time"
)

// TestStreamsForAPlan: a stream is opened where it has more to do than its login
// costs.
func TestStreamsForAPlan(t *testing.T) {
	t.Parallel()
	const mb = 1 << 20
	here := min(4, max(2, runtime.GOMAXPROCS(0)))
	near, far := time.Millisecond, 100*time.Millisecond
	for name, c := range map[string]struct {
		limit  int
		answer time.Duration
		jobs   jobs
		want   int
	}{
		"near, little":            {0, near, someJobs(1, 100*mb, nil), 1},
		"near, much":              {0, near, someJobs(3, 1000*mb, nil), here},
		"near, many small":        {0, near, someJobs(100_000, 100, nil), here},
		"near, most of it is had": {0, near, someJobs(1, 1000*mb, []span{{0, 990 * mb}}), 1},
		"far, little":             {0, far, someJobs(1, 4*mb, nil), 1},
		"far, some":               {0, far, someJobs(1, 100*mb, nil), 4},
		"far, most of it is had":  {0, far, someJobs(1, 1000*mb, []span{{0, 995 * mb}}), 1},
		"as many as wanted":       {8, near, someJobs(1, 1000*mb, nil), 8},
		"one wanted":              {1, far, someJobs(1, 1000*mb, nil), 1},
		"more than pieces":        {8, far, someJobs(2, 15*mb, nil), 2},
		"nothing":                 {0, far, jobs{}, 1},
	} {
		if got := streamsFor(c.limit, c.answer, &c.jobs); got != c.want {
			t.Errorf("%s: got %d streams, want %d", name, got, c.want)
		}
	}
}

// someJobs are n files of a size, of which the target has some for sure.
func someJobs(n int, size int64, sure []span) (l jobs) {
	for range n {
		l.add(listed{Entry: Entry{Size: size}}, compared{sure: sure})
	}
	return l
}
