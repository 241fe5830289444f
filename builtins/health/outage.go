package health

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// Outage is what the death of the primary would cost at this moment, as far as
// it was measured.
type Outage struct {
	Primary cluster.NodeName `json:"primary"`
	// LostBytes is the WAL that only the primary has, LostSeconds the time before
	// now in which what is lost was committed, at most. Both are about a host that
	// is gone: where its pg_wal can still be read, nothing is lost.
	LostBytes   *int64   `json:"lost_bytes,omitempty"`
	LostSeconds *float64 `json:"lost_seconds_at_most,omitempty"`
	// SavedOn is the node that has the most of its WAL, and SavedTo where that ends.
	SavedOn cluster.NodeName `json:"saved_on,omitempty"`
	SavedTo walcore.LSN      `json:"saved_to,omitzero"`

	// Heir is the node that would be promoted, ReplayBytes what it has to replay
	// first, and PromotionSeconds about how long both take. Where no promotion of it
	// is on record, the last one of another node stands for it: PromotionOf names
	// that.
	Heir             cluster.NodeName `json:"heir,omitempty"`
	ReplayBytes      *int64           `json:"replay_bytes,omitempty"`
	PromotionSeconds *float64         `json:"promotion_seconds,omitempty"`
	PromotionOf      cluster.NodeName `json:"promotion_of,omitempty"`

	// Unknown maps the JSON name of a field to why it is not known.
	Unknown map[string]string `json:"unknown,omitempty"`
}

// outageOf measures what the death of the primary would cost.
func (c *ClusterStatus) outageOf(primary *NodeStatus) *Outage {
	if primary == nil || len(c.Nodes) < 2 {
		return nil
	}
	o := &Outage{Primary: primary.Node}
	o.loss(c, *primary)
	o.takeover(c, *primary)
	return o
}

func (o *Outage) unknown(err error, field string) {
	if o.Unknown == nil {
		o.Unknown = map[string]string{}
	}
	o.Unknown[field] = err.Error()
}

// saved is the end of the WAL that a node could recover to by itself.
func (n NodeStatus) saved(primary NodeStatus) walcore.LSN {
	if n.Node == primary.Node || n.Diverged != "" || n.silent() || n.SystemID != 0 && n.SystemID != primary.SystemID {
		return 0
	}
	if n.follows() || n.Role == RoleRelay {
		return max(n.ReceivedLSN, n.ReplayedLSN, n.StreamedLSN)
	}
	return 0
}

func (o *Outage) loss(c *ClusterStatus, primary NodeStatus) {
	var silent []string
	for _, n := range c.Nodes {
		if at := n.saved(primary); at > o.SavedTo {
			o.SavedOn, o.SavedTo = n.Node, at
		}
		if n.silent() {
			silent = append(silent, string(n.Node))
		}
	}
	switch {
	case primary.CurrentLSN == 0:
		o.unknown(fmt.Errorf("where the WAL of %s ends is not known", primary.Node), "lost_bytes")
		return
	case o.SavedTo == 0 && len(silent) > 0:
		o.unknown(fmt.Errorf("%s cannot be asked what it has", strings.Join(silent, " and ")), "lost_bytes")
		return
	case o.SavedTo == 0:
		o.unknown(errors.New("no other node has any of its WAL: all would be lost"), "lost_bytes")
		return
	}
	lost := int64(0)
	if primary.CurrentLSN > o.SavedTo {
		lost = int64(primary.CurrentLSN - o.SavedTo)
	}
	o.LostBytes = &lost
	o.lossInTime(c, primary)
}

// lossInTime bounds when the commits were made that would be lost. Those before
// the last one replayed on a node are safe, and so are those made before the
// last segment that is saved was full.
func (o *Outage) lossInTime(c *ClusterStatus, primary NodeStatus) {
	if *o.LostBytes == 0 {
		o.LostSeconds = new(float64)
		return
	}
	var safe time.Time
	if primary.ArchivedTo != 0 && o.SavedTo >= primary.ArchivedTo {
		safe = primary.ArchivedUntil
	}
	for _, n := range c.Nodes {
		if n.saved(primary) > 0 && n.ReplayedAt.After(safe) {
			safe = n.ReplayedAt
		}
	}
	if safe.IsZero() || primary.At.IsZero() {
		o.unknown(errors.New("neither a commit that was replayed nor a segment that was archived tells the time"), "lost_seconds_at_most")
		return
	}
	seconds := max(0, primary.At.Sub(safe).Round(100*time.Millisecond).Seconds())
	o.LostSeconds = &seconds
}

