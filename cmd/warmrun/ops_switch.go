package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/warmrun/warmrun/builtins/standby"
	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// What a switchover looks at beforehand, and what it can show for itself.

// fitOptions are the limits of a change of places.
type fitOptions struct {
	Standby cluster.NodeName `json:"standby"`
	MaxLag  int64            `json:"max_lag"` // bytes; 0 is no limit
	// What would be a reason against it is then only said.
	AcceptLostSlots        bool `json:"accept_lost_slots"`
	AcceptMissingLibraries bool `json:"accept_missing_libraries"`
}

// lastBytes are the bytes of a segment up to an LSN.
type lastBytes struct {
	Segment walcore.SegmentName `json:"segment"`
	End     walcore.LSN         `json:"end_lsn"`
	// Archive: of the copy in this node's archive, not of pg_wal.
	Archive bool `json:"archive"`
}

type segmentHash struct {
	SHA256 string `json:"sha256"`
	Path   string `json:"path"`
}

func switchOperations() []operation {
	return []operation{
		onNode("standby", "fitness", engine.Read, "what a change of places wants to know of the node beyond its control file",
			func(ctx context.Context, s *session, _ none) (standby.Fitness, error) { return fitness(ctx, s) }),
		here("standby", "fit", engine.Read, "that a primary and its standby can change places: versions, settings, backups, prepared transactions, logical slots, libraries, collations, lag, room, clocks", []string{"node"},
			func(s *session) any {
				return func(ctx context.Context, node string, o fitOptions) (bool, error) {
					return fit(ctx, s, cluster.NodeName(node), o)
				}
			}),
		onNode("standby", "warn", engine.Read, "say what would be wrong with the node as the primary; it keeps nobody from promoting it", warnOf),
		onNode("standby", "moments", engine.Wait, "when the node's server was last stopped and promoted by this program, and its clock",
			func(_ context.Context, s *session, _ none) (moments, error) { return readMoments(s.site) }),
		onNode("standby", "hash_end", engine.Wait, "the SHA-256 of a segment up to an LSN, in the node's pg_wal or archive", hashEnd),
		here("runs", "certify", engine.Change, "write the certificate of a switchover into the run's directory", []string{"node"},
			func(s *session) any {
				return func(ctx context.Context, node string, o certifyOptions) (certified, error) {
					return certify(ctx, s, cluster.NodeName(node), o)
				}
			}),
	}
}

func fitness(ctx context.Context, s *session) (standby.Fitness, error) {
	self := s.self()
	f, err := self.Fitness(ctx)
	f.Program = version
	if err == nil {
		self.LookAtHost(ctx, &f)
	}
	return f, err
}

// fit lists all that is wrong in one error, because an operator wants to see it
// at once.
func fit(ctx context.Context, s *session, primary cluster.NodeName, o fitOptions) (bool, error) {
	names := []cluster.NodeName{primary, o.Standby}
	found, errs := make([]standby.Fitness, len(names)), make([]error, len(names))
	var group sync.WaitGroup
	for i, name := range names {
		group.Go(func() {
			found[i], errs[i] = callOn(ctx, s, name, "standby.fitness", none{},
				func(ctx context.Context, s *session, _ none) (standby.Fitness, error) { return fitness(ctx, s) })
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return false, err
	}
	against, notes := standby.Unfits(found[0], found[1], standby.Limits{
		MaxLag: o.MaxLag, AcceptLostSlots: o.AcceptLostSlots, AcceptMissingLibraries: o.AcceptMissingLibraries, Archives: archivesHere,
	})
	for _, note := range notes {
		say(ctx, s, "%s", note)
	}
	if len(against) == 0 {
		return true, nil
	}
	var reasons, hints []string
	for _, unfit := range against {
		reasons, hints = append(reasons, unfit.Reason), append(hints, unfit.Hint)
	}
	return false, hint.Wrap(errors.New(strings.Join(reasons, "; ")), "%s", strings.Join(hints, "; "))
}

// warnOf never fails: what cannot be looked at is no reason to stay without a
// primary.
func warnOf(ctx context.Context, s *session, _ none) (none, error) {
	found, err := s.self().Fitness(ctx)
	if err != nil {
		say(ctx, s, "NOTE: how %s would do as the primary was not looked at: %v", s.site.Self.Name, err)
		return none{}, nil
	}
	for _, warning := range standby.Warnings(found, standby.Limits{Archives: archivesHere}) {
		say(ctx, s, "%s", warning)
	}
	return none{}, nil
}

// archivesHere reports whether an archive_command is one of this program.
func archivesHere(command string) bool {
	return strings.Contains(command, "warmrun") || strings.Contains(command, "archiveWALFile")
}

// openEnd opens the segment as plain bytes.
func openEnd(s *session, o lastBytes) (*os.File, error) {
	if !o.Archive {
		return os.Open(filepath.Join(walcore.WALDir(s.site.Self.PGData), string(o.Segment)))
	}
	archive, err := walcore.OpenArchive(s.site.Self.Archive)
	if err != nil {
		return nil, err
	}
	return archive.Open(walcore.FileName(o.Segment))
}

// hashEnd reads a segment up to the LSN.
func hashEnd(_ context.Context, s *session, o lastBytes) (result segmentHash, err error) {
	control, err := s.server().Control()
	if err != nil {
		return result, err
	}
	in, err := openEnd(s, o)
	if err != nil {
		return result, err
	}
	result.Path = in.Name()
	defer func() { err = errors.Join(err, in.Close()) }()
	sum, size := sha256.New(), int64(o.End-o.Segment.Start(control.SegmentSize))
	if size <= 0 || size > int64(control.SegmentSize) {
		return result, fmt.Errorf("%s does not lie in %s", o.End, o.Segment)
	}
	if _, err := io.CopyN(sum, in, size); err != nil {
		return result, fmt.Errorf("read %s: %w", result.Path, err)
	}
	result.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return result, nil
}
