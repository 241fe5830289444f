// Package storetest is the contract that every archive store keeps: the
// directory itself, and the same directory behind an agent on another node.
// It also makes up WAL segments for tests, valid to the last checksum.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
)

// Store is what can hold WAL files.
type Store interface {
	Put(ctx context.Context, r walcore.PutRequest) (walcore.PutResult, error)
	// Open is a file's content and, for a provisional segment, its end.
	Open(ctx context.Context, name walcore.FileName) (io.ReadCloser, walcore.LSN, error)
	List(ctx context.Context) ([]walcore.FileName, error)
	RaiseFence(ctx context.Context, c walcore.Cut) error
}

// Local is an archive of this machine as a Store.
type Local struct{ Archive *walcore.Archive }

// Put is the archive's.
func (l Local) Put(ctx context.Context, r walcore.PutRequest) (walcore.PutResult, error) {
	return l.Archive.Put(ctx, r)
}

// Open is the archive's OpenWithEnd.
func (l Local) Open(_ context.Context, name walcore.FileName) (io.ReadCloser, walcore.LSN, error) {
	f, end, err := l.Archive.OpenWithEnd(name)
	return f, end, err
}

// List is the archive's.
func (l Local) List(context.Context) ([]walcore.FileName, error) { return l.Archive.List() }

// RaiseFence is the archive's.
func (l Local) RaiseFence(_ context.Context, c walcore.Cut) error { return l.Archive.RaiseFence(c) }

// Names that the suite uses.
const (
	one   walcore.SegmentName = "000000010000000000000001"
	two   walcore.SegmentName = "000000010000000000000002"
	three walcore.SegmentName = "000000010000000000000003"
)

// Run holds a kind of store to the contract. open makes an empty one for each
// part of it.
func Run(t *testing.T, open func(t *testing.T) Store) {
	parts := map[string]func(*tester){
		"stores and lists":                    storesAndLists,
		"not archived":                        notArchived,
		"same bytes again":                    sameBytesAgain,
		"same bytes behind a fence":           sameBytesBehindFence,
		"other bytes are refused":             otherBytes,
		"other bytes beyond a switch":         beyondSwitch,
		"a flipped bit is no early end":       flippedBit,
		"whole segments only":                 wholeSegmentsOnly,
		"another cluster is refused":          anotherCluster,
		"a segment of another name":           anotherName,
		"provisional, then whole":             provisionalThenWhole,
		"provisional, then another history":   provisionalThenOther,
		"provisional after whole":             provisionalAfterWhole,
		"provisional, then more of it":        provisionalThenMore,
		"provisional that ends elsewhere":     provisionalWrongEnd,
		"the fence":                           fence,
		"histories":                           histories,
		"partial segments":                    partials,
		"bodies that are too short or long":   bodies,
		"many writers of the same name":       manyWriters,
		"a context that has ended is obeyed":  endedContext,
		"refused and accepted by valid range": shutdownEnd,
	}
	for name, part := range parts {
		t.Run(name, func(t *testing.T) { part(&tester{t, open(t)}) })
	}
}

type tester struct {
	*testing.T
	store Store
}

func (t *tester) put(name walcore.FileName, data []byte, provisional walcore.LSN) (walcore.PutResult, error) {
	t.Helper()
	return t.store.Put(t.Context(), walcore.PutRequest{
		Name: name, Size: int64(len(data)), Body: bytes.NewReader(data), Provisional: provisional,
	})
}

func (t *tester) mustPut(name walcore.FileName, data []byte, provisional walcore.LSN, want walcore.PutResult) {
	t.Helper()
	got, err := t.put(name, data, provisional)
	if err != nil || got != want {
		t.Fatalf("put %s: got %+v, %v, want %+v", name, got, err, want)
	}
}

// refused puts a file and wants a refusal with its reason and advice, and the
// store as it was.
func (t *tester) refused(name walcore.FileName, data []byte, provisional walcore.LSN, reason string) *walcore.RefusedError {
	t.Helper()
	before, _, _ := t.content(name)
	_, err := t.put(name, data, provisional)
	var refused *walcore.RefusedError
	if !errors.As(err, &refused) || refused.Reason != reason {
		t.Fatalf("put %s: got error %v, want it refused for %q", name, err, reason)
	}
	if refused.Detail == "" || refused.Remedy == "" || hint.Of(err) != refused.Remedy {
		t.Errorf("put %s: the refusal tells too little: detail %q, remedy %q, hint %q", name, refused.Detail, refused.Remedy, hint.Of(err))
	}
	if after, _, _ := t.content(name); !bytes.Equal(before, after) {
		t.Errorf("put %s: was refused, and yet the stored copy changed", name)
	}
	return refused
}