// takeover measures how long the promotion of the next primary would take: the
// replay of what it has not replayed yet, and the promotion itself, as long as
// the last one took, its own before any other's.
func (o *Outage) takeover(c *ClusterStatus, primary NodeStatus) {
	var heir *NodeStatus
	name := c.heir()
	for i := range c.Nodes {
		if n := &c.Nodes[i]; n.Node == name && n.Node != primary.Node && n.Diverged == "" {
			heir = n
		}
	}
	if heir == nil {
		o.unknown(errors.New("no node can take over"), "promotion_seconds")
		return
	}
	o.Heir = heir.Node
	if heir.Role != RoleStandby {
		o.unknown(fmt.Errorf("no server runs on %s: its start and what it has to replay come first", heir.Node), "promotion_seconds")
		return
	}
	if heir.ReplayedLSN == 0 || heir.Unknown["replayed_lsn"] != "" {
		o.unknown(fmt.Errorf("how far %s has replayed is not known exactly", heir.Node), "promotion_seconds")
		return
	}
	left := int64(0)
	if end := heir.saved(primary); end > heir.ReplayedLSN {
		left = int64(end - heir.ReplayedLSN)
	}
	o.ReplayBytes = &left
	o.promotion(c, *heir, left)
}

func (o *Outage) promotion(c *ClusterStatus, heir NodeStatus, left int64) {
	size := heir.SegmentSize
	last := heir.Promotion
	if last == nil {
		last, o.PromotionOf = c.lastPromotion()
	}
	switch {
	case last == nil:
		o.unknown(fmt.Errorf("no promotion of %s is on record", heir.Node), "promotion_seconds")
		return
	case left > 0 && (heir.ReplayPace == 0 || size == 0):
		o.unknown(fmt.Errorf("how fast %s replays has not been seen yet", heir.Node), "promotion_seconds")
		return
	}
	seconds := last.Seconds
	if left > 0 {
		seconds += heir.ReplayPace * float64(left) / float64(size)
	}
	o.PromotionSeconds = &seconds
}

// lastPromotion is the last one that any node of the pair has measured of itself.
func (c *ClusterStatus) lastPromotion() (last *Promotion, of cluster.NodeName) {
	for _, n := range c.Nodes {
		if n.Place == cluster.RolePair && n.Promotion != nil && (last == nil || n.Promotion.At.After(last.At)) {
			last, of = n.Promotion, n.Node
		}
	}
	return last, of
}

// String is the outage in one line.
func (o Outage) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "if %s dies now: ", o.Primary)
	switch {
	case o.LostBytes == nil:
		fmt.Fprintf(&b, "what is lost is unknown: %s", o.Unknown["lost_bytes"])
	case *o.LostBytes == 0:
		fmt.Fprintf(&b, "nothing is lost, %s has all of its WAL", o.SavedOn)
	default:
		fmt.Fprintf(&b, "%s of WAL are lost if its disk is gone too, ", bytesOf(*o.LostBytes))
		if o.LostSeconds == nil {
			b.WriteString("of how long a time is unknown")
		} else {
			fmt.Fprintf(&b, "the last %s at most", duration(time.Duration(*o.LostSeconds*float64(time.Second))))
		}
	}
	if o.Heir == "" {
		fmt.Fprintf(&b, "; %s", o.Unknown["promotion_seconds"])
		return b.String()
	}
	if o.PromotionSeconds == nil {
		fmt.Fprintf(&b, "; how long the promotion of %s takes is unknown: %s", o.Heir, o.Unknown["promotion_seconds"])
		return b.String()
	}
	fmt.Fprintf(&b, "; the promotion of %s takes about %s", o.Heir, seconds(max(*o.PromotionSeconds, 0.1)))
	if o.PromotionOf != "" {
		fmt.Fprintf(&b, ", as the last one of %s", o.PromotionOf)
	}
	if *o.ReplayBytes > 0 {
		fmt.Fprintf(&b, ", with %s to replay first", bytesOf(*o.ReplayBytes))
	}
	return b.String()
}

// seconds prints a short time span, and a long one as duration does.
func seconds(s float64) string {
	if s < 10 {
		return fmt.Sprintf("%.1f s", s)
	}
	return duration(time.Duration(s * float64(time.Second)))
}
