package main

import (
	"context"
	"errors"
	"io"
	"testing"
)

type fakeLink struct{ broken, closed bool }

func (f *fakeLink) Start(context.Context, string) (io.ReadWriteCloser, error) { return nil, nil }
func (f *fakeLink) Broken() bool                                              { return f.broken }
func (f *fakeLink) Close() error                                              { f.closed = true; return nil }

// TestCopyLinks: every stream has a connection of its own while one can be had, and
// the held one is shared by the others.
func TestCopyLinks(t *testing.T) {
	held := &fakeLink{}
	var dialed []*fakeLink
	var refuse error
	dial := func() (copyClient, error) {
		if refuse != nil {
			return nil, refuse
		}
		dialed = append(dialed, &fakeLink{})
		return dialed[len(dialed)-1], nil
	}
	l := &copyLinks{}
	first, releaseFirst := l.take(held, dial)
	second, releaseSecond := l.take(held, dial)
	if first != copyClient(held) || len(dialed) != 1 || second != copyClient(dialed[0]) {
		t.Fatalf("two streams got %v and %v of %d new connections, want the held one and a new one", first, second, len(dialed))
	}
	refuse = errors.New("no more")
	third, releaseThird := l.take(held, dial)
	if third != copyClient(held) {
		t.Error("a stream that can have no connection of its own did not get the held one")
	}
	releaseSecond()
	if again, _ := l.take(held, dial); again != second {
		t.Error("a connection that was given back was not used again")
	}
	refuse = nil
	for range 2 * maxCopyLinks {
		l.take(held, dial)
	}
	if len(dialed) != maxCopyLinks {
		t.Errorf("%d connections were opened, want %d at most", len(dialed), maxCopyLinks)
	}
	releaseFirst()
	releaseThird()
	l.close()
	for i, d := range dialed {
		if !d.closed {
			t.Errorf("connection %d was left open", i)
		}
	}
	if held.closed {
		t.Error("the held connection was closed with the others")
	}
}

// TestBrokenCopyLink: a connection that broke is given to no other stream.
func TestBrokenCopyLink(t *testing.T) {
	var dialed []*fakeLink
	dial := func() (copyClient, error) {
		dialed = append(dialed, &fakeLink{})
		return dialed[len(dialed)-1], nil
	}
	l := &copyLinks{}
	l.take(&fakeLink{}, dial)
	_, release := l.take(&fakeLink{}, dial)
	dialed[0].broken = true
	release()
	if again, _ := l.take(&fakeLink{}, dial); len(dialed) != 2 || again != copyClient(dialed[1]) {
		t.Errorf("after a connection broke, %d were opened in all, want a second one to be used", len(dialed))
	}
}
