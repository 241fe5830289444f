package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/warmrun/warmrun/walcore/hint"
)

// Streaming is the streaming section of cluster.toml: standbys also receive WAL
// from the server that they follow, with the archive as the net below.
type Streaming struct {
	Enabled bool `toml:"enabled" json:"enabled,omitempty"`
	// Slots: the server that is followed keeps what a standby has not received,
	// by a replication slot with the standby's name.
	Slots bool `toml:"slots" json:"slots,omitempty"`
	// User is the database user for replication; empty means the followed node's
	// own user, else the operating system's.
	User string `toml:"user" json:"user,omitempty"`
	// Conninfo is added to primary_conninfo, as libpq reads it: passfile, sslmode.
	Conninfo string `toml:"conninfo" json:"conninfo,omitempty"`
}

func (s Streaming) check() error {
	if !s.Enabled && (s.Slots || s.User != "" || s.Conninfo != "") {
		return hint.Wrap(errors.New("streaming has settings and is not enabled"), "set enabled = true in [streaming], or leave the section out")
	}
	for _, word := range []string{"host=", "port=", "application_name="} {
		if strings.Contains(s.Conninfo, word) {
			return hint.Wrap(fmt.Errorf("streaming.conninfo has %s in it, which warmrun works out for each node", strings.TrimSuffix(word, "=")), "leave that word out; a node's stream_host says where its server listens")
		}
	}
	return nil
}

// Upstream is what primary_conninfo is on this node, or "" where it does not
// stream. A node of the pair follows its partner, whichever of the two is the
// primary; the DR node whichever of the pair it finds first, the standby where the
// server can tell (14 and later), and so needs no other setting after a
// switchover.
func (s *Site) Upstream(major int) string {
	if !s.Streaming.Enabled {
		return ""
	}
	var hosts, ports []string
	user := s.Streaming.User
	for _, n := range s.Nodes {
		if n.Name == s.Self.Name || n.Role != RolePair {
			continue
		}
		hosts, ports = append(hosts, cmp.Or(n.StreamHost, n.Host)), append(ports, strconv.Itoa(cmp.Or(n.Port, 5432)))
		user = cmp.Or(user, n.User)
	}
	if len(hosts) == 0 {
		return ""
	}
	words := []string{"host=" + strings.Join(hosts, ","), "port=" + strings.Join(ports, ","), "application_name=" + quoteConninfo(string(s.Self.Name))}
	if user != "" {
		words = append(words, "user="+quoteConninfo(user))
	}
	if len(hosts) > 1 && major >= 14 {
		words = append(words, "target_session_attrs=prefer-standby")
	}
	if s.Streaming.Conninfo != "" {
		words = append(words, s.Streaming.Conninfo)
	}
	return strings.Join(words, " ")
}

func quoteConninfo(value string) string {
	if strings.ContainsAny(value, ` '\`) {
		return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) + "'"
	}
	return value
}

// SlotOf is the name of the slot that a node of the pair uses as a standby, in the
// small letters, digits and underscores that slots may have; "" where the site
// wants none. The DR node has none: it may stream from either node of the pair, and
// on the other a slot would keep WAL for ever.
func (s *Site) SlotOf(name NodeName) string {
	node, err := s.Node(name)
	if err != nil || node.Role != RolePair || !s.Streaming.Enabled || !s.Streaming.Slots {
		return ""
	}
	return "warmrun_" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToLower(string(name)))
}
