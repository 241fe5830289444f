package filesync

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/warmrun/warmrun/walcore/hint"
)

// TestFailuresAdvise: what a user can do something about says what, on either
// side of the wire.
func TestFailuresAdvise(t *testing.T) {
	t.Parallel()
	for _, want := range []error{errProtocol, errBasisChanged, ErrLocked, errVersion, syscall.ENOSPC} {
		err := decodeFailure(encodeFailure(fmt.Errorf("some/file: %w", want)))
		checkErrorIs(t, err, want)
		if hint.Of(err) == "" {
			t.Errorf("%v: got no hint", err)
		}
	}
	for _, err := range []error{protocolError("a frame too many"), errBasisChanged, errSameDirectory} {
		if hint.Of(err) == "" {
			t.Errorf("%v: got no hint", err)
		}
	}
}
