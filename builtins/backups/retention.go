package backups

import "time"

// Retention says which copies stay. Both zero: all of them.
type Retention struct {
	// Keep is how many of the newest good copies stay.
	Keep int
	// For is how far back a recovery must be possible: the copies of that time
	// stay, and the newest one of before it, without which its beginning could
	// not be reached.
	For time.Duration
}

// Expired are the copies that need not stay, oldest first. Only good ones count
// and only good ones expire: a damaged copy is for the operator to look at.
// The newest good one always stays.
func (r Retention) Expired(copies []Copy, now time.Time) []Copy {
	var good []Copy
	for _, c := range copies {
		if c.Good() {
			good = append(good, c)
		}
	}
	if r.Keep <= 0 && r.For <= 0 || len(good) == 0 {
		return nil
	}
	first := len(good) - max(r.Keep, 1) // the oldest that stays by number
	if r.For > 0 {
		from := len(good) - 1
		for from > 0 && good[from].Finished.After(now.Add(-r.For)) {
			from--
		}
		first = min(first, from)
		if r.Keep <= 0 {
			first = from
		}
	}
	return good[:max(first, 0)]
}

// Expire removes what need not stay, and says what it has removed.
func (s Store) Expire(r Retention, now time.Time) (removed []string, err error) {
	copies, err := s.List()
	if err != nil {
		return nil, err
	}
	for _, c := range r.Expired(copies, now) {
		if err := s.discard(c); err != nil {
			return removed, err
		}
		removed = append(removed, c.ID)
	}
	return removed, nil
}
