package filesync

import "testing"

// Noise is tried ever more rarely, and what comes after it is packed again before
// long. Content that gets smaller is always tried.
func TestPatience(t *testing.T) {
	var p patience
	tries := func(pieces int, pays bool) (tried int) {
		for range pieces {
			if !p.passOver() {
				p.tried(pays)
				tried++
			}
		}
		return tried
	}
	if got := tries(100, true); got != 100 {
		t.Errorf("%d of 100 pieces that get smaller were tried", got)
	}
	if got := tries(1000, false); got < 1000/(maxSkip+1) || got > 50 {
		t.Errorf("%d of 1000 pieces of noise were tried", got)
	}
	if got := tries(maxSkip+1, true); got == 0 {
		t.Errorf("none of %d pieces after noise was tried", maxSkip+1)
	}
	if got := tries(100, true); got != 100 {
		t.Errorf("%d of 100 pieces that get smaller were tried after noise", got)
	}
}
