package walcore_test

import (
	"testing"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/storetest"
)

func newArchive(t *testing.T) *walcore.Archive {
	t.Helper()
	a, err := walcore.CreateArchive(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestArchiveIsAStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Store { return storetest.Local{Archive: newArchive(t)} })
}
