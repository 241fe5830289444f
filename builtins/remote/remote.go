// Package remote runs commands on other nodes over ssh and opens tunnels to
// unix sockets there. It speaks the protocol itself and needs no ssh program,
// but it honours what a user has set up for one: ~/.ssh/config, the system's
// ssh_config, known_hosts files, keys, the agent, jump hosts.
//
// Terms:
//
//   - hop: one ssh connection. A node behind a jump host takes two of them,
//     and each has its own configuration and host key check.
//   - known host: a host whose public key stands in a known_hosts file. A host
//     that is not known is refused; nothing switches the check off.
//   - session: one command that runs over a connection. Several run at once.
package remote

import (
	"context"
	"os"
	"os/user"
	"strconv"
	"sync"
	"time"

	"github.com/warmrun/warmrun/walcore/cluster"
)

// Options are the surroundings of a connection. The zero value is those of
// this process, without a terminal.
type Options struct {
	// Getenv looks up SSH_AUTH_SOCK, HOME and what ssh_config refers to; nil
	// means os.Getenv.
	Getenv func(string) string
	// HomeDir is what ~ stands for; empty means $HOME, else what the user
	// database says.
	HomeDir string
	// SystemDir holds ssh_config and ssh_known_hosts of the host; empty means
	// /etc/ssh.
	SystemDir string
	// Prompt asks for the passphrase of a key without showing what is typed;
	// nil means that there is no terminal, and such keys are left out.
	Prompt func(question string) (string, error)
	// OnlyKey is the path of a private key that is offered to the node alone:
	// no other key, no ssh agent, no certificate. Jump hosts on the way are
	// logged in to with the user's keys.
	OnlyKey string
	// ConnectTimeout bounds connecting and logging in, without the time that
	// Prompt takes. 0 means ConnectTimeout of ssh_config, else 15 seconds.
	ConnectTimeout time.Duration
	// AliveInterval is how long a connection may be silent before a sign of
	// life is asked for, where ssh_config has no ServerAliveInterval; 0 means 15
	// seconds. After ServerAliveCountMax times that long, three where it is not
	// set, the connection is given up.
	AliveInterval time.Duration
	// Warn is told what the user should know though the connection works; nil
	// means nobody.
	Warn func(string)
}

// Client is a connection to a node. Its methods may be called at the same
// time from several goroutines.
type Client struct {
	node cluster.NodeName
	user string
	hops []*hop // in the order they were made; the last one leads to the node

	mu     sync.Mutex
	closed bool
	work   sync.WaitGroup
}

// Dial connects to the node and logs in. Errors name the host, and have a
// hint: Unreachable tells whether the host did not answer. A canceled ctx ends
// the attempt; the connection itself outlives ctx.
func Dial(ctx context.Context, node cluster.Node, o Options) (*Client, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	d := &dialer{options: o}
	route, err := d.route(ctx, node)
	if err != nil {
		return nil, err
	}
	hops, err := d.connect(ctx, route)
	if err != nil {
		return nil, err
	}
	return &Client{node: node.Name, user: route[len(route)-1].User, hops: hops}, nil
}

// User is the name that the client is logged in as.
func (c *Client) User() string { return c.user }

// Close cuts the connection and ends what runs over it. It returns when
// everything that the client started here has ended.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	err := closeHops(c.hops)
	c.work.Wait()
	return err
}

// spawn starts a goroutine that Close waits for. What comes after Close finds
// the connection gone and ends by itself.
func (c *Client) spawn(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		go f()
		return
	}
	c.work.Go(f)
}

// Broken reports whether the connection has ended, so that nothing more can be
// had from it.
func (c *Client) Broken() bool {
	select {
	case <-c.last().gone:
		return true
	default:
		return false
	}
}

// last is the hop that ends at the node.
func (c *Client) last() *hop { return c.hops[len(c.hops)-1] }

// closeHops closes from the near end: what is left hanging in the air beyond
// it ends at once, also where the far side no longer answers.
func closeHops(hops []*hop) error {
	var err error
	for i, h := range hops {
		if failed := h.close(); i == 0 {
			err = failed
		}
	}
	return err
}

// complete fills in what the zero values stand for.
func (o Options) complete() (Options, error) {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.SystemDir == "" {
		o.SystemDir = "/etc/ssh"
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	if o.HomeDir == "" {
		o.HomeDir = o.Getenv("HOME")
	}
	if o.HomeDir == "" {
		self, err := localUser()
		if err != nil {
			return o, err
		}
		o.HomeDir = self.HomeDir
	}
	return o, nil
}

// localUser looks up who this process is now. user.Current remembers its first
// answer, which is wrong once root has become another user.
func localUser() (*user.User, error) {
	return user.LookupId(strconv.Itoa(os.Geteuid()))
}
