package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// dialer makes the hops to one node.
type dialer struct{ options Options }

// maxHops bounds a chain of jump hosts; a longer one is a loop.
const maxHops = 10

// route lists the hops that lead to a node; the last one is the node itself.
func (d *dialer) route(ctx context.Context, node cluster.Node) ([]target, error) {
	host := node.Host
	if host == "" {
		host = string(node.Name)
	}
	t, err := d.resolve(ctx, host, node.SSH)
	if err != nil {
		return nil, err
	}
	if d.options.OnlyKey != "" {
		t.offerOnly(d.options.OnlyKey)
	}
	return d.before(ctx, t, node.SSH, maxHops)
}

// before puts the jump hosts that lead to t in front of it. The first of a
// list of jump hosts is reached as its own configuration says, every other one
// through the one before it. The key and the known_hosts file that cluster.toml
// gives for the node serve on the way as well.
func (d *dialer) before(ctx context.Context, t target, explicit cluster.SSH, left int) ([]target, error) {
	if t.ProxyJump == "" || strings.EqualFold(t.ProxyJump, "none") {
		return []target{t}, nil
	}
	jumps := strings.Split(t.ProxyJump, ",")
	if left -= len(jumps); left <= 0 {
		return nil, hint.Wrap(fmt.Errorf("%s: more than %d jump hosts", t, maxHops), "two hosts in ~/.ssh/config probably name each other in ProxyJump")
	}
	var route []target
	for i, text := range jumps {
		host, way, err := parseJump(text)
		if err != nil {
			return nil, hint.Wrap(fmt.Errorf("%s: %w", t, err), "a jump host is written as [user@]host[:port]")
		}
		way.IdentityFile = explicit.IdentityFile
		hop, err := d.resolve(ctx, host, way)
		if err != nil {
			return nil, err
		}
		if explicit.KnownHosts != "" {
			hop.OtherKnownHosts = append(hop.OtherKnownHosts, d.options.tilde(explicit.KnownHosts))
		}
		if i > 0 {
			route = append(route, hop)
			continue
		}
		if route, err = d.before(ctx, hop, explicit, left); err != nil {
			return nil, err
		}
	}
	return append(route, t), nil
}

// parseJump reads [user@]host[:port] or ssh://[user@]host[:port].
func parseJump(text string) (host string, way cluster.SSH, err error) {
	rest := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(text), "ssh://"), "/")
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		way.User, rest = rest[:at], rest[at+1:]
	}
	host = strings.Trim(rest, "[]")
	if h, port, err := net.SplitHostPort(rest); err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return "", way, fmt.Errorf("jump host %q: %q is not a port", text, port)
		}
		host, way.Port = h, int(n)
	}
	if host == "" {
		return "", way, fmt.Errorf("jump host %q has no name", text)
	}
	return host, way, nil
}

// connect makes the hops one after the other.
func (d *dialer) connect(ctx context.Context, route []target) ([]*hop, error) {
	var hops []*hop
	for _, t := range route {
		h, err := d.hop(ctx, t, hops)
		if err != nil {
			return nil, errors.Join(err, closeHops(hops))
		}
		hops = append(hops, h)
	}
	return hops, nil
}

// hop connects and logs in, within the time for both.
func (d *dialer) hop(ctx context.Context, t target, before []*hop) (*hop, error) {
	ctx, limit := newTimeLimit(ctx, t.ConnectTimeout)
	defer limit.end()
	conn, err := d.open(ctx, t, before)
	if err != nil {
		return nil, err
	}
	return d.login(ctx, t, conn, limit)
}

// open makes the connection that ssh is then spoken over.
func (d *dialer) open(ctx context.Context, t target, before []*hop) (net.Conn, error) {
	var conn net.Conn
	var err error
	switch {
	case len(before) > 0:
		return before[len(before)-1].forward(ctx, t)
	case t.ProxyCommand != "" && !strings.EqualFold(t.ProxyCommand, "none"):
		return startProxy(t.ProxyCommand)
	default:
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", t.address())
	}
	if err != nil {
		return nil, explainNetwork(t, reason(ctx, err))
	}
	return conn, nil
}

// forward asks a jump host to connect to the next hop.
func (h *hop) forward(ctx context.Context, t target) (net.Conn, error) {
	conn, err := h.client.DialContext(ctx, "tcp", t.address())
	if err == nil {
		return conn, nil
	}
	var refused *ssh.OpenChannelError
	if errors.As(err, &refused) && refused.Reason == ssh.Prohibited {
		return nil, hint.Wrap(fmt.Errorf("jump host %s does not forward to %s: %w", h.target, t.address(), err),
			"set AllowTcpForwarding yes and check PermitOpen in sshd_config on %s", h.target.Alias)
	}
	return nil, explainNetwork(t, fmt.Errorf("through jump host %s: %w", h.target, reason(ctx, err)))
}

// login checks the host key and authenticates. It owns conn.
func (d *dialer) login(ctx context.Context, t target, conn net.Conn, limit *timeLimit) (*hop, error) {
	known, err := d.knownHosts(t)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	keys := d.collectKeys(ctx, t, limit)
	defer keys.close()
	config := &ssh.ClientConfig{
		User:              t.User,
		Auth:              []ssh.AuthMethod{ssh.PublicKeysCallback(keys.signers)},
		HostKeyCallback:   known.check,
		HostKeyAlgorithms: known.algorithms(),
	}
	config.Ciphers = ciphers(hasAES())

	watched := &watchedConn{Conn: conn}
	stop := context.AfterFunc(ctx, func() {
		keys.close() // an agent may wait for its user
		_ = watched.Close()
	})
	c, channels, requests, err := ssh.NewClientConn(watched, t.address(), config)
	interrupted := !stop()
	if interrupted && err == nil {
		err = c.Close()
	}
	if interrupted || err != nil {
		// Where NewClientConn failed it has closed the connection.
		return nil, d.explainLogin(ctx, t, err, known, keys, conn)
	}
	return newHop(t, ssh.NewClient(c, channels, requests), watched), nil
}

// explainLogin says which of the three went wrong: the host key, the network,
// or the keys that were offered.
func (d *dialer) explainLogin(ctx context.Context, t target, err error, known *knownHosts, keys *keyring, conn net.Conn) error {
	if known.refused != nil {
		return known.refused
	}
	if ctx.Err() != nil {
		return explainNetwork(t, reason(ctx, err))
	}
	if proxy, ok := conn.(*proxyConn); ok && !known.accepted {
		return &UnreachableError{Host: t.String(), Err: proxy.explain(err)}
	}
	if brokeBelow(err) && !strings.Contains(err.Error(), "disconnect") {
		return explainNetwork(t, err)
	}
	if !known.accepted {
		return hint.Wrap(fmt.Errorf("log in to %s: %w", t, err), "look at sshd's log on that host, and try `%s`", t.command("-v"))
	}
	return keys.explain(t, err)
}

// reason is why ctx ended, where it has, and err otherwise.
func reason(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
