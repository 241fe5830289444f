package pgctl

import (
	"testing"
	"time"
)

func TestParsePIDFile(t *testing.T) {
	const whole = "4711\n/data/15\n1700000000\n5433\n/run/postgresql\n*\n  5433001    327683\nready   \n"
	started := time.Unix(1700000000, 0)
	for _, test := range []struct {
		name, text string
		want       pidFile
		bad        bool
	}{
		{"10 and later", whole, pidFile{4711, false, "/data/15", started, 5433, "/run/postgresql", "ready"}, false},
		{"hot_standby off", "1\n/d\n1700000000\n5432\n/tmp\nlocalhost\n 1 2\nstandby \n", pidFile{1, false, "/d", started, 5432, "/tmp", "standby"}, false},
		{"no socket", "1\n/d\n1700000000\n5432\n\n*\n 1 2\nready   \n", pidFile{1, false, "/d", started, 5432, "", "ready"}, false},
		{"9.1 to 9.6", "12\n/d\n1700000000\n5432\n/tmp\n*\n  5432001  0\n", pidFile{12, false, "/d", started, 5432, "/tmp", ""}, false},
		{"8.2 to 9.0", "12\n/d\n  5432001    327683\n", pidFile{pid: 12, dataDir: "/d"}, false},
		{"half written", "12\n/d\n", pidFile{pid: 12, dataDir: "/d"}, false},
		{"single user", "-12\n/d\n1700000000\n5432\n", pidFile{12, true, "/d", started, 5432, "", ""}, false},
		{"rubbish", "hello\n", pidFile{}, true},
		{"zero", "0\n", pidFile{}, true},
		{"empty", "", pidFile{}, true},
	} {
		got, err := parsePIDFile(test.text)
		if (err != nil) != test.bad {
			t.Errorf("%s: error %v, want one: %v", test.name, err, test.bad)
			continue
		}
		if got != test.want {
			t.Errorf("%s:\n got %+v\nwant %+v", test.name, got, test.want)
		}
	}
}

func FuzzParsePIDFile(f *testing.F) {
	f.Add("4711\n/data/15\n1700000000\n5433\n/run/postgresql\n*\n  5433001    327683\nready   \n")
	f.Add("-1\n")
	f.Fuzz(func(t *testing.T, text string) {
		if file, err := parsePIDFile(text); err == nil && file.pid <= 0 {
			t.Errorf("%q gives process id %d", text, file.pid)
		}
	})
}
