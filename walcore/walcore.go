// Package walcore knows PostgreSQL's write-ahead log as files: the names of
// segments, log sequence numbers, timelines, page headers and records,
// pg_control, and the archive directory in which shipped WAL waits to be
// replayed. It archives, restores and waits the way a server's
// archive_command and restore_command need it.
//
// Terms, as PostgreSQL uses them:
//
//   - LSN: a byte position in the WAL of a cluster, printed as C/99000020.
//   - segment: one file of WAL, 16 MB unless initdb was told otherwise.
//   - timeline: one history of the cluster; promoting a standby starts a new
//     one, and a .history file says where it forked off the old one.
//   - archive: the directory that holds the segments shipped to a node.
//
// The package runs no SQL, opens no network connection and holds no Lua.
package walcore
