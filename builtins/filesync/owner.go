package filesync

import (
	"os/user"
	"strconv"
)

// owners turns user and group numbers into names and back, and remembers them.
// Nodes of one site often number the same user differently, so names are what
// is carried over. It is not safe for several goroutines.
type owners struct {
	users, groups     map[uint32]string
	userIDs, groupIDs map[string]uint32
}

func newOwners() *owners {
	return &owners{
		users: map[uint32]string{}, groups: map[uint32]string{},
		userIDs: map[string]uint32{}, groupIDs: map[string]uint32{},
	}
}

// name fills in the names of an entry's owner. A number without a name leaves
// the name empty.
func (o *owners) name(e *Entry) {
	e.User = lookup(o.users, e.UID, func(id uint32) string {
		if u, err := user.LookupId(strconv.FormatUint(uint64(id), 10)); err == nil {
			return u.Username
		}
		return ""
	})
	e.Group = lookup(o.groups, e.GID, func(id uint32) string {
		if g, err := user.LookupGroupId(strconv.FormatUint(uint64(id), 10)); err == nil {
			return g.Name
		}
		return ""
	})
}

// ids is the owner that an entry from another node has here: by name where
// this node knows the name, else by number.
func (o *owners) ids(e Entry) (uid, gid int) {
	uid, gid = int(e.UID), int(e.GID)
	if e.User != "" {
		uid = int(lookup(o.userIDs, e.User, func(name string) uint32 {
			if u, err := user.Lookup(name); err == nil {
				return parseID(u.Uid, e.UID)
			}
			return e.UID
		}))
	}
	if e.Group != "" {
		gid = int(lookup(o.groupIDs, e.Group, func(name string) uint32 {
			if g, err := user.LookupGroup(name); err == nil {
				return parseID(g.Gid, e.GID)
			}
			return e.GID
		}))
	}
	return uid, gid
}

func lookup[K comparable, V any](cache map[K]V, key K, find func(K) V) V {
	if v, ok := cache[key]; ok {
		return v
	}
	v := find(key)
	cache[key] = v
	return v
}

func parseID(s string, fallback uint32) uint32 {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return fallback
	}
	return uint32(n)
}
