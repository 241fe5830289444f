package lab

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// quick makes the times in an output predictable.
func quick(text string) string {
	for _, digit := range "123456789" {
		text = strings.ReplaceAll(text, string(digit), "0")
	}
	return text
}

func TestScreenSteps(t *testing.T) {
	var out bytes.Buffer
	s := &screen{out: &out}
	say := func(text string, err error) func(io.Writer) error {
		return func(detail io.Writer) error {
			_, writeErr := io.WriteString(detail, text)
			return errors.Join(err, writeErr)
		}
	}
	s.heading("Switch over")
	if _, err := s.step("db0$ warmrun switchover", say("hidden\n", nil)); err != nil {
		t.Fatal(err)
	}
	failed := errors.New("no")
	if _, err := s.step("db0$ warmrun switchback", say("first\nsecond\n", failed)); !errors.Is(err, failed) {
		t.Errorf("got %v, want the step's own error", err)
	}
	s.verbose, s.unicode = true, true
	if _, err := s.step(strings.Repeat("long ", 20), say("shown", nil)); err != nil {
		t.Fatal(err)
	}
	want := `
Switch over
  ok db0$ warmrun switchover ........................................... 0.00 s
  FAILED db0$ warmrun switchback ........................................... 0.00 s
      first
      second
  ✓ long long long long long long long long long long long long long... 0.00 s
      shown
`
	if got := quick(out.String()); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestScreenRedraws(t *testing.T) {
	var out bytes.Buffer
	s := &screen{out: &out, terminal: true, unicode: true, color: true}
	if _, err := s.step("x", func(io.Writer) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.HasPrefix(got, "  … x\r\033[K  \033[32m✓\033[0m x ") || strings.Count(got, "\n") != 1 {
		t.Errorf("got %q, want one line, drawn twice", got)
	}
}

// TestTableFits prints the widest table there can be.
func TestTableFits(t *testing.T) {
	var out bytes.Buffer
	d := &demo{screen: &screen{out: &out, unicode: true}, lab: &Lab{Nodes: []Node{{Name: "db1"}, {Name: "db2"}, {Name: "dr"}}}}
	d.rows = []tableRow{
		{name: "failover, db1's host alive", took: 119 * time.Second, gap: 59 * time.Second, expected: 123456,
			found: map[string]int64{"db1": 123456, "db2": 123456, "dr": 123456}},
		{name: "switchover", took: 1500 * time.Millisecond, expected: 7, found: map[string]int64{"db2": 7}},
	}
	d.table()
	for line := range strings.Lines(out.String()) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > columns {
			t.Errorf("%d columns, want at most %d: %q", n, columns, line)
		}
	}
	for _, want := range []string{
		"failover, db1's host alive 119.00 s  59.00 s  123,456  123,456  123,456  123,456\n",
		"switchover                   1.50 s                 7        -        7        -\n",
		"Every acknowledged row",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 123456: "123,456", 1234567: "1,234,567", -1000: "-1,000"} {
		if got := thousands(n); got != want {
			t.Errorf("thousands(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, test := range []struct {
		width      int
		text, want string
	}{
		{10, "", ""},
		{10, "one two three four", "one two\nthree four"},
		{3, "one  longer x", "one\nlonger\nx"},
		{8, "über das", "über das"},
	} {
		if got := wrap(test.text, test.width); got != test.want {
			t.Errorf("wrap(%q, %d) = %q, want %q", test.text, test.width, got, test.want)
		}
	}
}
