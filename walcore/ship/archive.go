package ship

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
	"github.com/warmrun/warmrun/walcore/packed"
)

// Destination is a node whose archive WAL is shipped to.
type Destination struct {
	Node  cluster.NodeName
	Role  cluster.Role
	Where string // host:directory, for messages
	Dial  Dialer
	// Config is another string whenever the way to the node is another one.
	Config string
	// Compress is how files are packed on the wire; empty means S2.
	Compress cluster.Compression
	// Store is how the archive there stores whole segments (see Options).
	Store packed.Form
}

// String is the destination as messages have it: "standby db2
// (db2:/data/archive)".
func (d Destination) String() string {
	role := "standby"
	if d.Role == cluster.RoleDR {
		role = "DR node"
	}
	return fmt.Sprintf("%s %s (%s)", role, d.Node, d.Where)
}

// ArchiveRequest is one call of archive_command.
type ArchiveRequest struct {
	// Path is %p, as the server gave it; Name is %f.
	Path string
	Name walcore.FileName
	// Active: WAL is shipped. Otherwise it is acknowledged and dropped.
	Active bool
	// Require says who must have the file; empty means the standby.
	Require      cluster.Require
	Destinations []Destination
	// Own is this node's own archive. History files are kept there, too,
	// whether archiving is active or not.
	Own *walcore.Archive
	// Out takes messages that are no errors.
	Out io.Writer
	// Version is this program's.
	Version string

	// carry takes the file to a destination; nil does so over a connection of
	// its own.
	carry func(ctx context.Context, r ArchiveRequest, d Destination) error
}

// Archive does what the server's archive_command must do with one file. Nil
// means that the server may forget the file: it is durable where the policy
// says, or archiving is not active and the file is no history file.
//
// The standby comes first: the first node of the pair that is not this one.
// With the standby down the other nodes get the file,
// and unless any one destination is enough, the call still fails: pg_wal is
// the queue of the standby. A destination that refuses the file, because a
// fence or other content stands against it, fails the call whatever the
// others say.
func Archive(ctx context.Context, r ArchiveRequest) error {
	if r.Out == nil {
		r.Out = io.Discard
	}
	if r.Name.Kind() == walcore.KindHistory {
		if err := r.keep(ctx); err != nil {
			return err
		}
	}
	if !r.Active {
		return r.ignore()
	}
	first, spare, err := r.stages()
	if err != nil {
		return err
	}
	done := r.shipAll(ctx, first)
	if !r.enough(done) && !refused(done) {
		done = append(done, r.shipAll(ctx, spare)...)
	}
	return r.verdict(done)
}

// ArchiveTo stores a file in an archive directory of this machine, a whole
// segment in a form.
func ArchiveTo(ctx context.Context, dir, path string, name walcore.FileName, form packed.Form) error {
	archive, err := walcore.OpenArchive(dir)
	if err != nil {
		return err
	}
	_, err = archive.Storing(form).PutFile(ctx, name, path, 0)
	return err
}

// ignore is 2warm's message, as its manual shows it.
func (r ArchiveRequest) ignore() error {
	if r.Name.Kind() == walcore.KindHistory {
		_, err := fmt.Fprintf(r.Out, "Archiving not active: kept %s in %s only.\n", r.Path, r.Own.Dir())
		return err
	}
	text := fmt.Sprintf("Archiving not active: ignoring %s.\n", r.Path)
	if where := r.usual(); where != "" {
		text += fmt.Sprintf("Would normally save to %s/%s.\n", where, r.Name)
	}
	_, err := io.WriteString(r.Out, text)
	return err
}

// usual is where the file would go first.
func (r ArchiveRequest) usual() string {
	for _, d := range r.Destinations {
		if d.Role != cluster.RoleDR {
			return d.Where
		}
	}
	if len(r.Destinations) > 0 {
		return r.Destinations[0].Where
	}
	return ""
}

// keep stores a history file in this node's own archive.
func (r ArchiveRequest) keep(ctx context.Context) error {
	if r.Own == nil {
		return hint.Wrap(fmt.Errorf("%s must be kept in this node's own archive, which is not known", r.Name),
			"give this node an archive directory in cluster.toml, and create it")
	}
	if _, err := r.Own.PutFile(ctx, r.Name, r.Path, 0); err != nil {
		return fmt.Errorf("could not keep %s in this node's own archive: %w", r.Name, err)
	}
	return nil
}

// stages are the destinations to try at once, and those to try when that was
// not enough. The DR node as the primary has two destinations in the pair: the
// first is its standby, as in Site.Partner, and the other one its relay. It
// must not need both, or it could not archive after a loss of both hosts until
// the second is back.
func (r ArchiveRequest) stages() (first, spare []Destination, err error) {
	if len(r.Destinations) == 0 {
		return nil, nil, hint.Wrap(fmt.Errorf("archiving is active on this node, but there is no other node to ship %s to", r.Name),
			"name the other nodes in global/cluster.toml (or local/replication/othernode), or remove local/replication/archiving_active")
	}
	switch r.Require {
	case cluster.RequireAll:
		return r.Destinations, nil, nil
	case cluster.RequireAny, cluster.RequireStandby, "":
	default:
		return nil, nil, fmt.Errorf("unknown archive policy %q (want %q, %q or %q)", r.Require, cluster.RequireStandby, cluster.RequireAll, cluster.RequireAny)
	}
	standby := max(0, slices.IndexFunc(r.Destinations, func(d Destination) bool { return d.Role != cluster.RoleDR }))
	for i, d := range r.Destinations {
		if i == standby {
			first = append(first, d)
		} else {
			spare = append(spare, d)
		}
	}
	return first, spare, nil
}

