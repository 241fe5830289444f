package ship

import (
	"errors"
	"fmt"

	"github.com/warmrun/warmrun/walcore/hint"
)

// ErrRestricted is a request that an agent refuses because its client came
// with a key that may only ship WAL.
var ErrRestricted = errors.New("this key may only ship WAL")

// ships reports whether a key that may only ship WAL can ask for an operation.
// Archiving offers, puts and looks for histories; relaying lists and checks the
// chain; fetching lists and gets. Whatever is not named here is refused.
//
// A fence stops a primary from archiving, and lowering one lets a superseded
// primary go on. A watermark lets cleanup remove WAL. All three are changed on
// the node itself, by whoever may log in to it.
func (o operation) ships() bool {
	switch o {
	case opPut, opGet, opList, opDigest, opStamp, opFence, opChain, opWatermark, opProvisionals, opPing:
		return true
	}
	return false
}

func (o operation) restricted() error {
	return hint.Wrap(fmt.Errorf("the agent refuses %q: %w", truncate(string(o)), ErrRestricted),
		"change it on the node itself, or with a key that may log in there")
}
