package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/warmrun/warmrun/builtins/standby"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// sighting is the last look that this node had at the DR node. It is kept in
// local/seen, for the time when the DR node cannot be asked.
type sighting struct {
	Role     standby.Role     `json:"role"`
	Timeline walcore.Timeline `json:"timeline"`
	At       time.Time        `json:"at"`
}

// sightingAge is how old a note may be before the same is noted again.
const sightingAge = time.Minute

// noteSighting notes what was seen of the DR node. The note is for people and
// for the one case in which it proves something, so a disk that is full keeps
// nobody from working.
func noteSighting(ctx context.Context, s *session, node cluster.NodeName, state standby.State) {
	now := sighting{Role: state.Role, Timeline: state.Control.Timeline, At: time.Now().UTC()}
	last, known := lastSighting(s, node)
	if known && last.Role == now.Role && last.Timeline == now.Timeline && now.At.Sub(last.At) < sightingAge {
		return
	}
	text, err := json.Marshal(now)
	if err == nil {
		err = atomicfile.MkdirAll(s.site.Local("seen"), 0o755)
	}
	if err == nil {
		err = atomicfile.WriteFile(s.site.Local("seen", string(node)), append(text, '\n'), 0o644)
	}
	if err != nil {
		say(ctx, s, "what was seen of %s cannot be noted: %v", node, err)
	}
}

// lastSighting is false where nothing is noted, or nothing that can be read.
func lastSighting(s *session, node cluster.NodeName) (sighting, bool) {
	text, err := os.ReadFile(s.site.Local("seen", string(node)))
	if errors.Is(err, fs.ErrNotExist) {
		return sighting{}, false
	}
	var last sighting
	if err == nil {
		err = json.Unmarshal(text, &last)
	}
	return last, err == nil
}

// nothingThere reports whether the DR node is known to have no data directory.
func nothingThere(s *session, dr cluster.NodeName) bool {
	last, known := lastSighting(s, dr)
	return known && last.Role == standby.RoleEmpty
}

func (l sighting) String() string {
	when := fmt.Sprintf("%s, %s ago", l.At.Format("2006-01-02 15:04:05 MST"), time.Since(l.At).Round(time.Second))
	if l.Role == standby.RoleEmpty {
		return fmt.Sprintf("it was last seen from here without a data directory (%s)", when)
	}
	return fmt.Sprintf("it was last seen from here as a %s on timeline %d (%s)", l.Role, l.Timeline, when)
}

// unaskedDR decides about a promotion beside a DR node that cannot be asked.
//
// That it was a standby when it was last seen proves nothing: it is promoted
// exactly when this node and its partner are away, and then no fence and no
// history of it arrives here. So the promotion goes on by itself only where
// there is nothing on the DR node to promote (a base copy is made through the
// standby, which then sees it), or where a switchover takes over from a primary
// that it has seen running itself: if the DR node is a primary too, it was that
// before, and there is one primary beside it as before.
func unaskedDR(ctx context.Context, s *session, dr cluster.NodeName, unreachable error, o checkRivalsOptions) error {
	last, known := lastSighting(s, dr)
	about := "it was never seen from here"
	if known {
		about = last.String()
	}
	switch {
	case nothingThere(s, dr), o.Handover:
		say(ctx, s, "%s cannot be asked (%s); %s", dr, oneLine(unreachable), about)
		return nil
	case o.AcceptSplit:
		say(ctx, s, "RISK: %s cannot be reached (%s). If it was promoted, two primaries accept writes from now on; %s.", dr, oneLine(unreachable), about)
		return nil
	}
	return hint.Wrap(fmt.Errorf("%s, the DR node, cannot be asked whether it was promoted: %w; %s", dr, unreachable, about),
		"find out that %s is no primary, then repeat with --accept-split; if it is one, it stays the primary, and warmrun status there says how to go back", dr)
}
