package main

import (
	"context"
	"fmt"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// Replication slots, where cluster.toml asks for them.

type slotOptions struct {
	Standby cluster.NodeName `json:"standby"`
	// Drop it: nobody uses it any more, and it would keep WAL for ever.
	Drop bool `json:"drop"`
}

func slotOperations() []operation {
	return []operation{
		onNode("standby", "slot", engine.Change, "make or drop the replication slot of another node on this one's server, where the site has slots", keepSlot),
	}
}

// keepSlot does nothing where the site wants no slots, or where it is so already.
// The slot reserves nothing before its standby comes: until then the archive has
// what that needs.
func keepSlot(ctx context.Context, s *session, o slotOptions) (none, error) {
	name := s.site.SlotOf(o.Standby)
	if name == "" {
		return none{}, nil
	}
	conn, err := s.sql(ctx, s.site.Self.Name)
	if err != nil {
		return none{}, err
	}
	defer conn.Close(ctx)
	sql := "SELECT pg_create_physical_replication_slot($1) WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1)"
	if o.Drop {
		sql = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1 AND NOT active"
	}
	if _, err := conn.Query(ctx, sql, name); err != nil {
		return none{}, fmt.Errorf("replication slot %s on %s: %w", name, s.site.Self.Name, err)
	}
	return none{}, nil
}
