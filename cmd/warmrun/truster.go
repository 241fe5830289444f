package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/warmrun/warmrun/builtins/remote"
	"github.com/warmrun/warmrun/builtins/trust"
	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
	"github.com/warmrun/warmrun/walcore/ship"
)

// truster sets up and takes away the key for one destination.
type truster struct {
	s       *session
	node    cluster.Node
	keys    trust.Keys
	file    string // --authorized-keys, now or when the key was let in
	comment string
	result  trustResult
}

// newTruster keeps every other truster of the same destination out until
// unlock is called.
func newTruster(s *session, node cluster.Node, file string) (t *truster, unlock func(), err error) {
	if name := string(node.Name); name == ".." || name == "." || name != filepath.Base(name) {
		return nil, nil, fmt.Errorf("node %q: a key cannot be kept under that name", node.Name)
	}
	if file != "" && !filepath.IsAbs(file) {
		return nil, nil, usageError{fmt.Errorf("--authorized-keys %s is not an absolute path", file)}
	}
	t = &truster{s: s, node: node, keys: s.shippingKeys(node.Name), file: file,
		comment: "warmrun-ship@" + string(s.site.Self.Name), result: trustResult{Node: node.Name}}
	if err := atomicfile.MkdirAll(t.keys.Dir, 0o700); err != nil {
		return nil, nil, err
	}
	dir, err := os.Open(t.keys.Dir)
	if err != nil {
		return nil, nil, err
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return nil, nil, errors.Join(lockedError{fmt.Errorf("another warmrun trust is at work on %s", t.keys.Dir)}, dir.Close())
	}
	unlock = func() { _ = dir.Close() } // only held for its lock
	if t.file == "" {
		if t.file, err = t.keys.File(); err != nil {
			unlock()
		}
	}
	return t, unlock, err
}

// establish ends with a key in use that the node has been seen to let in for
// shipping and nothing else. Whatever fails before, the key in use stays the
// one it was, and what was added on the node is taken away again.
func (t *truster) establish(ctx context.Context, renew bool) error {
	key, err := t.keys.Current()
	had, made := err == nil, false
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !renew {
		return err
	}
	if !had || renew {
		if key, made, err = t.keys.Next(t.comment); err != nil {
			return err
		}
	}
	place, added, err := t.admit(ctx, key, made)
	if err != nil {
		return err
	}
	if err := t.prove(ctx, key, place.Account); err != nil {
		err = t.explain(err, place)
		if added {
			err = errors.Join(err, t.ask(ctx, "trust.remove", key, &place))
		}
		return err
	}
	if t.file != "" {
		if err := t.keys.NoteFile(t.file); err != nil {
			return err
		}
	}
	if key, err = t.keys.Use(key, place.Account, t.comment); err != nil {
		return err
	}
	t.result.Key, t.result.Fingerprint = key.Path, key.Fingerprint
	// Last, so that nobody is left with a key that is let in no longer.
	if err := t.ask(ctx, "trust.remove_others", key, &place); err != nil {
		return fmt.Errorf("the new key is in use; take the old one away: %w", err)
	}
	switch {
	case renew && had:
		t.result.State = trustRenewed
	case !had:
		t.result.State = trustInstalled
	case added:
		t.result.State = trustRepaired
	default:
		t.result.State = trustPresent
	}
	return nil
}

// admit has the node let the key in, unless it does so already: by the line
// that we would write, or by one somewhere else that does the same.
func (t *truster) admit(ctx context.Context, key trust.Key, made bool) (place trustPlace, added bool, err error) {
	if err := t.ask(ctx, "trust.look", key, &place); err != nil || place.Present {
		return place, false, err
	}
	if !made && t.prove(ctx, key, place.Account) == nil {
		t.result.File, t.result.Basis = "a file of sshd's", "not "+place.File
		return place, false, nil
	}
	err = t.ask(ctx, "trust.add", key, &place)
	return place, err == nil, err
}

// ask has the node do something about the key.
func (t *truster) ask(ctx context.Context, operation string, key trust.Key, place *trustPlace) error {
	err := t.s.call(ctx, t.node.Name, operation, trustOptions{Public: key.Public, Comment: t.comment, File: t.file}, place)
	if err == nil {
		t.result.Account = place.Account
		if t.result.File == "" {
			t.result.File, t.result.Basis = place.File, place.Basis
		}
	}
	return err
}

// prove logs in with the key alone, asks for something else than the agent and
// must get the agent, and must get nothing else.
func (t *truster) prove(ctx context.Context, key trust.Key, account string) error {
	const mark = "this-key-runs-other-commands"
	elsewhere := fmt.Sprintf("look for other lines with this key in the files that sshd on %s reads", t.node.Name)
	client, err := t.s.dialWith(ctx, t.node, key.Path, account)
	if err != nil {
		return err
	}
	defer client.Close()
	agent, err := ship.ConnectWith(ctx, func(ctx context.Context) (io.ReadWriteCloser, error) {
		return client.Start(ctx, "echo "+mark)
	}, ship.Options{Version: version})
	if err != nil && strings.Contains(err.Error(), mark) {
		return hint.Wrap(errors.New("this key can run any command"), "%s", elsewhere)
	}
	if err != nil {
		return err
	}
	restricted := agent.Restricted()
	powers, err := client.Powers(ctx)
	switch err := errors.Join(agent.Close(), err); {
	case err != nil:
		return err
	case !restricted:
		return hint.Wrap(errors.New("the agent that this key starts is not a restricted one"), "%s", elsewhere)
	case len(powers) > 0:
		return hint.Wrap(fmt.Errorf("this key can do more than ship WAL: %s", strings.Join(powers, ", ")), "%s", elsewhere)
	}
	return nil
}

// explain says what stands behind a proof that failed.
func (t *truster) explain(err error, place trustPlace) error {
	err = fmt.Errorf("the key that is let in by %s does not do as it should: %w", place.File, err)
	if !remote.LoginRefused(err) {
		return err
	}
	doubts := ""
	if len(place.Doubts) > 0 {
		doubts = " (" + strings.Join(place.Doubts, "; ") + ")"
	}
	return hint.Wrap(err, "sshd on %s was expected to read %s (%s)%s; sshd's log there says why not. If it reads another file, name that with --authorized-keys, or have this line put into it: %s",
		t.node.Name, place.File, place.Basis, doubts, place.Line)
}

// remove takes the node's line away, then the key here.
func (t *truster) remove(ctx context.Context) error {
	t.result.State = trustAbsent
	key, err := t.keys.Current()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var place trustPlace
	for _, operation := range []string{"trust.remove", "trust.remove_others"} {
		if err := t.ask(ctx, operation, key, &place); err != nil {
			return fmt.Errorf("take the line away there: %w", err)
		}
		if place.Changed {
			t.result.State = trustRemoved
		}
	}
	if key.Path != "" {
		t.result.State = trustRemoved
	}
	return t.keys.Forget()
}
