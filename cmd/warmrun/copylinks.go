package main

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/warmrun/warmrun/builtins/filesync"
	"github.com/warmrun/warmrun/builtins/remote"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// maxCopyLinks is how many connections the streams of copies to one node have at
// most, beside the held one. sshd admits 10 that have not logged in yet, as it is
// shipped (MaxStartups in sshd_config(5)).
const maxCopyLinks = 7

// copyLinks are the connections to one node that streams of copies go over. Each
// stream has one of its own: over a long way, a connection carries no more than the
// windows of ssh and TCP let it have under way at a time, and sshd does the
// ciphering of one connection on one processor.
type copyLinks struct {
	mu      sync.Mutex
	held    int // streams over the session's own connection
	further []*copyLink
	opening int
}

// copyClient is what of a remote.Client the streams of a copy need.
type copyClient interface {
	Start(ctx context.Context, command string) (io.ReadWriteCloser, error)
	Broken() bool
	Close() error
}

// copyLink is a connection beside the held one.
type copyLink struct {
	client copyClient
	taken  bool
}

// syncAgent starts the far end of a copy on a node.
func (s *session) syncAgent(name cluster.NodeName) filesync.Dialer {
	return func(ctx context.Context) (io.ReadWriteCloser, error) {
		node, err := s.site.Node(name)
		if err != nil {
			return nil, err
		}
		held, err := s.client(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("reach %s: %w", name, err)
		}
		client, release := s.copying(name).take(held, func() (copyClient, error) { return s.dialAgain(ctx, node) })
		stream, err := client.Start(ctx, s.command(node, "sync-agent"))
		if err != nil {
			release()
			return nil, err
		}
		return &copyStream{ReadWriteCloser: stream, release: sync.OnceFunc(release)}, nil
	}
}

// dialAgain opens one more connection to a node that this process is connected to.
// It asks and warns of nothing: that was done for the first one.
func (s *session) dialAgain(ctx context.Context, node cluster.Node) (*remote.Client, error) {
	o := s.dialOptions()
	o.Prompt, o.Warn = nil, nil
	return remote.Dial(ctx, node, o)
}

func (s *session) copying(name cluster.NodeName) *copyLinks {
	return ofNode(&s.mu, &s.copies, name)
}

// take gives a stream the held connection if no other has it, or else another one
// that is free or that dial opens. A stream that can have none of its own, because
// the key asks for a passphrase or sshd admits no more, shares the held one.
func (l *copyLinks) take(held copyClient, dial func() (copyClient, error)) (client copyClient, release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held > 0 {
		if link := l.free(); link != nil {
			return l.use(link)
		}
		if link := l.open(dial); link != nil {
			return l.use(link)
		}
	}
	l.held++
	return held, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.held--
	}
}

func (l *copyLinks) free() *copyLink {
	for _, link := range l.further {
		if !link.taken && !link.client.Broken() {
			return link
		}
	}
	return nil
}

// open opens one more connection, while others are taken and given back.
func (l *copyLinks) open(dial func() (copyClient, error)) *copyLink {
	if len(l.further)+l.opening >= maxCopyLinks {
		return nil
	}
	l.opening++
	l.mu.Unlock()
	client, err := dial()
	l.mu.Lock()
	l.opening--
	if err != nil {
		return nil
	}
	link := &copyLink{client: client}
	l.further = append(l.further, link)
	return link
}

func (l *copyLinks) use(link *copyLink) (copyClient, func()) {
	link.taken = true
	return link.client, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		link.taken = false
	}
}

// close closes the connections beside the held one.
func (l *copyLinks) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, link := range l.further {
		_ = link.client.Close() // all that went over it was answered, or has failed
	}
	l.further = nil
}

// copyStream gives its connection back when it is closed.
type copyStream struct {
	io.ReadWriteCloser
	release func()
}

func (s *copyStream) Close() error {
	defer s.release()
	return s.ReadWriteCloser.Close()
}
