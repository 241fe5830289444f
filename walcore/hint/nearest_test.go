package hint

import "testing"

func TestNearest(t *testing.T) {
	known := []string{"switchover", "switchback", "failover", "flushPrimary", "env"}
	for word, want := range map[string]string{
		"swichover": "switchover", "SWITCHBACK": "switchback", "failvoer": "failover", "flushprimary": "flushPrimary",
		"": "", "xyzzy": "", "evn": "env",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
	if got := Nearest("x", nil); got != "" {
		t.Errorf("of nothing: got %q", got)
	}
}
