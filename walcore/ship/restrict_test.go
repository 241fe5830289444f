package ship

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
	"github.com/warmrun/warmrun/walcore/storetest"
)

// TestRestrictedAgent asks for every operation there is with a key that may
// only ship WAL.
func TestRestrictedAgent(t *testing.T) {
	a := newArchive(t)
	mustPut(t, a, walcore.FileName(seg1), segment(storetest.Segment{Name: seg1}), 0)
	if err := a.RaiseFence(walcore.Cut{Epoch: 7, Timeline: 9, LSN: 8, By: "db2"}); err != nil {
		t.Fatal(err)
	}
	c := connect(t, inProcess(t, AgentConfig{Archive: a.Dir(), Restricted: true}))
	if !c.Restricted() {
		t.Error("the agent does not say that it is restricted")
	}
	ctx := t.Context()
	path := writeFile(t, filepath.Join(t.TempDir(), "x"), segment(storetest.Segment{Name: seg2}))
	tests := map[operation]struct {
		ask     func() error
		refused bool
	}{
		opPut:          {ask: func() error { _, err := c.Put(ctx, walcore.FileName(seg2), path, PutOptions{}); return err }},
		opGet:          {ask: func() error { _, err := c.Get(ctx, walcore.FileName(seg1), io.Discard); return err }},
		opList:         {ask: func() error { _, err := c.List(ctx); return err }},
		opDigest:       {ask: func() error { _, _, err := c.Digest(ctx, walcore.FileName(seg1)); return err }},
		opStamp:        {ask: func() error { _, _, err := c.Stamp(ctx); return err }},
		opFence:        {ask: func() error { _, err := c.Fence(ctx); return err }},
		opChain:        {ask: func() error { _, err := c.Chain(ctx, ""); return err }},
		opWatermark:    {ask: func() error { _, _, err := c.Watermark(ctx); return err }},
		opProvisionals: {ask: func() error { _, err := c.Provisionals(ctx); return err }},
		opPing:         {ask: func() error { return c.Ping(ctx) }},
		opRaiseFence: {refused: true, ask: func() error {
			return c.RaiseFence(ctx, walcore.Cut{Epoch: 8, Timeline: 1, LSN: 8, By: "nobody"})
		}},
		opLowerFence:   {refused: true, ask: func() error { return c.LowerFence(ctx, 7) }},
		opSetWatermark: {refused: true, ask: func() error { return c.SetWatermark(ctx, seg1) }},
	}
	for _, op := range operationsInSource(t) {
		test, known := tests[op]
		if !known {
			t.Errorf("%s: decide whether a key that may only ship WAL needs it, and test that here", op)
			continue
		}
		err := test.ask()
		if !test.refused && err != nil || test.refused && !errors.Is(err, ErrRestricted) {
			t.Errorf("%s: got %v, want it refused: %v", op, err, test.refused)
		}
		if test.refused && (!strings.Contains(err.Error(), string(op)) || hint.Of(err) == "") {
			t.Errorf("%s: got %q, hint %q, want the operation named and a hint", op, err, hint.Of(err))
		}
	}
	fence, err := a.Fence()
	if err != nil || fence.Epoch != 7 || len(fence.Cuts) != 1 {
		t.Errorf("the fence afterwards: got %+v, %v, want the one cut of epoch 7", fence, err)
	}
	if mark, noted, err := a.Watermark(); noted || err != nil {
		t.Errorf("the watermark afterwards: got %s, %v, want none", mark, err)
	}
}

// operationsInSource are the operations of the protocol, as wire.go has them:
// a new one must not slip past the test.
func operationsInSource(t *testing.T) []operation {
	t.Helper()
	source, err := os.ReadFile("wire.go")
	if err != nil {
		t.Fatal(err)
	}
	var found []operation
	for _, match := range regexp.MustCompile(`(?m)^\top\w+\s+operation = "(\w+)"`).FindAllSubmatch(source, -1) {
		found = append(found, operation(match[1]))
	}
	if len(found) < 13 {
		t.Fatalf("found %d operations in wire.go, want 13 at least", len(found))
	}
	return found
}
