package main

import (
	"slices"
	"strings"
)

// merge3 takes two changes of one text together. Where both have changed the
// same lines, each in its own way, the merged text has both between conflict
// marks and conflicts counts them.
func merge3(base, ours, theirs, oursName, theirsName string) (merged string, conflicts int) {
	o, a, b := splitLines(base), splitLines(ours), splitLines(theirs)
	inA, inB := matches(o, a), matches(o, b)
	var out []string
	for at := (cursor{}); ; {
		next := cursor{len(o), len(a), len(b)}
		for i := at.base; i < len(o); i++ {
			if inA[i] >= at.ours && inB[i] >= at.theirs {
				next = cursor{i, inA[i], inB[i]}
				break
			}
		}
		chunk, conflict := resolve(o[at.base:next.base], a[at.ours:next.ours], b[at.theirs:next.theirs], oursName, theirsName)
		out = append(out, chunk...)
		conflicts += conflict
		if next.base == len(o) {
			return strings.Join(out, ""), conflicts
		}
		out = append(out, o[next.base])
		at = cursor{next.base + 1, next.ours + 1, next.theirs + 1}
	}
}

// cursor is a place in the three texts, in lines.
type cursor struct{ base, ours, theirs int }

// resolve decides what becomes of lines that are not the same in all three.
func resolve(base, ours, theirs []string, oursName, theirsName string) (lines []string, conflicts int) {
	switch {
	case slices.Equal(ours, theirs), slices.Equal(theirs, base):
		return ours, 0
	case slices.Equal(ours, base):
		return theirs, 0
	}
	lines = append(lines, "<<<<<<< "+oursName+"\n")
	lines = append(lines, ended(ours)...)
	lines = append(lines, "=======\n")
	lines = append(lines, ended(theirs)...)
	return append(lines, ">>>>>>> "+theirsName+"\n"), 1
}

// ended makes sure that the last line ends, so that a mark begins a line.
func ended(lines []string) []string {
	lines = slices.Clone(lines)
	if n := len(lines); n > 0 && !strings.HasSuffix(lines[n-1], "\n") {
		lines[n-1] += "\n"
	}
	return lines
}

func splitLines(text string) []string {
	lines := strings.SplitAfter(text, "\n")
	return lines[:len(lines)-1+min(1, len(lines[len(lines)-1]))]
}

// matches tells for each line of a which line of b it is in a longest common
// sequence of both, or -1.
func matches(a, b []string) []int {
	out := make([]int, len(a))
	for i := range out {
		out[i] = -1
	}
	begin := 0
	for begin < len(a) && begin < len(b) && a[begin] == b[begin] {
		out[begin] = begin
		begin++
	}
	endA, endB := len(a), len(b)
	for endA > begin && endB > begin && a[endA-1] == b[endB-1] {
		endA--
		endB--
		out[endA] = endB
	}
	middleA, middleB := a[begin:endA], b[begin:endB]
	lengths := make([][]int32, len(middleA)+1) // of the longest sequence from each pair of lines on
	for i := range lengths {
		lengths[i] = make([]int32, len(middleB)+1)
	}
	for i := len(middleA) - 1; i >= 0; i-- {
		for j := len(middleB) - 1; j >= 0; j-- {
			lengths[i][j] = max(lengths[i+1][j], lengths[i][j+1])
			if middleA[i] == middleB[j] {
				lengths[i][j] = lengths[i+1][j+1] + 1
			}
		}
	}
	for i, j := 0, 0; i < len(middleA) && j < len(middleB); {
		switch {
		case middleA[i] == middleB[j]:
			out[begin+i] = begin + j
			i++
			j++
		case lengths[i+1][j] >= lengths[i][j+1]:
			i++
		default:
			j++
		}
	}
	return out
}
