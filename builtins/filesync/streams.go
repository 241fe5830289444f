package filesync

import (
	"runtime"
	"time"
)

// way is how far the other side is away, which decides how many streams a copy
// has where nothing is said.
type way struct {
	streams int
	// What a stream must have to do to be worth its login: so many bytes or files.
	bytes, files int64
}

// farAway is where each stream adds to what is under way at a time, which the windows
// of ssh and TCP limit.
var farAway = way{streams: 4, bytes: 8 << 20, files: 256}

// nearby is how long an answer takes at most over a short way.
const nearby = 10 * time.Millisecond

// wayOf tells from the time that an answer took. Over a short way a stream keeps more
// than one processor busy, and copies 100 MB while another one logs in.
func wayOf(answer time.Duration) way {
	if answer > nearby {
		return farAway
	}
	return way{streams: min(farAway.streams, max(2, runtime.GOMAXPROCS(0))), bytes: 128 << 20, files: 4096}
}

// streamsFor is how many streams are worth opening for the jobs of a plan. limit is
// what the caller wants, 0 for the usual; answer is how long the other side took
// for one.
func streamsFor(limit int, answer time.Duration, l *jobs) int {
	w := wayOf(answer)
	if limit > 0 {
		w = farAway
		w.streams = limit
	}
	pieces := int64(l.len())
	for _, f := range l.large {
		pieces += f.size / rangeSize
	}
	useful := 1 + l.unsure()/w.bytes + int64(l.len())/w.files
	return int(min(int64(w.streams), useful, max(1, pieces)))
}
