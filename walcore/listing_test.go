package walcore_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/walcore"
)

// outline is a listing in short: of each timeline its segments in order, with a
// word before those that are not simply there.
func outline(l walcore.Listing) string {
	var lines []string
	span := func(first, last walcore.SegmentName) string {
		if first == last {
			return strings.Split(short(first), "/")[1]
		}
		return strings.Split(short(first), "/")[1] + "-" + strings.Split(short(last), "/")[1]
	}
	for _, t := range l.Timelines {
		line := fmt.Sprintf("%d:", uint32(t.Timeline))
		for _, run := range t.Runs {
			line += " "
			if run.PastFork {
				line += "past "
			}
			if run.BeforeBegin {
				line += "early "
			}
			line += span(run.First, run.Last)
		}
		for _, gap := range t.Gaps {
			line += " gap " + span(gap.First, gap.Last)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "; ")
}

func TestListing(t *testing.T) {
	tests := []struct {
		name  string
		files string
		want  string
	}{
		{"empty", "", ""},
		{"one run", "1/1 1/2 1/3", "1: 1-3"},
		{"gaps", "1/3 1/4 1/6 1/9", "1: 3-4 6 9 gap 5 gap 7-8"},
		{"a gap of billions", "1/1 1/17592186044415", "1: 1 17592186044415 gap 2-17592186044414"},
		{"forked in a segment", "1/1 1/2 2/2 2/3 2:1@0/280000", "1: 1-2; 2: 2-3"},
		{"the parent only has a partial of it", "1/1 2/2 2/3 2:1@0/280000", "1: 1; 2: 2-3"},
		{"past the fork", "1/1 1/2 1/3 1/4 2/2 2:1@0/280000", "1: 1-2 past 3-4; 2: 2"},
		{"a hole past the fork is none", "1/1 1/2 1/4 1/6 2/2 2:1@0/280000", "1: 1-2 past 4 past 6; 2: 2"},
		{"past a fork between segments", "1/1 1/2 1/3 2:1@0/300000", "1: 1-2 past 3; 2:"},
		{"the parent's last is missing", "1/1 2/3 2:1@0/300000", "1: 1 gap 2; 2: 3"},
		{"the parent's last is to come", "1/1 2:1@0/300000", "1: 1; 2:"},
		{"the child's first is missing", "1/1 1/2 2/3 2:1@0/280000", "1: 1-2; 2: 3 gap 2"},
		{"the child's first was removed with all before", "2/4 2/5 2:1@0/280000", "1:; 2: 4-5"},
		{"a whole timeline is missing", "1/1 3/5 2:1@0/280000 3:1@0/280000,2@0/500000", "1: 1; 2: gap 2-4; 3: 5"},
		{"and its history", "1/1 3/5 3:1@0/280000,2@0/500000", "1: 1; 2: gap 2-4; 3: 5"},
		{"a whole timeline in a segment", "1/1 1/2 3/2 3/3 2:1@0/220000 3:1@0/220000,2@0/280000", "1: 1-2; 2:; 3: 2-3"},
		{"siblings", "1/1 1/2 2/2 1/3 3/3 2:1@0/280000 3:1@0/380000", "1: 1-3; 2: 2; 3: 3"},
		{"a sibling needs the parent's segment", "1/1 2/2 3/4 2:1@0/280000 3:1@0/480000", "1: 1 gap 2-3; 2: 2; 3: 4"},
		{"before its beginning", "2/1 2/2 2/3 1/1 2:1@0/280000", "1: 1; 2: early 1 2-3"},
		{"no history", "1/1 2/3 2/5", "1: 1; 2: 3 5 gap 4"},
		{"a broken history", "1/1 2/3 2/5 2:nonsense", "1: 1; 2: 3 5 gap 4"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			listing, err := archiveOf(t, tt.files).Listing()
			if err != nil {
				t.Fatal(err)
			}
			if got := outline(listing); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestListingOtherFiles(t *testing.T) {
	a := archiveOf(t, "1/1 2:1@0/280000")
	one, tooBig := segmentOf(t, "1/1"), "000000010000000000001000" // 1 MB segments end at FFF
	for _, name := range []string{one + ".partial", one + ".00000028.backup", "README", one + ".gz", tooBig} {
		if err := os.WriteFile(filepath.Join(a.Dir(), name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(a.Dir(), segmentOf(t, "1/2")), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := a.Listing()
	if err != nil {
		t.Fatal(err)
	}
	var others []string
	for _, file := range l.Others {
		others = append(others, file.Name)
	}
	if got, want := strings.Join(others, " "), strings.Join([]string{one + ".gz", segmentOf(t, "1/2"), tooBig, "README"}, " "); got != want {
		t.Errorf("got no WAL %q, want %q", got, want)
	}
	if l.Count != 4 || len(l.All) != 4 {
		t.Errorf("got %d WAL files, %d in the list, want 4", l.Count, len(l.All))
	}
	first := l.Timelines[0]
	if fmt.Sprint(first.Partials, first.Backups) != fmt.Sprintf("[%s.partial] [%s.00000028.backup]", one, one) {
		t.Errorf("got partials %v, backups %v", first.Partials, first.Backups)
	}
	if first.Runs[0].WrongSize != 1 {
		t.Errorf("got %d segments of wrong size, want the empty one", first.Runs[0].WrongSize)
	}
	if second := l.Timelines[1]; !second.History || second.Parent != 1 || second.Begin.String() != "0/280000" {
		t.Errorf("got timeline 2 %+v, want its history and where it began", second)
	}
}
