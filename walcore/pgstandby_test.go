package walcore

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/walcore/hint"
)

func TestParsePgStandby(t *testing.T) {
	base := PgStandbyOptions{MaxRetries: 3, Sleep: 5 * time.Second, Archive: "arch", Next: seg2, Target: "pg_xlog/RECOVERYXLOG"}
	with := func(change func(*PgStandbyOptions)) PgStandbyOptions {
		o := base
		change(&o)
		return o
	}
	tests := []struct {
		args string
		want PgStandbyOptions
	}{
		{"arch " + seg2 + " pg_xlog/RECOVERYXLOG", base},
		{"-c -l -m arch " + seg2 + " pg_xlog/RECOVERYXLOG", base},
		{"-d -s 2 -t /tmp/trigger arch " + seg2 + " pg_xlog/RECOVERYXLOG " + seg1, with(func(o *PgStandbyOptions) {
			o.Debug, o.Sleep, o.Trigger, o.Restart = true, 2*time.Second, "/tmp/trigger", seg1
		})},
		{"-dk10 -r0 -w 60 arch " + seg2 + " pg_xlog/RECOVERYXLOG", with(func(o *PgStandbyOptions) {
			o.Debug, o.KeepFiles, o.MaxRetries, o.MaxWait = true, 10, 0, time.Minute
		})},
		{"arch " + seg2 + " -s 60 pg_xlog/RECOVERYXLOG", with(func(o *PgStandbyOptions) { o.Sleep = time.Minute })},
		{"-- arch " + seg2 + " pg_xlog/RECOVERYXLOG", base},
		{"--help", PgStandbyOptions{MaxRetries: 3, Sleep: 5 * time.Second, Help: true}},
		{"-? arch", PgStandbyOptions{MaxRetries: 3, Sleep: 5 * time.Second, Help: true}},
		{"-V", PgStandbyOptions{MaxRetries: 3, Sleep: 5 * time.Second, Version: true}},
		{"--version", PgStandbyOptions{MaxRetries: 3, Sleep: 5 * time.Second, Version: true}},
	}
	for _, tt := range tests {
		got, err := ParsePgStandby(strings.Fields(tt.args))
		if err != nil || got != tt.want {
			t.Errorf("%s: got %+v, %v; want %+v", tt.args, got, err, tt.want)
		}
	}
}

func TestParsePgStandbyRefuses(t *testing.T) {
	rest := " arch " + seg2 + " target"
	for args, want := range map[string]string{
		"":                       "ARCHIVELOCATION is missing",
		"arch":                   "NEXTWALFILE (%f) is missing",
		"arch " + seg2:           "XLOGFILEPATH (%p) is missing",
		"arch 0001 target":       `"0001" is not the name of a WAL file`,
		rest + " x":              `"x" is not the name of a WAL file`,
		rest + " " + seg1 + " y": `one argument too many: "y"`,
		"-x" + rest:              "unknown option -x",
		"-s 0" + rest:            "1 to 60 seconds",
		"-s 61" + rest:           "1 to 60 seconds",
		"-k -1" + rest:           "out of range",
		"-w 5m" + rest:           "not a number",
		"-t":                     "option -t needs a value",
	} {
		_, err := ParsePgStandby(strings.Fields(args))
		if err == nil || !strings.Contains(err.Error(), want) || hint.Of(err) == "" {
			t.Errorf("%q: got %v, want %q and a hint", args, err, want)
		}
	}
}

func FuzzParsePgStandby(f *testing.F) {
	f.Add("-d -s 2 -t t arch " + seg2 + " p " + seg1)
	f.Add("-dk")
	f.Fuzz(func(t *testing.T, line string) {
		o, err := ParsePgStandby(strings.Fields(line))
		if err == nil && !o.Help && !o.Version && (o.Next.Kind() == 0 || o.Archive == "" || o.Sleep < time.Second) {
			t.Errorf("%q: got %+v without an error", line, o)
		}
	})
}

