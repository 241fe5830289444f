package remote

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"
)

// Powers lists what a login may do beside running a command, in words; empty
// for a key that sshd restricts (sshd(8), AUTHORIZED_KEYS FILE FORMAT,
// "restrict"). It tries each: a terminal, forwarding the ssh agent, connecting
// onward from the node, and listening on the node. Nothing that it was given
// is left behind.
func (c *Client) Powers(ctx context.Context) ([]string, error) {
	h := c.last()
	type result struct {
		powers []string
		err    error
	}
	tried := make(chan result, 1) // ssh's calls cannot be told to give up
	c.spawn(func() {
		var r result
		r.powers, r.err = h.powers()
		tried <- r
	})
	select {
	case r := <-tried:
		return r.powers, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("try what %s lets this key do: %w", h.target, context.Cause(ctx))
	}
}

func (h *hop) powers() ([]string, error) {
	var has []string
	for _, power := range []struct {
		name string
		try  func() (bool, error)
	}{
		{"have a terminal", func() (bool, error) { return h.asks("pty-req", ptyRequest()) }},
		{"forward an ssh agent", func() (bool, error) { return h.asks("auth-agent-req@openssh.com", nil) }},
		{"connect to other ports", h.forwards},
		{"listen on a port", h.listens},
	} {
		may, err := power.try()
		if err != nil {
			return has, h.lostBy(err)
		}
		if may {
			has = append(has, power.name)
		}
	}
	return has, nil
}

// asks makes a request in a session in which nothing is run.
func (h *hop) asks(name string, payload []byte) (granted bool, err error) {
	channel, requests, err := h.client.OpenChannel("session", nil)
	if err != nil {
		return false, err
	}
	h.work.Go(func() { ssh.DiscardRequests(requests) })
	granted, err = channel.SendRequest(name, true, payload)
	_ = channel.Close() // there is nothing in it to lose
	return granted, err
}

// ptyRequest is the payload of RFC 4254, 6.2, without terminal modes.
func ptyRequest() []byte {
	return ssh.Marshal(struct {
		Term                         string
		Columns, Rows, Width, Height uint32
		Modes                        string
	}{"dumb", 80, 24, 0, 0, "\x00"})
}

// forwards tries the port that sshd itself listens on: that something answers
// there is known. Only a prohibition means no.
func (h *hop) forwards() (bool, error) {
	conn, err := h.client.Dial("tcp", h.client.RemoteAddr().String())
	if err == nil {
		return true, conn.Close()
	}
	var refused *ssh.OpenChannelError
	if !errors.As(err, &refused) {
		return false, err
	}
	return refused.Reason != ssh.Prohibited, nil
}

func (h *hop) listens() (bool, error) {
	type request struct {
		Address string
		Port    uint32
	}
	granted, reply, err := h.client.SendRequest("tcpip-forward", true, ssh.Marshal(request{"127.0.0.1", 0}))
	var got struct{ Port uint32 }
	if err != nil || !granted || ssh.Unmarshal(reply, &got) != nil {
		return granted, err
	}
	_, _, err = h.client.SendRequest("cancel-tcpip-forward", true, ssh.Marshal(request{"127.0.0.1", got.Port}))
	return true, err
}