// outcome is what came of one destination.
type outcome struct {
	Destination
	err error
}

// shipAll ships to several destinations at the same time.
func (r ArchiveRequest) shipAll(ctx context.Context, to []Destination) []outcome {
	done := make([]outcome, len(to))
	var wait sync.WaitGroup
	for i, d := range to {
		wait.Go(func() { done[i] = outcome{d, r.ship(ctx, d)} })
	}
	wait.Wait()
	return done
}

func (r ArchiveRequest) ship(ctx context.Context, d Destination) error {
	if r.carry != nil {
		if err := r.carry(ctx, r, d); err != nil {
			return oneLine(err)
		}
		return nil
	}
	c, err := ConnectWith(ctx, d.Dial, Options{Version: r.Version, Compress: d.Compress, Store: d.Store})
	if err != nil {
		return err
	}
	err = r.shipHistories(ctx, c)
	if err == nil {
		_, err = c.Put(ctx, r.Name, r.Path, PutOptions{})
	}
	closeErr := c.Close()
	if err != nil {
		return oneLine(errors.Join(err, unless(closeErr, err)))
	}
	return nil // acknowledged: how the agent ended changes nothing
}

// unless leaves out an error that is told by another already.
func unless(err, told error) error {
	if err == nil || strings.Contains(told.Error(), err.Error()) {
		return nil
	}
	return err
}

// shipHistories sends the histories that lead to the file's timeline, where
// the destination lacks the newest: it may have been down when the server
// archived them. Recovery must see a history before the segments after it.
func (r ArchiveRequest) shipHistories(ctx context.Context, c *Client) error {
	newest := r.Name.Timeline()
	if newest <= 1 || r.Own == nil {
		return nil
	}
	_, _, err := c.Digest(ctx, newest.HistoryName())
	if !errors.Is(err, walcore.ErrNotArchived) {
		return err
	}
	for t := walcore.Timeline(2); t <= newest; t++ {
		if t.HistoryName() == r.Name {
			break // is shipped next
		}
		if err := r.shipHistory(ctx, c, t.HistoryName()); err != nil {
			return fmt.Errorf("%s must go first: %w", t.HistoryName(), err)
		}
	}
	return nil
}

// shipHistory sends a history from this node's own archive, or from pg_wal
// where that lacks it. One that is in neither is none of ours.
func (r ArchiveRequest) shipHistory(ctx context.Context, c *Client, name walcore.FileName) error {
	err := c.Relay(ctx, r.Own, name)
	if !errors.Is(err, walcore.ErrNotArchived) {
		return err
	}
	_, err = c.Put(ctx, name, filepath.Join(filepath.Dir(r.Path), string(name)), PutOptions{})
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// enough reports whether the policy is satisfied.
func (r ArchiveRequest) enough(done []outcome) bool {
	got := len(done) - len(failed(done))
	if r.Require == cluster.RequireAny {
		return got > 0
	}
	return got == len(done)
}

func failed(done []outcome) []outcome {
	var bad []outcome
	for _, o := range done {
		if o.err != nil {
			bad = append(bad, o)
		}
	}
	return bad
}

func refused(done []outcome) bool {
	for _, o := range done {
		var r *walcore.RefusedError
		if errors.As(o.err, &r) {
			return true
		}
	}
	return false
}

// verdict is the answer to the server.
func (r ArchiveRequest) verdict(done []outcome) error {
	if r.enough(done) && !refused(done) {
		for _, o := range failed(done) {
			if _, err := fmt.Fprintf(r.Out, "warning: %s is not on %s: %v\n", r.Name, o.Destination, o.err); err != nil {
				return err
			}
		}
		return nil
	}
	return &NotShippedError{Name: r.Name, outcomes: done}
}

// NotShippedError says where a segment could not be shipped, and that the
// server still has it.
type NotShippedError struct {
	Name     walcore.FileName
	outcomes []outcome
}

// Error is one line that names every destination.
func (e *NotShippedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "could not ship %s", e.Name)
	for i, o := range failed(e.outcomes) {
		if i > 0 {
			b.WriteString(", nor")
		}
		fmt.Fprintf(&b, " to %s: %v", o.Destination, o.err)
	}
	for _, o := range e.outcomes {
		if o.err == nil {
			fmt.Fprintf(&b, "; it is on %s", o.Destination)
		}
	}
	if refused(e.outcomes) {
		b.WriteString("; it stays in pg_wal, and trying again changes nothing before this is settled")
	} else {
		b.WriteString("; it stays in pg_wal and the server will try again")
	}
	return b.String()
}

// Unwrap is the errors of the destinations.
func (e *NotShippedError) Unwrap() []error {
	var errs []error
	for _, o := range failed(e.outcomes) {
		errs = append(errs, o.err)
	}
	return errs
}