// The block is the one that 2warm's manual shows in a server's log.
func TestPgStandbyMessages(t *testing.T) {
	s := newRestoreSite(t, "recovery.signal")
	s.fill(5)
	o, err := ParsePgStandby([]string{"-d", "-s", "30", "-t", "trigger", s.archive, string(redo(5)), "pg_wal/RECOVERYXLOG", string(redo(3))})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := PgStandby(context.Background(), o, RestoreRequest{PGData: s.pgdata, Out: &out}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.archive, string(redo(5)))
	want := fmt.Sprintf(`Trigger file           : trigger
Waiting for WAL file   : %s
WAL file path          : %s
Restoring to           : pg_wal/RECOVERYXLOG
Sleep interval         : 30 seconds
Max wait interval      : 0 forever
Command for restore    : cp "%s" "pg_wal/RECOVERYXLOG"
Keep archive history   : %s and later
running restore        : OK
removing "%s"
removing "%s"
`, redo(5), path, path, redo(3), filepath.Join(s.archive, string(redo(1))), filepath.Join(s.archive, string(redo(2))))
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	if got := s.left(); got != "1/3 1/4 1/5" {
		t.Errorf("left %s, want 1/3 1/4 1/5", got)
	}
}

// The relay keeps what it lacks, and -d says so.
func TestPgStandbyAndTheRelay(t *testing.T) {
	for _, tt := range []struct{ args, mark, said, left string }{
		{"-d %s " + string(redo(5)) + " pg_wal/RECOVERYXLOG " + string(redo(3)), "", "No cleanup required\n", "1/1 1/2 1/3 1/4 1/5"},
		{"-d -k 1 %s " + string(redo(5)) + " pg_wal/RECOVERYXLOG", "", "No cleanup required\n", "1/1 1/2 1/3 1/4 1/5"},
		{"-d %s " + string(redo(5)) + " pg_wal/RECOVERYXLOG " + string(redo(3)), string(redo(1)), string(redo(2)) + " and later\n", "1/2 1/3 1/4 1/5"},
		{"-d -k 1 %s " + string(redo(5)) + " pg_wal/RECOVERYXLOG", string(redo(1)), string(redo(2)) + " and later\n", "1/2 1/3 1/4 1/5"},
		{"-d -k 1 %s " + string(redo(5)) + " pg_wal/RECOVERYXLOG", string(redo(5)), string(redo(4)) + " and later\n", "1/4 1/5"},
	} {
		s := newRestoreSite(t, "standby.signal")
		s.fill(5)
		if tt.mark != "" {
			if err := (&Archive{dir: s.archive}).SetWatermark(SegmentName(tt.mark)); err != nil {
				t.Fatal(err)
			}
		}
		o, err := ParsePgStandby(strings.Fields(fmt.Sprintf(tt.args, s.archive)))
		if err == nil {
			err = PgStandby(context.Background(), o, RestoreRequest{PGData: s.pgdata, HasRelay: true, Out: &s.out})
		}
		if want := "Keep archive history   : " + tt.said; err != nil || !strings.Contains(s.out.String(), want) || s.left() != tt.left {
			t.Errorf("%s, relayed up to %q: got %v, left %s, said\n%s\nwant %s and %q", tt.args, tt.mark, err, s.left(), s.out.String(), tt.left, want)
		}
	}
}

