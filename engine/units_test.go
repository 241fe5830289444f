package engine

import (
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30s": 30 * time.Second, "5min": 5 * time.Minute, "5m": 5 * time.Minute, "1h30m": 90 * time.Minute,
		"2d": 48 * time.Hour, "250ms": 250 * time.Millisecond, "1.5h": 90 * time.Minute, " 10 s ": 10 * time.Second,
		"1 h 5 min": 65 * time.Minute, "0": 0, "0s": 0, "3us": 3 * time.Microsecond, "3µs": 3 * time.Microsecond, "7ns": 7,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("%q: got %s, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", " ", "30", "s", "-5s", "5 parsecs", "1h30", "1..5s", "5s5", "999999999999d", "NaNs", "1e3s", "+1s"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%q: got %s, want an error", text, got)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1024": 1024, "512B": 512, "16MB": 16 << 20, "16 MB": 16 << 20, "1.5kB": 1536, "2GB": 2 << 30, "1TB": 1 << 40, "8k": 8192,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MB", "-1", "1.5", "0.3kB", "1PB", "1MB2", "99999999TB", "0x10"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q: got %d, want an error", text, got)
		}
	}
}

func TestElapsed(t *testing.T) {
	for d, want := range map[time.Duration]string{
		5 * time.Millisecond: "5 ms", 326 * time.Millisecond: "0.3 s", 12 * time.Second: "12.0 s",
		125 * time.Second: "2 min 05 s", 2*time.Hour + 3*time.Minute: "2 h 03 min",
	} {
		if got := elapsed(d); got != want {
			t.Errorf("%s: got %q, want %q", d, got, want)
		}
	}
}

func TestDidYouMean(t *testing.T) {
	known := []string{"timeout", "retries", "delay", "run", "undo"}
	for name, want := range map[string]string{
		"tiemout": ", did you mean timeout?", "Run": ", did you mean run?", "udno": ", did you mean undo?", "retires": ", did you mean retries?",
		"zzzzzzz": " (known: delay, retries, run, timeout, undo)",
	} {
		if got := didYouMean(name, known); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if got := didYouMean("x", nil); got != "" {
		t.Errorf("nothing known: got %q", got)
	}
}

func FuzzParseDuration(f *testing.F) {
	for _, seed := range []string{"30s", "1h30m", "5 min", "µ", "1.2.3s", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := ParseDuration(text); err == nil && d < 0 {
			t.Errorf("%q: got %s", text, d)
		}
		if n, err := ParseSize(text); err == nil && n < 0 {
			t.Errorf("%q: got %d bytes", text, n)
		}
	})
}
