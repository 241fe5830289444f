package ship

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
	"github.com/warmrun/warmrun/walcore/storetest"
)

func TestAgentAnswers(t *testing.T) {
	a := newArchive(t)
	c := connectTo(t, a)
	ctx := t.Context()
	mustPut(t, a, walcore.FileName(seg1), segment(storetest.Segment{Name: seg1}), 0)
	half, end := storetest.Segment{Name: seg2, Ending: storetest.Shutdown}.Build()
	mustPut(t, a, walcore.FileName(seg2), half, end)

	stamp, stamped, err := c.Stamp(ctx)
	if err != nil || !stamped || stamp.SystemID != storetest.SystemID || stamp.SegmentSize != storetest.Small {
		t.Errorf("stamp: got %+v, %v, %v", stamp, stamped, err)
	}
	want, size, err := a.Digest(walcore.FileName(seg1))
	if err != nil {
		t.Fatal(err)
	}
	if got, n, err := c.Digest(ctx, walcore.FileName(seg1)); err != nil || got != want || n != size {
		t.Errorf("digest: got %x, %d, %v", got, n, err)
	}
	if chain, err := c.Chain(ctx, ""); err != nil || chain.First != seg1 || chain.End != end {
		t.Errorf("chain: got %+v, %v", chain, err)
	}
	if found, err := c.Provisionals(ctx); err != nil || len(found) != 1 || found[seg2] != end {
		t.Errorf("provisionals: got %v, %v", found, err)
	}
	if err := c.SetWatermark(ctx, seg1); err != nil {
		t.Error(err)
	}
	if mark, noted, err := c.Watermark(ctx); err != nil || !noted || mark != seg1 {
		t.Errorf("watermark: got %s, %v, %v", mark, noted, err)
	}
	if err := c.RaiseFence(ctx, walcore.Cut{Epoch: 2, Timeline: 1, LSN: end, By: "db2"}); err != nil {
		t.Error(err)
	}
	if fence, err := c.Fence(ctx); err != nil || fence.Epoch != 2 || len(fence.Cuts) != 1 || fence.Cuts[0].LSN != end {
		t.Errorf("fence: got %+v, %v", fence, err)
	}
	if err := c.LowerFence(ctx, 2); err != nil {
		t.Error(err)
	}
	if fence, err := c.Fence(ctx); err != nil || fence.Epoch != 2 || len(fence.Cuts) != 0 {
		t.Errorf("fence, lowered: got %+v, %v", fence, err)
	}
	if err := c.Ping(ctx); err != nil {
		t.Error(err)
	}
}

func TestAgentWithoutArchive(t *testing.T) {
	a := newArchive(t)
	c := connectTo(t, a)
	if err := os.Remove(a.Dir()); err != nil {
		t.Fatal(err)
	}
	path := writeFile(t, filepath.Join(t.TempDir(), string(seg1)), segment(storetest.Segment{Name: seg1}))
	_, put := c.Put(t.Context(), walcore.FileName(seg1), path, PutOptions{})
	_, get := c.Get(t.Context(), walcore.FileName(seg1), io.Discard)
	for name, err := range map[string]error{"put": put, "get": get, "ping": c.Ping(t.Context())} {
		if !errors.Is(err, walcore.ErrNoArchive) || !strings.Contains(err.Error(), a.Dir()) || hint.Of(err) == "" {
			t.Errorf("%s: got %v, hint %q, want ErrNoArchive, its name and a hint", name, err, hint.Of(err))
		}
	}
	if _, err := os.Stat(a.Dir()); err == nil {
		t.Error("the agent made the directory")
	}
	if err := os.Mkdir(a.Dir(), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Put(t.Context(), walcore.FileName(seg1), path, PutOptions{}); err != nil {
		t.Errorf("once it is there: %v", err)
	}
}

func TestAgentNudges(t *testing.T) {
	a := newArchive(t)
	arrived := make(chan walcore.FileName, 3)
	cfg := AgentConfig{Archive: a.Dir(), Arrived: func(_ context.Context, name walcore.FileName) {
		if _, _, err := a.Digest(name); err != nil {
			t.Errorf("%s has arrived: %v", name, err)
		}
		arrived <- name
	}}
	c := connect(t, inProcess(t, cfg))
	path := writeFile(t, filepath.Join(t.TempDir(), "x"), segment(storetest.Segment{Name: seg1}))
	for range 2 {
		if _, err := c.Put(t.Context(), walcore.FileName(seg1), path, PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Put(t.Context(), walcore.FileName(seg2), path, PutOptions{}); err == nil {
		t.Error("a segment of another name: got no error")
	}
	if err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := <-arrived; got != walcore.FileName(seg1) {
			t.Errorf("%s has arrived, want %s", got, seg1)
		}
	}
	if len(arrived) > 0 {
		t.Errorf("%s has arrived, too", <-arrived)
	}
}
