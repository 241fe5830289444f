package filesync

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

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

// A stream that comes after its copy has ended hides the reason of that end
// neither here nor across the wire.
func TestLateStreamHidesNoReason(t *testing.T) {
	err := decodeFailure(encodeFailure(fmt.Errorf("/target: %w", errCopyEnded)))
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("a bad page")
	time.AfterFunc(20*time.Millisecond, func() { cancel(reason) })
	if got := reasonOf(ctx, err); !errors.Is(got, reason) {
		t.Errorf("got %v, want %v", got, reason)
	}
	other := errors.New("no such directory")
	if got := reasonOf(t.Context(), other); !errors.Is(got, other) {
		t.Errorf("got %v, want %v", got, other)
	}
}
