package ledger

import (
	"fmt"
	"slices"
	"strings"
)

// Span is a run of ids without a hole; both ends belong to it.
type Span struct{ First, Last int64 }

// Set is a set of ids: spans in ascending order that neither meet nor overlap.
type Set []Span

// SetOf makes a set of spans in any order.
func SetOf(spans ...Span) Set {
	sorted := slices.Clone(spans)
	slices.SortFunc(sorted, func(a, b Span) int {
		switch {
		case a.First < b.First:
			return -1
		case a.First > b.First:
			return 1
		}
		return 0
	})
	var s Set
	for _, span := range sorted {
		switch last := len(s) - 1; {
		case span.Last < span.First:
		case last >= 0 && span.First <= s[last].Last+1:
			s[last].Last = max(s[last].Last, span.Last)
		default:
			s = append(s, span)
		}
	}
	return s
}

// Len is the number of ids.
func (s Set) Len() int64 {
	var n int64
	for _, span := range s {
		n += span.Last - span.First + 1
	}
	return n
}

// Union is what is in either set.
func (s Set) Union(other Set) Set {
	return SetOf(append(slices.Clone(s), other...)...)
}

// Minus is what is in s and not in other.
func (s Set) Minus(other Set) Set {
	var left []Span
	i := 0
	for _, span := range s {
		for i < len(other) && other[i].Last < span.First {
			i++
		}
		for j := i; j < len(other) && other[j].First <= span.Last; j++ {
			if other[j].First > span.First {
				left = append(left, Span{span.First, other[j].First - 1})
			}
			span.First = other[j].Last + 1
		}
		if span.First <= span.Last {
			left = append(left, span)
		}
	}
	return SetOf(left...)
}

// Below is the part of s that is less than limit.
func (s Set) Below(limit int64) Set {
	var part Set
	for _, span := range s {
		if span.First < limit {
			part = append(part, Span{span.First, min(span.Last, limit-1)})
		}
	}
	return part
}

// String lists the first spans: "1-100, 205 and 3 more (140 ids)".
func (s Set) String() string {
	const shown = 5
	if len(s) == 0 {
		return "none"
	}
	var parts []string
	for _, span := range s[:min(len(s), shown)] {
		if span.First == span.Last {
			parts = append(parts, fmt.Sprint(span.First))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", span.First, span.Last))
		}
	}
	text := strings.Join(parts, ", ")
	if more := len(s) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Sprintf("%s (%d ids)", text, s.Len())
}
