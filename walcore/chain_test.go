package walcore_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/walcore"
)

// archiveOf makes an archive of empty files, which is all that Chain looks at,
// stamped for segments of 1 MB. A history is given as "2:1@0/280000".
func archiveOf(t *testing.T, files string) *walcore.Archive {
	t.Helper()
	a := newArchive(t)
	write := func(name, content string) {
		path := filepath.Join(a.Dir(), name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(".warmrun/stamp", `{"system_identifier": "42", "segment_size": 1048576}`)
	for _, file := range strings.Fields(files) {
		of, lines, isHistory := strings.Cut(file, ":")
		if !isHistory {
			write(segmentOf(t, file), "")
			continue
		}
		content := ""
		for _, line := range strings.Split(lines, ",") {
			content += strings.Replace(line, "@", "\t", 1) + "\tpromoted\n"
		}
		write(fmt.Sprintf("%08s.history", of), content)
	}
	return a
}

// segmentOf is the name of "timeline/number", as in "1/2".
func segmentOf(t *testing.T, short string) string {
	t.Helper()
	var timeline walcore.Timeline
	var number uint64
	if _, err := fmt.Sscanf(short, "%d/%d", &timeline, &number); err != nil {
		t.Fatalf("%q: %v", short, err)
	}
	return string(walcore.MakeSegmentName(timeline, number, 1<<20))
}

func TestChain(t *testing.T) {
	tests := []struct {
		name  string
		files string
		from  string
		run   string // "first last newest"
		end   string
		gaps  string // "after>want ..."
	}{
		{"empty", "", "", "- - -", "0/0", ""},
		{"one timeline", "1/1 1/2 1/3", "", "1/1 1/3 1/3", "0/400000", ""},
		{"the newest run", "1/1 1/2 1/4 1/5", "", "1/4 1/5 1/5", "0/600000", ""},
		{"a gap", "1/1 1/2 1/4 1/5 1/9", "1/1", "1/1 1/2 1/9", "0/300000", "1/2>1/3 1/5>1/6"},
		{"from the middle", "1/1 1/2 1/3", "1/2", "1/2 1/3 1/3", "0/400000", ""},
		{"from one that is not there", "1/3 1/4", "1/1", "- - 1/4", "0/0", ">1/1"},
		{"from beyond the end", "1/3 1/4", "1/7", "- - -", "0/0", ""},
		{"over the end of a log id", "1/4095 1/4096", "", "1/4095 1/4096 1/4096", "1/100000", ""},
		{"forked in a segment", "1/1 1/2 2/2 2/3 2:1@0/280000", "", "1/1 2/3 2/3", "0/400000", ""},
		{"beyond the fork", "1/1 1/2 1/3 1/4 2/2 2:1@0/280000", "1/1", "1/1 2/2 2/2", "0/300000", ""},
		{"first of the new one to come", "1/1 1/2 2:1@0/280000", "1/1", "1/1 1/2 1/2", "0/280000", ""},
		{"first of the new one missing", "1/1 1/2 2/3 2:1@0/280000", "1/1", "1/1 1/2 2/3", "0/280000", "1/2>2/2"},
		{"newest run after a missing first", "1/1 1/2 2/3 2:1@0/280000", "", "2/3 2/3 2/3", "0/400000", ""},
		{"forked between segments", "1/1 1/2 2/3 2:1@0/300000", "1/1", "1/1 2/3 2/3", "0/400000", ""},
		{"forked between, none yet", "1/1 1/2 1/3 2:1@0/300000", "1/1", "1/1 1/2 1/2", "0/300000", ""},
		{"end of the old one missing", "1/1 2/3 2:1@0/300000", "1/1", "1/1 1/1 2/3", "0/200000", "1/1>1/2"},
		{"two forks in a segment", "1/1 1/2 2/2 3/2 3/3 2:1@0/220000 3:1@0/220000,2@0/280000", "1/1", "1/1 3/3 3/3", "0/400000", ""},
		{"two forks, the last to come", "1/1 1/2 2/2 2:1@0/220000 3:1@0/220000,2@0/280000", "1/1", "1/1 2/2 2/2", "0/280000", ""},
		{"a sibling is not on the chain", "1/1 1/2 2/2 2/3 3/2 2:1@0/220000 3:1@0/280000", "1/1", "1/1 3/2 3/2", "0/300000", ""},
		{"no history", "3/5 3/6", "", "3/5 3/6 3/6", "0/700000", ""},
		{"from on an old timeline", "1/1 1/2 2/2 2/3 2:1@0/280000", "1/3", "2/3 2/3 2/3", "0/400000", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			from := walcore.SegmentName("")
			if tt.from != "" {
				from = walcore.SegmentName(segmentOf(t, tt.from))
			}
			chain, err := archiveOf(t, tt.files).Chain(from)
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(short(chain.First), " ", short(chain.Last), " ", short(chain.Newest)); got != tt.run {
				t.Errorf("got run %q, want %q", got, tt.run)
			}
			if got := chain.End.String(); got != tt.end {
				t.Errorf("got end %s, want %s", got, tt.end)
			}
			var gaps []string
			for _, gap := range chain.Gaps {
				gaps = append(gaps, strings.TrimPrefix(short(gap.After), "-")+">"+short(gap.Want))
			}
			if got := strings.Join(gaps, " "); got != tt.gaps {
				t.Errorf("got gaps %q, want %q", got, tt.gaps)
			}
			if chain.First != "" {
				want := int(chain.Last.Number(1<<20)-chain.First.Number(1<<20)) + 1
				if chain.Segments != want {
					t.Errorf("got %d segments, want %d", chain.Segments, want)
				}
			}
		})
	}
}

func short(name walcore.SegmentName) string {
	if name == "" {
		return "-"
	}
	return fmt.Sprintf("%d/%d", name.Timeline(), name.Number(1<<20))
}

func TestChainHistories(t *testing.T) {
	tests := []struct {
		files     string
		timeline  walcore.Timeline
		histories []walcore.Timeline
		want      walcore.Timeline
	}{
		{"1/1", 1, []walcore.Timeline{}, 0},
		{"1/1 2/2 2:1@0/280000", 2, []walcore.Timeline{2}, 0},
		{"1/1 2/2 3:1@0/280000,2@0/300000 2:1@0/280000", 3, []walcore.Timeline{2, 3}, 0},
		{"1/1 2/2", 2, []walcore.Timeline{}, 2},
		{"2:1@0/280000", 2, []walcore.Timeline{2}, 0},
	}
	for _, tt := range tests {
		chain, err := archiveOf(t, tt.files).Chain("")
		if err != nil {
			t.Fatal(err)
		}
		if chain.Timeline != tt.timeline || !reflect.DeepEqual(chain.Histories, tt.histories) || chain.WantHistory != tt.want {
			t.Errorf("%s: got timeline %d, histories %v, wanted history %d, want %d, %v, %d", tt.files,
				chain.Timeline, chain.Histories, chain.WantHistory, tt.timeline, tt.histories, tt.want)
		}
	}
	if _, err := archiveOf(t, "1/1 2:nonsense").Chain(""); err == nil {
		t.Error("a history that is none: got no error")
	}
}

func TestChainWithProvisional(t *testing.T) {
	a := archiveOf(t, "1/1 1/2")
	note := func(name string, end string) {
		path := filepath.Join(a.Dir(), ".warmrun", "provisional")
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, name), []byte(`{"ends":["`+end+`"]}`), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(a.Dir(), name), 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	note(segmentOf(t, "1/2"), "0/280000")
	chain, err := a.Chain("")
	if err != nil || chain.End.String() != "0/280000" || len(chain.Gaps) > 0 {
		t.Errorf("got %+v, %v, want the end 0/280000 and no gap", chain, err)
	}
	note(segmentOf(t, "1/1"), "0/140000")
	from := walcore.SegmentName(segmentOf(t, "1/1"))
	chain, err = a.Chain(from)
	want := []walcore.Gap{{After: from, Want: from}}
	if err != nil || chain.Last != from || chain.End.String() != "0/140000" || !reflect.DeepEqual(chain.Gaps, want) {
		t.Errorf("got %+v, %v, want the end 0/140000 and a gap in %s", chain, err, from)
	}
	if chain, err := a.Chain(""); err != nil || chain.First != walcore.SegmentName(segmentOf(t, "1/2")) {
		t.Errorf("got %+v, %v, want the newest run to begin after the provisional segment", chain, err)
	}
}
