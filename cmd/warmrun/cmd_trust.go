package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/warmrun/warmrun/builtins/lab"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// trustCommand makes and takes away keys for shipping.
type trustCommand struct {
	Node           string `arg:"" optional:"" help:"The node to ship to (default: all others)."`
	Renew          bool   `help:"Make a new key, and take the old one away once the new one works." xor:"what"`
	Remove         bool   `help:"Take the key away there, and destroy it here." xor:"what"`
	AuthorizedKeys string `help:"The file in which sshd on the node looks for the account's keys (default: what its sshd_config says, as far as the account may read it)." placeholder:"FILE"`
	JSON           bool   `help:"Print JSON."`
}

// What became of the trust of a node.
const (
	trustInstalled = "installed" // a new key, now let in
	trustPresent   = "present"   // nothing had to be done
	trustRepaired  = "repaired"  // the key was there, its line was not
	trustRenewed   = "renewed"
	trustRemoved   = "removed"
	trustAbsent    = "absent" // there was nothing to remove
)

// trustResult is one node's part of the answer.
type trustResult struct {
	Node        cluster.NodeName `json:"node"`
	State       string           `json:"state,omitempty"`
	Account     string           `json:"account,omitempty"`
	File        string           `json:"authorized_keys,omitempty"` // on that node
	Basis       string           `json:"basis,omitempty"`           // why that file
	Key         string           `json:"key,omitempty"`             // the private one, here
	Fingerprint string           `json:"fingerprint,omitempty"`
	Error       string           `json:"error,omitempty"`
	Hint        string           `json:"hint,omitempty"`
}

// Run goes through the nodes; one that fails keeps nobody from the others.
func (c *trustCommand) Run(ctx context.Context, p *process, g *globals) error {
	s, err := p.session(*g)
	if err != nil {
		return err
	}
	defer s.Close()
	if _, ok := lab.Of(s.site.Home); ok {
		return hint.Wrap(errors.New("the ssh servers of a lab take the lab's own key and read no authorized_keys: trust can do nothing here"), "try it on nodes with an sshd of their own")
	}
	nodes, err := c.nodes(s.site)
	if err != nil {
		return err
	}
	s.quiet = true
	results := make([]trustResult, 0, len(nodes))
	var failed error
	for _, node := range nodes {
		result, err := c.one(ctx, s, node)
		if err != nil {
			p.report(failed) // the last one is reported by whoever called
			result.Error, result.Hint = describe(err)
			failed = fmt.Errorf("trust of %s: %w", node.Name, err)
		}
		results = append(results, result)
		if c.JSON {
			continue
		}
		if err := result.print(p.out); err != nil {
			return err
		}
	}
	if err := endShippers(ctx, shipperDir(s.site.Home)); err != nil {
		return errors.Join(failed, err)
	}
	if !c.JSON {
		return failed
	}
	encoder := json.NewEncoder(p.out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return errors.Join(failed, encoder.Encode(results))
}

// nodes are those that are to trust this one.
func (c *trustCommand) nodes(site *cluster.Site) ([]cluster.Node, error) {
	if c.Node != "" {
		node, err := site.Node(cluster.NodeName(c.Node))
		if err == nil && site.IsSelf(node.Name) {
			err = hint.Wrap(fmt.Errorf("%s is this node: it ships nothing to itself", node.Name), "name another node, or none for all others")
		}
		if err != nil {
			return nil, usageError{err}
		}
		return []cluster.Node{node}, nil
	}
	var others []cluster.Node
	for _, node := range site.Nodes {
		if !site.IsSelf(node.Name) {
			others = append(others, node)
		}
	}
	if len(others) == 0 {
		return nil, errors.New("there is no other node")
	}
	return others, nil
}

func (c *trustCommand) one(ctx context.Context, s *session, node cluster.Node) (trustResult, error) {
	t, unlock, err := newTruster(s, node, c.AuthorizedKeys)
	if err != nil {
		return trustResult{Node: node.Name}, err
	}
	defer unlock()
	switch {
	case c.Remove:
		err = t.remove(ctx)
	default:
		err = t.establish(ctx, c.Renew)
	}
	return t.result, err
}

func (r trustResult) print(out io.Writer) error {
	if r.Error != "" {
		return nil // is reported below
	}
	line := map[string]string{
		trustInstalled: fmt.Sprintf("%s takes WAL from this node's own key now: %s\n", r.Node, r.Fingerprint),
		trustPresent:   fmt.Sprintf("%s takes WAL from this node's own key already: %s\n", r.Node, r.Fingerprint),
		trustRepaired:  fmt.Sprintf("%s takes WAL from this node's own key again: %s\n", r.Node, r.Fingerprint),
		trustRenewed:   fmt.Sprintf("%s takes WAL from a new key of this node's: %s; the old one is gone\n", r.Node, r.Fingerprint),
		trustRemoved:   fmt.Sprintf("%s no longer knows this node's key; it was destroyed here\n", r.Node),
		trustAbsent:    fmt.Sprintf("%s knows no key of this node's; there was nothing to remove\n", r.Node),
	}[r.State]
	if r.State == trustRemoved || r.State == trustAbsent {
		_, err := io.WriteString(out, line)
		return err
	}
	_, err := fmt.Fprintf(out, "%s  here:   %s\n  there:  %s, for %s (%s)\n  proved: it starts the agent whatever is asked for; no terminal, no forwarding\n",
		line, r.Key, r.File, r.Account, r.Basis)
	return err
}
