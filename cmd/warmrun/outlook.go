package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/warmrun/warmrun/walcore/cluster"
)

// outlook is what a new primary has to expect of its archiver.
type outlook struct {
	// Lost are the nodes that cannot be reached and that archive_command cannot
	// do without, Lines what that means and what to do, for people.
	Lost  []cluster.NodeName `json:"lost"`
	Lines []string           `json:"lines"`
}

// archiverOutlook asks every other node whether it is there, and says what the
// archive policy makes of those that are not. Until they are back their WAL
// waits in the primary's pg_wal, which is meant so, and may fill its disk.
func archiverOutlook(ctx context.Context, s *session, node cluster.NodeName) (outlook, error) {
	primary, err := s.site.Node(node)
	if err != nil {
		return outlook{}, err
	}
	reached := map[cluster.NodeName]bool{}
	for _, n := range s.site.Nodes {
		_, err := stateOf(ctx, s, n.Name)
		reached[n.Name] = err == nil
	}
	lost, others := needed(s.site, node, reached)
	result := outlook{Lost: lost, Lines: []string{}}
	if len(lost) == 0 {
		return result, nil
	}
	var names []string
	for _, name := range lost {
		names = append(names, string(name))
	}
	who := strings.Join(names, " and ")
	result.Lines = []string{
		fmt.Sprintf("Until %s can be reached again, archive_command on %s fails, as it should: WAL for it is kept in %s/pg_wal, which grows.", who, node, primary.PGData),
		fmt.Sprintf("See how much waits: warmrun status on %s, backlog.", node),
		fmt.Sprintf("If %s stays away, %s", who, dropping(s.site, node, others)),
	}
	return result, nil
}

// needed are the nodes out of reach without which the policy of a site fails a
// segment that the primary archives; others reports whether a node is left that
// could take it.
func needed(site *cluster.Site, primary cluster.NodeName, reached map[cluster.NodeName]bool) (lost []cluster.NodeName, others bool) {
	var pair, all []cluster.NodeName
	for _, n := range site.Nodes {
		if n.Name == primary {
			continue
		}
		others = others || reached[n.Name]
		if reached[n.Name] {
			continue
		}
		all = append(all, n.Name)
		if n.Role == cluster.RolePair {
			pair = append(pair, n.Name)
		}
	}
	switch {
	case site.Archiving.Require == cluster.RequireAll, !others:
		return all, others
	case site.Archiving.Require == cluster.RequireAny:
		return nil, others
	}
	return pair, others
}

// dropping says how a lost node is taken out of the policy.
func dropping(site *cluster.Site, primary cluster.NodeName, others bool) string {
	switch {
	case !others:
		return fmt.Sprintf("end shipping on %s: rm %s (WAL is acknowledged and dropped then, until copyToStandby)", primary, site.Local("replication", "archiving_active"))
	case site.Layout == cluster.Layout2warm:
		return fmt.Sprintf("empty %s on %s: the DR node is shipped to instead", site.Local("replication", "othernode"), primary)
	}
	return fmt.Sprintf("one destination can be made enough: in %s on %s set require = \"any\" below [archive], or take its [[node]] out", site.Global("cluster.toml"), primary)
}
