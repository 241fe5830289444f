package ship

import (
	"os"
	"slices"
	"strings"
	"time"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// ShipperStatus is what a shipper says of itself.
type ShipperStatus struct {
	PID     int          `json:"pid"`
	DataDir string       `json:"pgdata"`
	Program string       `json:"program"`
	Started time.Time    `json:"started"`
	Calls   int64        `json:"calls"`
	Links   []LinkStatus `json:"destinations"`
}

// LinkStatus is the state of the connection to one destination.
type LinkStatus struct {
	Node cluster.NodeName `json:"node"`
	// Where is its host and archive.
	Where string `json:"where"`
	// Connected is since when it is; zero for no connection.
	Connected time.Time `json:"connected,omitzero"`
	// Trouble is why there is none, and Again when it is tried again at the
	// earliest.
	Trouble string    `json:"trouble,omitempty"`
	Hint    string    `json:"hint,omitempty"`
	Again   time.Time `json:"again,omitzero"`
	// OnTheWay are the files that are being sent.
	OnTheWay []walcore.FileName `json:"on_the_way"`
	LinkCounts
}

func (s *Shipper) status() ShipperStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := ShipperStatus{
		PID: os.Getpid(), DataDir: s.cfg.Place.DataDir, Program: s.cfg.Program, Started: s.started, Calls: s.calls,
		Links: []LinkStatus{},
	}
	for _, l := range s.links {
		status.Links = append(status.Links, l.status())
	}
	slices.SortFunc(status.Links, func(a, b LinkStatus) int { return strings.Compare(string(a.Node), string(b.Node)) })
	return status
}

func (l *link) status() LinkStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	status := LinkStatus{Node: l.dest.Node, Where: l.dest.Where, LinkCounts: l.counts, OnTheWay: []walcore.FileName{}}
	if l.client != nil && !l.client.lost() {
		status.Connected = l.connected
	}
	if why := l.pause.why; why != nil {
		status.Trouble, status.Hint, status.Again = why.Error(), hint.Of(why), l.pause.until
	}
	for name, j := range l.jobs {
		select {
		case <-j.done:
		default:
			status.OnTheWay = append(status.OnTheWay, name)
		}
	}
	slices.Sort(status.OnTheWay)
	return status
}
