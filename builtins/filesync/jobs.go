package filesync

import (
	"cmp"
	"slices"
)

// planned is a file to copy, before it is a job: there may be millions.
type planned struct {
	ref ref // in the source's catalog
	// known tells what of the file the target has: one more than its place in
	// jobs.known; 0 for nothing.
	known uint32
}

// compared is what a target has of a file that is to be copied, or looked at.
type compared struct {
	basis, partial int64 // as in job
	sure           []span
	kept, stale    bool
}

// jobs are the files to copy.
type jobs struct {
	large []large // to be sorted
	small []planned
	known []compared
	bytes int64
}

// large is a file that is sent before smaller ones.
type large struct {
	planned
	size int64
}

// add appends a file.
func (l *jobs) add(e listed, there compared) {
	p := planned{ref: e.ref}
	if there.basis >= 0 || there.kept {
		l.known = append(l.known, there)
		p.known = uint32(len(l.known))
	}
	l.bytes += e.Size
	if e.Size < largeFile {
		l.small = append(l.small, p)
		return
	}
	l.large = append(l.large, large{p, e.Size})
}

// len is how many there are.
func (l *jobs) len() int { return len(l.large) + len(l.small) }

// unsure is how many bytes must at least be compared.
func (l *jobs) unsure() int64 {
	n := l.bytes
	for _, there := range l.known {
		for _, s := range there.sure {
			n -= s.to - s.from
		}
	}
	return n
}

// each visits all of them.
func (l *jobs) each(visit func(*planned)) {
	for i := range l.large {
		visit(&l.large[i].planned)
	}
	for i := range l.small {
		visit(&l.small[i])
	}
}

// sort brings the larger ones before the smaller ones.
func (l *jobs) sort() {
	slices.SortStableFunc(l.large, func(a, b large) int { return cmp.Compare(b.size, a.size) })
}

// compare is what the target has of a file, to be changed.
func (l *jobs) compare(p *planned) *compared {
	if p.known == 0 {
		l.known = append(l.known, compared{basis: -1, partial: -1})
		p.known = uint32(len(l.known))
	}
	return &l.known[p.known-1]
}

// job is what a planned file is as a job, without a number.
func (p *plan) job(f planned) job {
	e := p.source.at(f.ref)
	there := compared{basis: -1, partial: -1}
	if f.known > 0 {
		there = p.jobs.known[f.known-1]
	}
	return job{entry: &e, to: e.Size, basis: there.basis, partial: there.partial, sure: there.sure, kept: there.kept, stale: there.stale}
}
