package ship

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/storetest"
)

// TestSeveralAtOnce: files that are sent at the same time over one connection
// all arrive, packed in every way, and get their names in the order in which
// they were offered.
func TestSeveralAtOnce(t *testing.T) {
	for _, compress := range []cluster.Compression{cluster.CompressNone, cluster.CompressS2, cluster.CompressZstd} {
		t.Run(string(compress), func(t *testing.T) {
			a := newArchive(t)
			names, paths := manySegments(t, 12)
			c, err := ConnectWith(t.Context(), inProcess(t, AgentConfig{Archive: a.Dir(), Arrived: func(_ context.Context, name walcore.FileName) {
				for _, earlier := range names[:slices.Index(names, name)] {
					if !a.Knows(earlier, int64(storetest.Small)) {
						t.Errorf("%s has arrived before %s, which was offered first", name, earlier)
					}
				}
			}}), Options{Compress: compress})
			if err != nil {
				t.Fatal(err)
			}
			var wait sync.WaitGroup
			window := make(chan struct{}, 4)
			for i, path := range paths {
				window <- struct{}{}
				asked := make(chan struct{})
				wait.Go(func() {
					defer func() { <-window }()
					f, err := os.Open(path)
					if err != nil {
						t.Error(err)
					}
					defer f.Close()
					source := &announcing{f, sync.OnceFunc(func() { close(asked) })}
					if _, err := c.PutFrom(t.Context(), names[i], source, int64(storetest.Small), PutOptions{}); err != nil {
						t.Errorf("%s: %v", names[i], err)
					}
				})
				<-asked // its data is wanted, so it has been offered
			}
			wait.Wait()
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			checkStored(t, a, names)
		})
	}
}

// announcing tells when its data is first read.
type announcing struct {
	io.ReaderAt
	read func()
}

func (a *announcing) ReadAt(b []byte, at int64) (int, error) {
	if len(b) > 4096 {
		a.read() // for more than a look at the header
	}
	return a.ReaderAt.ReadAt(b, at)
}

// manySegments writes segments that follow each other, the last ones empty
// after their first pages.
func manySegments(t *testing.T, count int) ([]walcore.FileName, []string) {
	t.Helper()
	dir := t.TempDir()
	names, paths := make([]walcore.FileName, count), make([]string, count)
	for i := range count {
		name := walcore.SegmentName(fmt.Sprintf("0000000100000000%08X", i+1))
		s := storetest.Segment{Name: name}
		if i >= count-4 {
			s.Ending = storetest.Switch
		}
		names[i] = walcore.FileName(name)
		paths[i] = writeFile(t, filepath.Join(dir, string(name)), segment(s))
	}
	return names, paths
}

func checkStored(t *testing.T, a *walcore.Archive, names []walcore.FileName) {
	t.Helper()
	chain, err := a.Chain("")
	if err != nil || chain.Segments != len(names) || len(chain.Gaps) > 0 {
		t.Errorf("got %+v, %v, want a chain of %d segments", chain, err, len(names))
	}
}