func TestPgStandbyAnswers(t *testing.T) {
	tests := []struct {
		what    string
		args    string
		prepare func(s *restoreSite)
		want    int
		said    string
	}{
		{"history not there", "-d %s 00000002.history pg_wal/RECOVERYHISTORY", func(*restoreSite) {}, 1, "history file not found\n"},
		{"fast failover", "-t trigger %s " + seg2 + " pg_wal/RECOVERYXLOG", func(s *restoreSite) {
			s.store(seg2, testSegment(seg2))
			s.write(filepath.Join(s.pgdata, "trigger"), []byte("fast"))
		}, 1, "trigger file found: fast failover\n"},
		{"smart failover with the segment there", "-t trigger %s " + seg2 + " pg_wal/RECOVERYXLOG", func(s *restoreSite) {
			s.store(seg2, testSegment(seg2))
			s.write(filepath.Join(s.pgdata, "trigger"), nil)
		}, 0, "trigger file found: smart failover\n"},
		{"smart failover without it", "-d -t trigger %s " + seg2 + " pg_wal/RECOVERYXLOG", func(s *restoreSite) {
			s.write(filepath.Join(s.pgdata, "trigger"), []byte("smart"))
		}, 1, "trigger file found: smart failover\n"},
		{"a trigger file that says nothing", "-w 1 -t trigger %s " + seg2 + " pg_wal/RECOVERYXLOG", func(s *restoreSite) {
			s.write(filepath.Join(s.pgdata, "trigger"), []byte("now"))
		}, 1, "it is taken for no trigger\n"},
		{"waited long enough", "-d -w 1 -s 1 %s " + seg2 + " pg_wal/RECOVERYXLOG", func(*restoreSite) {}, 1,
			"WAL file not present yet.\nTimed out after 1 seconds: fast failover\n"},
		{"checks for the trigger file", "-d -w 1 -t trigger %s " + seg2 + " pg_wal/RECOVERYXLOG", func(*restoreSite) {}, 1,
			"WAL file not present yet. Checking for trigger file...\n"},
		{"one second", "-d -r 0 -s 1 %s " + seg2 + " pg_wal/RECOVERYXLOG", func(s *restoreSite) { s.store(seg2, testSegment(seg2)) }, 0,
			"Sleep interval         : 1 second \n"},
		{"no cleanup", "-d -k 9 %s " + seg2 + " pg_wal/RECOVERYXLOG", func(s *restoreSite) { s.store(seg2, testSegment(seg2)) }, 0,
			"Keep archive history   : No cleanup required\n"},
		{"archive missing after a trigger", "-r 0 -t trigger %s.none " + seg2 + " pg_wal/RECOVERYXLOG", func(s *restoreSite) {
			s.write(filepath.Join(s.pgdata, "trigger"), nil)
		}, 126, "trigger file found: smart failover\n"},
	}
	for _, tt := range tests {
		s := newRestoreSite(t, "recovery.signal")
		tt.prepare(s)
		o, err := ParsePgStandby(strings.Fields(fmt.Sprintf(tt.args, s.archive)))
		if err != nil {
			t.Fatal(err)
		}
		err = PgStandby(context.Background(), o, RestoreRequest{PGData: s.pgdata, Out: &s.out})
		if got := PgStandbyExit(err, RecoveryOther); got != tt.want {
			t.Errorf("%s: got exit code %d (%v), want %d\n%s", tt.what, got, err, tt.want, s.out.String())
		}
		if !strings.Contains(s.out.String(), tt.said) {
			t.Errorf("%s: said\n%s\nwant in it\n%s", tt.what, s.out.String(), tt.said)
		}
	}
}

func TestPgStandbyFailoverBySignal(t *testing.T) {
	s := newRestoreSite(t, "recovery.signal")
	signalled := make(chan struct{})
	o, err := ParsePgStandby([]string{"-s", "60", s.archive, seg2, "pg_wal/RECOVERYXLOG"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		done <- PgStandby(context.Background(), o, RestoreRequest{PGData: s.pgdata, Failover: signalled, Out: &s.out})
	}()
	close(signalled)
	select {
	case err := <-done:
		if got := PgStandbyExit(err, RecoveryOther); got != 1 {
			t.Errorf("got exit code %d (%v), want 1", got, err)
		}
		if got, want := s.out.String(), "signaled to exit: fast failover\n"; got != want {
			t.Errorf("said %q, want %q", got, want)
		}
	case <-time.After(waitLimit):
		t.Fatal("a signal does not end the wait")
	}
}
