package tests

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/warmrun/warmrun/tests/cluster"
	"github.com/warmrun/warmrun/walcore"
	archivepolicy "github.com/warmrun/warmrun/walcore/cluster"
)

// TestActionTable walks through the rows of 2warm's action table that leave the
// primary what it is, for each policy of the site, while clients write.
func TestActionTable(t *testing.T) {
	t.Parallel()
	s := newShipping(t)
	s.noticeSoon()
	s.parts([]part{
		{"standby down: its server is stopped", s.standbyStopped},
		{"standby down: its link is cut", s.standbyCutOff},
		{"relay down", s.relayDown},
	})
}

const (
	standby = archivepolicy.RequireStandby
	all     = archivepolicy.RequireAll
	anyOne  = archivepolicy.RequireAny
)

// require gives every node's site a policy.
func (s *shipping) require(policy archivepolicy.Require) {
	s.Helper()
	for _, n := range s.Nodes() {
		path := n.Path(filepath.Join(n.Home, "global", "cluster.toml"))
		text, _, _ := strings.Cut(readFile(s.T, path), "\n[archive]\n")
		s.replace(path, fmt.Sprintf("%s\n[archive]\nrequire = '%s'\n", text, policy))
	}
}

// standbyStopped: its host is alive and takes WAL as ever, whatever the policy.
func (*shipping) standbyStopped(s *shipping) {
	s.DB2.StopServer("fast")
	for _, policy := range []archivepolicy.Require{standby, anyOne, all} {
		s.require(policy)
		name := s.segment(s.DB2)
		s.letGo(name)
		if got := s.has(s.DR, name); got != (policy == all) {
			s.Errorf("%s: the DR node has %s: %v", policy, name, got)
		}
	}
	if got := s.DB1.SQL("SELECT failed_count FROM pg_stat_archiver"); got != "0" {
		s.Errorf("%s archive calls failed, want 0: the standby's host was there", got)
	}
	s.DB2.StartServer()
	s.allThere()
}

// standbyCutOff: the DR node gets the WAL. Unless any one node is enough, the
// primary keeps it for the standby, which gets it in order when it is back;
// otherwise the standby fetches it from the DR node.
func (*shipping) standbyCutOff(s *shipping) {
	s.require(anyOne)
	s.DB1.CutLink(s.DB2)
	fetched := s.segment(s.DR)
	s.letGo(fetched)
	if line := s.said("warning: " + string(fetched) + " is not on standby db2"); !strings.Contains(line, "cannot reach") {
		s.Errorf("the server's log says %q, want also why", line)
	}

	s.require(standby)
	waiting := []walcore.SegmentName{s.held(s.DB2, s.DR)}
	for range 8 {
		waiting = append(waiting, s.switched())
	}
	s.archived(s.DR, waiting[len(waiting)-1]) // far more than is sent ahead
	s.require(all)
	waiting = append(waiting, s.held(s.DB2, s.DR))
	s.DB1.RestoreLink(s.DB2)
	for _, name := range waiting {
		s.archived(s.DB2, name)
		s.letGo(name)
	}
	s.inOrder(s.DB2, waiting)
	s.archived(s.DB2, fetched) // from the DR node
	s.allThere()
}

// relayDown: there is none, and nothing waits for it unless the policy says so.
func (*shipping) relayDown(s *shipping) {
	s.require(standby)
	s.DB1.CutLink(s.DR)
	for _, policy := range []archivepolicy.Require{standby, anyOne} {
		s.require(policy)
		s.letGo(s.segment(s.DB2))
	}
	s.require(all)
	name := s.held(s.DR, s.DB2)
	s.DB1.RestoreLink(s.DR)
	s.archived(s.DR, name)
	s.letGo(name)
	s.allThere()
}

// held ends a segment that cannot reach a node. The primary keeps it and says
// who lacks it, who has it, and what is next.
func (s *shipping) held(lacks, has *cluster.Node) walcore.SegmentName {
	s.Helper()
	s.listen()
	name := s.switched()
	s.archived(has, name)
	role := map[*cluster.Node]string{s.DB2: "standby db2", s.DR: "DR node dr"}
	line := s.said(" to " + role[lacks])
	first := notShipped(line)
	for _, want := range []string{lacks.Address, "cannot reach", "; it is on " + role[has], "; it stays in pg_wal and the server will try again"} {
		if !strings.Contains(line, want) {
			s.Errorf("the server's log says %q, want %q in it", line, want)
		}
	}
	if !s.waits(name) || s.has(lacks, name) {
		s.Errorf("%s waits on the primary: %v, is on %s: %v; want it kept for that one", name, s.waits(name), lacks.Name, s.has(lacks, name))
	}
	s.failedLast(first)
	return name
}

// inOrder: segments got their names in an archive in the order of their names.
// The kernel notes when a name was given as the time of the file's last change.
func (s *shipping) inOrder(n *cluster.Node, names []walcore.SegmentName) {
	s.Helper()
	var last time.Time
	for _, name := range names {
		info, err := os.Stat(n.Path(filepath.Join(n.Archive(), string(name))))
		if err != nil {
			s.Fatal(err)
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			s.Fatal(errors.ErrUnsupported)
		}
		changed := time.Unix(stat.Ctim.Unix())
		if changed.Before(last) {
			s.Errorf("%s came at %s, before the segment before it, which came at %s", name, changed, last)
		}
		last = changed
	}
}
