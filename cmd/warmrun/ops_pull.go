package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/ship"
)

// What one archive has and another lacks.

type pullOptions struct {
	From cluster.NodeName `json:"from"`
	// Histories fetches these only.
	Histories bool `json:"histories"`
	// Lenient passes over an archive that cannot be listed, loudly.
	Lenient bool `json:"lenient"`
}

// namesOptions say which files of an archive are asked for: histories, and from a
// position on the segments with their backup and partial files.
type namesOptions struct {
	Position  string `json:"position"`
	Histories bool   `json:"histories"` // these only
}

func (o namesOptions) wants(name walcore.FileName) bool {
	segment := name.Segment()
	return segment == "" || !o.Histories && segment.Position() >= o.Position
}

// archiveNames lists what is asked for in this node's archive; nothing where it has
// none.
func archiveNames(_ context.Context, s *session, o namesOptions) ([]walcore.FileName, error) {
	archive, err := walcore.OpenArchive(s.site.Self.Archive)
	if errors.Is(err, walcore.ErrNoArchive) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names, err := archive.List()
	return slices.DeleteFunc(names, func(name walcore.FileName) bool { return !o.wants(name) }), err
}

// pullArchive fetches every history, and every segment that lies at or after
// the one this node would recover from, that it does not have.
func pullArchive(ctx context.Context, s *session, o pullOptions) (int, error) {
	own, err := s.ownArchive()
	if err != nil {
		return 0, err
	}
	wanted, err := wantedHere(s, o)
	if err != nil {
		return 0, err
	}
	// Mostly nothing is missing, and the program that waits there says so before an
	// agent is started. Where it cannot, the agent says why.
	if theirs, err := callOn(ctx, s, o.From, "archive.names", wanted, archiveNames); err == nil {
		if missing, err := notIn(own, theirs); err != nil || len(missing) == 0 {
			return 0, err
		}
	}
	client, theirs, err := listThere(ctx, s, o.From)
	if errors.Is(err, walcore.ErrNoArchive) {
		return 0, nil
	}
	if err != nil && o.Lenient && ctx.Err() == nil {
		say(ctx, s, "WARNING: the archive on %s cannot be read: %s", o.From, oneLine(err))
		say(ctx, s, "WAL that only %s has is given up by going on; mend its archive first if it may have any", o.From)
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer client.Close()
	missing, err := notIn(own, slices.DeleteFunc(theirs, func(name walcore.FileName) bool { return !wanted.wants(name) }))
	if err != nil {
		return 0, err
	}
	got := 0
	for _, name := range missing {
		var refused *walcore.RefusedError
		switch err := client.Fetch(ctx, own, name); {
		case errors.As(err, &refused) && refused.Reason == walcore.ReasonLeft:
			// A failover has given it up: it is on nobody's way to the newest timeline.
			say(ctx, s, "passed over %s: %s", name, refused.Detail)
			continue
		case err != nil:
			return got, fmt.Errorf("%s: %w", name, err)
		}
		say(ctx, s, "fetched %s from %s", name, o.From)
		got++
	}
	return got, nil
}

// wantedHere is what this node would recover from.
func wantedHere(s *session, o pullOptions) (namesOptions, error) {
	control, err := s.server().Control()
	if err != nil {
		return namesOptions{}, err
	}
	// What pg_rewind has left begins where its backup_label says; the control file
	// is the other server's, and tells of a later checkpoint.
	progress, err := s.self().Progress()
	if err != nil {
		return namesOptions{}, err
	}
	return namesOptions{Position: walcore.SegmentAt(1, progress.Needs, control.SegmentSize).Position(), Histories: o.Histories}, nil
}

// notIn are the names of files that the archive does not have.
func notIn(archive *walcore.Archive, names []walcore.FileName) (missing []walcore.FileName, err error) {
	for _, name := range names {
		there, err := archive.Has(name)
		if err != nil {
			return nil, err
		}
		if !there {
			missing = append(missing, name)
		}
	}
	return missing, nil
}

// listThere connects to the archive of a node and lists it.
func listThere(ctx context.Context, s *session, node cluster.NodeName) (*ship.Client, []walcore.FileName, error) {
	client, err := s.shipTo(ctx, node)
	if err != nil {
		return nil, nil, err
	}
	names, err := client.List(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, client.Close())
	}
	return client, names, nil
}
