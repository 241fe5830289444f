package cluster

import (
	"strings"
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	for _, test := range []struct {
		text string
		want time.Duration // 0: refused
		back string
	}{
		{"14d", 14 * 24 * time.Hour, "14d"},
		{"36h", 36 * time.Hour, "36h"},
		{"48 h", 48 * time.Hour, "2d"},
		{"30m", 30 * time.Minute, "30min"},
		{"30min", 30 * time.Minute, "30min"},
		{"90s", 90 * time.Second, "90s"},
		{"14", 0, ""},
		{"", 0, ""},
		{"d", 0, ""},
		{"0d", 0, ""},
		{"-1d", 0, ""},
		{"1.5h", 0, ""},
		{"1w", 0, ""},
		{"999999999d", 0, ""},
	} {
		var got Duration
		err := got.UnmarshalText([]byte(test.text))
		if time.Duration(got) != test.want || (err == nil) != (test.want != 0) {
			t.Errorf("%q: got %s, %v; want %s", test.text, time.Duration(got), err, test.want)
			continue
		}
		if test.want != 0 && got.String() != test.back {
			t.Errorf("%q: written back as %q, want %q", test.text, got, test.back)
		}
	}
}

func TestKeepingKeys(t *testing.T) {
	for _, test := range []struct {
		section string
		want    Keeping
		refused string
	}{
		{"", Keeping{}, ""},
		{"[backup]\nkeep = 3\nkeep_for = '14d'", Keeping{3, Duration(14 * 24 * time.Hour)}, ""},
		{"[backup]\nkeep = -1", Keeping{}, "backup.keep is -1"},
		{"[backup]\nkeep_for = 14", Keeping{}, "backup.keep_for is 14: write it with its unit"},
		{"[backup]\nkeep_for = '14'", Keeping{}, "is no stretch of time"},
	} {
		site, err := loadArchive(t, test.section)
		if test.refused != "" {
			if err == nil || !strings.Contains(err.Error(), test.refused) {
				t.Errorf("%s: got %v, want %q", test.section, err, test.refused)
			}
			continue
		}
		if err != nil || site.Keeping != test.want {
			t.Errorf("%s: got %+v, %v; want %+v", test.section, site, err, test.want)
		}
	}
}
