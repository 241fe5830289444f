package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/warmrun/warmrun/builtins/remote"
	"github.com/warmrun/warmrun/builtins/trust"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/ship"
)

// agent starts the receiving end of WAL shipping on a node.
func (s *session) agent(name cluster.NodeName) ship.Dialer {
	// A key that trust has made starts the agent whatever is asked for.
	return s.starting(name, "agent", s.shippingClient)
}

// starting starts a command of the program on a node, over the connection that
// connect gives.
func (s *session) starting(name cluster.NodeName, command string, connect func(context.Context, cluster.Node) (*remote.Client, error)) func(context.Context) (io.ReadWriteCloser, error) {
	return func(ctx context.Context) (io.ReadWriteCloser, error) {
		node, err := s.site.Node(name)
		if err != nil {
			return nil, err
		}
		client, err := connect(ctx, node)
		if err != nil {
			return nil, err
		}
		return client.Start(ctx, s.command(node, command))
	}
}

// shipTo is a connection to the agent on a node, whose archive stores segments
// as the site wants it.
func (s *session) shipTo(ctx context.Context, name cluster.NodeName) (*ship.Client, error) {
	return ship.ConnectWith(ctx, s.agent(name), ship.Options{Version: version, Store: s.site.Archiving.Compress})
}

// ownArchive is this node's archive, storing segments as the site wants it.
func (s *session) ownArchive() (*walcore.Archive, error) {
	archive, err := walcore.OpenArchive(s.site.Self.Archive)
	if err != nil {
		return nil, err
	}
	return archive.Storing(s.site.Archiving.Compress), nil
}

// shippingClient is the held connection that WAL goes over: with the key that
// trust has made for this node, else with the user's own.
func (s *session) shippingClient(ctx context.Context, node cluster.Node) (*remote.Client, error) {
	keys := s.shippingKeys(node.Name)
	if _, err := os.Stat(keys.Path()); errors.Is(err, fs.ErrNotExist) {
		return s.client(ctx, node.Name)
	}
	l := s.shippingLink(node.Name)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refused {
		return s.client(ctx, node.Name)
	}
	if l.client != nil && !l.client.Broken() {
		return l.client, nil
	}
	account, errAccount := keys.Account()
	err := errAccount
	if err == nil {
		l.client, err = s.dialWith(ctx, node, keys.Path(), account)
	}
	// WAL must flow on also where somebody else than the server's owner has
	// made the key, so that it cannot be read.
	if errAccount != nil || remote.LoginRefused(err) {
		fmt.Fprintf(s.err, "warmrun: warning: shipping to %s with your own keys, its own was not accepted (run: warmrun trust %s): %v\n", node.Name, node.Name, err)
		l.refused = true
		return s.client(ctx, node.Name)
	}
	return l.client, err
}

// dialWith logs in to a node with one key alone.
func (s *session) dialWith(ctx context.Context, node cluster.Node, key, account string) (*remote.Client, error) {
	o := s.dialOptions()
	o.OnlyKey, o.Prompt = key, nil
	node.SSH.User = account
	return remote.Dial(ctx, node, o)
}

// shippingKeys are the keys that this node ships to another with.
func (s *session) shippingKeys(to cluster.NodeName) trust.Keys {
	return trust.Keys{Dir: s.site.Local("ship", string(to))}
}

// shippingLink is the link for WAL alone.
func (s *session) shippingLink(name cluster.NodeName) *link {
	return ofNode(&s.mu, &s.shipping, name)
}
