package ship

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
	"github.com/warmrun/warmrun/walcore/storetest"
)

// site is a primary with its own archive and the archives of the nodes that it
// ships to.
type site struct {
	*testing.T
	own      *walcore.Archive
	archives map[cluster.NodeName]*walcore.Archive
	down     map[cluster.NodeName]bool
	walDir   string
	out      bytes.Buffer
}

func newSite(t *testing.T) *site {
	s := &site{T: t, own: newArchive(t), archives: map[cluster.NodeName]*walcore.Archive{}, down: map[cluster.NodeName]bool{}, walDir: t.TempDir()}
	for _, name := range []cluster.NodeName{"db1", "db2", "dr1"} {
		s.archives[name] = newArchive(t)
	}
	return s
}

func (s *site) destination(name cluster.NodeName) Destination {
	role := cluster.RolePair
	if strings.HasPrefix(string(name), "dr") {
		role = cluster.RoleDR
	}
	dial := inProcess(s.T, AgentConfig{Archive: s.archives[name].Dir()})
	return Destination{Node: name, Role: role, Where: string(name) + ":/data/archive", Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
		if s.down[name] {
			return nil, fmt.Errorf("connect to %s: connection refused", name)
		}
		return dial(ctx)
	}}
}

func (s *site) archive(require cluster.Require, active bool, name walcore.FileName, data []byte, to ...cluster.NodeName) error {
	s.Helper()
	s.out.Reset()
	r := ArchiveRequest{
		Path: writeFile(s.T, filepath.Join(s.walDir, string(name)), data), Name: name, Active: active,
		Require: require, Own: s.own, Out: &s.out,
	}
	for _, node := range to {
		r.Destinations = append(r.Destinations, s.destination(node))
	}
	return Archive(s.Context(), r)
}

func TestArchivePolicy(t *testing.T) {
	tests := []struct {
		require cluster.Require
		to      string
		down    string
		ok      bool
		got     string // who has it afterwards
	}{
		{"", "db2 dr1", "", true, "db2"},
		{cluster.RequireStandby, "db2 dr1", "", true, "db2"},
		{cluster.RequireStandby, "db2 dr1", "dr1", true, "db2"},
		{cluster.RequireStandby, "db2 dr1", "db2", false, "dr1"},
		{cluster.RequireStandby, "db2 dr1", "db2 dr1", false, ""},
		{cluster.RequireStandby, "db2", "db2", false, ""},
		{cluster.RequireStandby, "dr1", "", true, "dr1"},
		{cluster.RequireStandby, "dr1", "dr1", false, ""},
		{cluster.RequireAll, "db2 dr1", "", true, "db2 dr1"},
		{cluster.RequireAll, "db2 dr1", "dr1", false, "db2"},
		{cluster.RequireAll, "db2 dr1", "db2", false, "dr1"},
		{cluster.RequireAny, "db2 dr1", "", true, "db2"},
		{cluster.RequireAny, "db2 dr1", "db2", true, "dr1"},
		{cluster.RequireAny, "db2 dr1", "db2 dr1", false, ""},
		// The DR node is the primary: the first node of the pair is its standby.
		{"", "db1 db2", "", true, "db1"},
		{cluster.RequireStandby, "db1 db2", "db2", true, "db1"},
		{cluster.RequireStandby, "db1 db2", "db1", false, "db2"},
		{cluster.RequireStandby, "db1 db2", "db1 db2", false, ""},
		{cluster.RequireAll, "db1 db2", "", true, "db1 db2"},
		{cluster.RequireAll, "db1 db2", "db2", false, "db1"},
		{cluster.RequireAny, "db1 db2", "db1", true, "db2"},
		{cluster.RequireAny, "db1 db2", "db2", true, "db1"},
		{"most", "db2", "", false, ""},
		{"", "", "", false, ""},
	}
	data := segment(storetest.Segment{Name: seg4})
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s, to %s, down %s", tt.require, tt.to, tt.down), func(t *testing.T) {
			s := newSite(t)
			var to []cluster.NodeName
			for _, node := range strings.Fields(tt.to) {
				to = append(to, cluster.NodeName(node))
			}
			for _, node := range strings.Fields(tt.down) {
				s.down[cluster.NodeName(node)] = true
			}
			err := s.archive(tt.require, true, walcore.FileName(seg4), data, to...)
			if (err == nil) != tt.ok {
				t.Errorf("got error %v, want success=%v", err, tt.ok)
			}
			var got []string
			for _, node := range to {
				if listed(t, s.archives[node]) == string(seg4) {
					got = append(got, string(node))
				}
			}
			if strings.Join(got, " ") != tt.got {
				t.Errorf("got it on %q, want %q", got, tt.got)
			}
		})
	}
}

func TestArchiveMessages(t *testing.T) {
	data := segment(storetest.Segment{Name: seg4})
	s := newSite(t)
	s.down["db2"] = true
	err := s.archive("", true, walcore.FileName(seg4), data, "db2", "dr1")
	want := "could not ship 000000010000000000000004 to standby db2 (db2:/data/archive): connect to db2: connection refused;" +
		" it is on DR node dr1 (dr1:/data/archive); it stays in pg_wal and the server will try again"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	s.down["dr1"] = true
	err = s.archive("", true, walcore.FileName(seg4), data, "db2", "dr1")
	want = "could not ship 000000010000000000000004 to standby db2 (db2:/data/archive): connect to db2: connection refused," +
		" nor to DR node dr1 (dr1:/data/archive): connect to dr1: connection refused; it stays in pg_wal and the server will try again"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	s.down["dr1"] = false
	err = s.archive(cluster.RequireAny, true, walcore.FileName(seg4), data, "db2", "dr1")
	want = "warning: 000000010000000000000004 is not on standby db2 (db2:/data/archive): connect to db2: connection refused\n"
	if err != nil || s.out.String() != want {
		t.Errorf("got %v, %q, want %q", err, s.out.String(), want)
	}
	err = s.archive("", true, walcore.FileName(seg4), data)
	if err == nil || hint.Of(err) == "" {
		t.Errorf("without destinations: got %v, hint %q, want both", err, hint.Of(err))
	}
}

