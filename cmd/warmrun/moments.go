package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/warmrun/warmrun/walcore/cluster"
)

// moments are when this node's server was last stopped and promoted by this
// program, by the node's clock. They are kept for the certificate of the run that
// is under way and for status, which can do without, and so need not outlive a
// crash.
type moments struct {
	// StopAsked is when the stop that ended the clients' sessions was asked for.
	StopAsked time.Time `json:"stop_asked,omitzero"`
	Stopped   time.Time `json:"stopped,omitzero"`
	// PromotionAsked is when the promotion was asked for, Opened when the server
	// was first seen to accept writes.
	PromotionAsked time.Time `json:"promotion_asked,omitzero"`
	Opened         time.Time `json:"opened,omitzero"`
	// Now is the node's clock at the time of the answer.
	Now time.Time `json:"now"`
}

func readMoments(site *cluster.Site) (moments, error) {
	var m moments
	text, err := os.ReadFile(site.Local("moments"))
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	m.Now = time.Now().UTC()
	return m, err
}

// noteMoments changes what is noted. A disk that is full keeps nobody from
// stopping or promoting a server.
func noteMoments(site *cluster.Site, change func(*moments)) {
	m, err := readMoments(site)
	if err != nil {
		m = moments{}
	}
	change(&m)
	if text, err := json.Marshal(m); err == nil {
		_ = os.WriteFile(site.Local("moments"), text, 0o644)
	}
}