func (t *tester) content(name walcore.FileName) ([]byte, walcore.LSN, error) {
	r, end, err := t.store.Open(t.Context(), name)
	if err != nil {
		return nil, 0, err
	}
	data, err := io.ReadAll(r)
	return data, end, errors.Join(err, r.Close())
}

func (t *tester) holds(name walcore.FileName, want []byte, wantEnd walcore.LSN) {
	t.Helper()
	got, end, err := t.content(name)
	if err != nil {
		t.Fatalf("open %s: %v", name, err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: the stored bytes are not the ones that were put", name)
	}
	if end != wantEnd {
		t.Errorf("%s: got provisional end %s, want %s", name, end, wantEnd)
	}
}

func build(s Segment) []byte {
	data, _ := s.Build()
	return data
}

func stored(data []byte) walcore.PutResult { return walcore.PutResult{Bytes: int64(len(data))} }

var identical = walcore.PutResult{Identical: true}

func storesAndLists(t *tester) {
	history := []byte("1\t0/300000\tno recovery target specified\n")
	backup := []byte("START WAL LOCATION: 0/1000028 (file 000000010000000000000001)\n")
	files := map[walcore.FileName][]byte{
		walcore.FileName(one):                      build(Segment{Name: one}),
		walcore.FileName(two):                      build(Segment{Name: two, Ending: Switch}),
		"00000002.history":                         history,
		"000000010000000000000001.00000028.backup": backup,
	}
	var want []walcore.FileName
	for name, data := range files {
		want = append(want, name)
		t.mustPut(name, data, 0, stored(data))
		t.holds(name, data, 0)
	}
	slices.Sort(want)
	got, err := t.store.List(t.Context())
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("list: got %v, %v, want %v", got, err, want)
	}
}

func notArchived(t *tester) {
	for _, name := range []walcore.FileName{walcore.FileName(one), "00000002.history"} {
		if _, _, err := t.store.Open(t.Context(), name); !errors.Is(err, walcore.ErrNotArchived) {
			t.Errorf("open %s: got %v, want ErrNotArchived", name, err)
		}
	}
	if _, _, err := t.store.Open(t.Context(), "../../etc/passwd"); err == nil || errors.Is(err, walcore.ErrNotArchived) {
		t.Errorf("open of a name that is none: got %v, want an error of its own", err)
	}
	_, err := t.put("../one", []byte("x"), 0)
	var refused *walcore.RefusedError
	if !errors.As(err, &refused) || refused.Reason != walcore.ReasonName {
		t.Errorf("put of a name that is none: got %v, want it refused", err)
	}
}

func sameBytesAgain(t *tester) {
	data := build(Segment{Name: one})
	t.mustPut(walcore.FileName(one), data, 0, stored(data))
	t.mustPut(walcore.FileName(one), data, 0, identical)
	t.holds(walcore.FileName(one), data, 0)
}

func manyWriters(t *tester) {
	data := build(Segment{Name: one})
	errs := make([]error, 6)
	var wait sync.WaitGroup
	for i := range errs {
		wait.Go(func() {
			_, errs[i] = t.put(walcore.FileName(one), data, 0)
		})
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	t.holds(walcore.FileName(one), data, 0)
}

func bodies(t *tester) {
	data := build(Segment{Name: one})
	for _, size := range []int{len(data) - 1, len(data) + 1} {
		body := io.Reader(bytes.NewReader(append(slices.Clone(data), 0)[:size]))
		_, err := t.store.Put(t.Context(), walcore.PutRequest{Name: walcore.FileName(one), Size: int64(len(data)), Body: body})
		if err == nil {
			t.Errorf("put of %d bytes announced as %d: got no error", size, len(data))
		}
		if _, _, err := t.content(walcore.FileName(one)); !errors.Is(err, walcore.ErrNotArchived) {
			t.Errorf("after a put of %d bytes announced as %d: got %v, want nothing stored", size, len(data), err)
		}
	}
}

func endedContext(t *tester) {
	data := build(Segment{Name: one})
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("stopped by the test")
	cancel(why)
	_, err := t.store.Put(ctx, walcore.PutRequest{Name: walcore.FileName(one), Size: int64(len(data)), Body: bytes.NewReader(data)})
	if !errors.Is(err, why) {
		t.Errorf("got %v, want the context's cause", err)
	}
	if _, _, err := t.content(walcore.FileName(one)); !errors.Is(err, walcore.ErrNotArchived) {
		t.Errorf("got %v, want nothing stored", err)
	}
}