func TestArchiveRefused(t *testing.T) {
	for _, require := range []cluster.Require{cluster.RequireStandby, cluster.RequireAll, cluster.RequireAny} {
		s := newSite(t)
		if err := s.archives["db2"].RaiseFence(walcore.Cut{Timeline: 1, LSN: seg4.Start(storetest.Small), By: "db2"}); err != nil {
			t.Fatal(err)
		}
		err := s.archive(require, true, walcore.FileName(seg4), segment(storetest.Segment{Name: seg4}), "db2", "dr1")
		var refused *walcore.RefusedError
		if !errors.As(err, &refused) || refused.Reason != walcore.ReasonFenced || hint.Of(err) != refused.Remedy {
			t.Errorf("%s: got %v, want it refused with its remedy", require, err)
		}
		if got := listed(t, s.archives["dr1"]); got != "" && require != cluster.RequireAll {
			t.Errorf("%s: a superseded server's segment went to the DR node: %s", require, got)
		}
	}
}

func TestArchiveNotActive(t *testing.T) {
	s := newSite(t)
	err := s.archive("", false, walcore.FileName(seg1), segment(storetest.Segment{Name: seg1}), "db2", "dr1")
	path := filepath.Join(s.walDir, string(seg1))
	want := "Archiving not active: ignoring " + path + ".\nWould normally save to db2:/data/archive/000000010000000000000001.\n"
	if err != nil || s.out.String() != want {
		t.Errorf("got %v, %q, want %q", err, s.out.String(), want)
	}
	if got := listed(t, s.archives["db2"]) + listed(t, s.own); got != "" {
		t.Errorf("got %s stored, want nothing", got)
	}
	history := []byte("1\t0/180000\tx\n")
	if err := s.archive("", false, tli2, history, "db2"); err != nil {
		t.Fatal(err)
	}
	if got := listed(t, s.own); got != string(tli2) {
		t.Errorf("a history: got %q in the own archive, want it there", got)
	}
	if err := s.archive("", false, tli2, []byte("1\t0/190000\tx\n"), "db2"); err == nil {
		t.Error("another history of that name: got no error")
	}
	s.own = nil
	if err := s.archive("", false, tli2, history, "db2"); err == nil || hint.Of(err) == "" {
		t.Errorf("a history with no place to keep it: got %v", err)
	}
}

// TestArchiveSendsHistoriesFirst: a node that was down when the histories were
// archived gets them before the first segment of the new timeline.
func TestArchiveSendsHistoriesFirst(t *testing.T) {
	s := newSite(t)
	two, three := []byte("1\t0/180000\tx\n"), []byte("1\t0/180000\tx\n2\t0/280000\tx\n")
	if err := s.archive("", true, tli2, two, "db2"); err != nil {
		t.Fatal(err)
	}
	s.down["db2"] = true
	if err := s.archive("", true, "00000003.history", three, "db2"); err == nil {
		t.Fatal("with the standby down: got no error")
	}
	if got := listed(t, s.own); got != join("00000002.history", "00000003.history") {
		t.Fatalf("got %s in the own archive, want both histories", got)
	}
	s.down["db2"] = false
	name := seg3.OnTimeline(3)
	for _, node := range []cluster.NodeName{"db2", "dr1"} {
		if err := s.archive("", true, walcore.FileName(name), segment(storetest.Segment{Name: name}), node); err != nil {
			t.Fatal(err)
		}
		if got, want := listed(t, s.archives[node]), join("00000002.history", "00000003.history", string(name)); got != want {
			t.Errorf("%s: got %s, want %s", node, got, want)
		}
	}
	// Not in the own archive, but still in pg_wal.
	s.own, s.archives["db2"] = newArchive(t), newArchive(t)
	if err := s.archive("", true, walcore.FileName(name), segment(storetest.Segment{Name: name}), "db2"); err != nil {
		t.Fatal(err)
	}
	if got, want := listed(t, s.archives["db2"]), join("00000002.history", "00000003.history", string(name)); got != want {
		t.Errorf("from pg_wal: got %s, want %s", got, want)
	}
}

func TestArchiveTo(t *testing.T) {
	a := newArchive(t)
	path := writeFile(t, filepath.Join(t.TempDir(), "x"), segment(storetest.Segment{Name: seg1}))
	for range 2 {
		if err := ArchiveTo(t.Context(), a.Dir(), path, walcore.FileName(seg1), ""); err != nil {
			t.Fatal(err)
		}
	}
	if got := listed(t, a); got != string(seg1) {
		t.Errorf("got %q, want %s", got, seg1)
	}
	if err := ArchiveTo(t.Context(), a.Dir()+"x", path, walcore.FileName(seg1), ""); !errors.Is(err, walcore.ErrNoArchive) {
		t.Errorf("got %v, want ErrNoArchive", err)
	}
	if err := ArchiveTo(t.Context(), a.Dir(), path, walcore.FileName(seg2), ""); err == nil {
		t.Error("under another name: got no error")
	}
}
