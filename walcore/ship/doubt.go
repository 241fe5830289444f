package ship

import (
	"strings"
	"unicode"

	"github.com/warmrun/warmrun/walcore"
)

// What the other side may send at most. It may be another version of this
// program, or no friend at all.
const (
	maxWord = 256      // a string of a request, or a program's version
	maxText = 4 << 10  // an error's message
	maxFile = 1 << 30  // a file: the largest segment that PostgreSQL knows
	maxList = 64 << 20 // a list of names: two million files
)

// clean makes a text of the other side's fit for a log: one line without
// control characters, and not a long one.
func clean(text string, most int) string {
	if len(text) > most {
		text = text[:most] + "..."
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}

// clean is the failure with texts that can be shown.
func (f failure) clean() failure {
	f.Message, f.Hint = clean(f.Message, maxText), clean(f.Hint, maxText)
	if f.Refused != nil {
		r := *f.Refused
		r.Name = walcore.FileName(clean(string(r.Name), maxWord))
		r.Reason, r.Detail, r.Remedy = clean(r.Reason, maxWord), clean(r.Detail, maxText), clean(r.Remedy, maxText)
		f.Refused = &r
	}
	if f.Space != nil {
		s := *f.Space
		s.Name = walcore.FileName(clean(string(s.Name), maxWord))
		s.Dir, s.FileSystem = clean(s.Dir, maxText), clean(s.FileSystem, maxText)
		f.Space = &s
	}
	return f
}

// checkSegments refuses what stands for a segment and is no segment's name.
// The empty name stands for none.
func checkSegments(names ...walcore.SegmentName) error {
	for _, name := range names {
		if _, err := walcore.ParseSegmentName(string(name)); err != nil && name != "" {
			return protocolError("an answer with a segment that is none: %q", clean(string(name), maxWord))
		}
	}
	return nil
}

// checkChain refuses a chain that cannot be reckoned with.
func checkChain(chain walcore.Chain) error {
	names := []walcore.SegmentName{chain.First, chain.Last, chain.Newest}
	for _, gap := range chain.Gaps {
		names = append(names, gap.After, gap.Want)
	}
	if err := checkSegments(names...); err != nil {
		return err
	}
	if !chain.SegmentSize.Valid() && (chain.SegmentSize != 0 || chain.Last != "" || chain.Newest != "") {
		return protocolError("an answer with segments of %d bytes", chain.SegmentSize)
	}
	return nil
}
