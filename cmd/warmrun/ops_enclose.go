package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/warmrun/warmrun/builtins/standby"
	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// encloseOptions are those of the fence of a failover.
type encloseOptions struct {
	By   string `json:"by"`
	Fast bool   `json:"fast"` // what is archived and not replayed is given up too
}

// encloseTries is how often the fence is moved: a primary that ships through one
// archive alone does not fill a segment each time.
const encloseTries = 5

func encloseOperation() operation {
	return here("fence", "enclose", engine.Change, "write a fence into every archive that can be reached, behind all WAL that they have", []string{"node"}, func(s *session) any {
		return func(ctx context.Context, node string, o encloseOptions) (walcore.Cut, error) {
			return enclose(ctx, s, cluster.NodeName(node), o)
		}
	})
}

// enclose raises the fence where the WAL of the node to be promoted ends. An old
// primary that cannot be asked may live, and have shipped on to another archive until
// that was fenced. What came there meanwhile is fetched and the fence is moved behind
// it: else that archive would hold WAL that is on no history.
func enclose(ctx context.Context, s *session, promoted cluster.NodeName, o encloseOptions) (walcore.Cut, error) {
	for range encloseTries {
		end, err := callOn(ctx, s, promoted, "standby.recovery_end", recoveryEndOptions{Fast: o.Fast}, recoveryEnd)
		if err != nil {
			return walcore.Cut{}, err
		}
		fence := fenceOptions{Timeline: end.Timeline, LSN: end.Cut, By: o.By}
		cut, err := raiseFence(ctx, s, promoted, fence)
		if err != nil {
			return cut, err
		}
		ahead := archivesPast(ctx, s, promoted, cut)
		if len(ahead) == 0 {
			return cut, nil
		}
		for _, name := range ahead {
			say(ctx, s, "WAL past %s has come to the archive on %s meanwhile: it is fetched, and the fence is moved behind it", cut.LSN, name)
		}
		if err := lowerFence(ctx, s, promoted, fence); err != nil {
			return cut, err
		}
		if _, err := collect(ctx, s, promoted); err != nil {
			return cut, err
		}
	}
	return walcore.Cut{}, hint.Wrap(fmt.Errorf("WAL still comes to other archives as fast as it is fetched to %s", promoted),
		"nobody was promoted; end the old primary, or its way to these archives, and repeat")
}

// archivesPast are the nodes that can be reached and whose archives go past the cut.
// Where every other node of the pair answers, nobody ships.
func archivesPast(ctx context.Context, s *session, promoted cluster.NodeName, cut walcore.Cut) (ahead []cluster.NodeName) {
	others := slices.DeleteFunc(slices.Clone(s.site.Nodes), func(n cluster.Node) bool { return n.Name == promoted })
	looks := askAll(others, func(n cluster.Node) (standby.State, error) { return stateOf(ctx, s, n.Name) })
	silent := false
	for i, n := range others {
		silent = silent || looks[i].err != nil && n.Role == cluster.RolePair
	}
	if !silent {
		return nil
	}
	for i, n := range others {
		if looks[i].err != nil {
			continue
		}
		if chain, err := chainOf(ctx, s, n.Name); err == nil && chain.Timeline == cut.Timeline && chain.End > cut.LSN {
			ahead = append(ahead, n.Name)
		}
	}
	return ahead
}
