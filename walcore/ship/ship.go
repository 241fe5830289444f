// Package ship sends WAL to the archives of other nodes.
//
// Terms:
//
//   - agent: the program at the destination, started over ssh, that alone
//     writes to the archive there. Serve is all of it.
//   - client: this end of a connection to an agent.
//   - destination: a node whose archive this server's WAL goes to: the standby
//     of the pair, or the disaster recovery (DR) node.
//   - relay: sending on what an archive has received, from the standby to the
//     DR node.
//   - watermark: how far the DR node holds everything without a gap; the
//     standby keeps what lies beyond it.
//
// Success always means that the file is in the destination's archive under its
// final name, and that the file and its directory have been flushed to disk
// there. Nothing is ever queued.
//
// The protocol is one of requests and replies in frames: length, type and a
// CRC-32C, then at most a megabyte of payload. Either side begins with a line
// of its own, so that the output of a shell start-up file is recognised for
// what it is, and with its version.
package ship

import (
	"context"
	"io"
)

// Dialer starts an agent at a destination and returns its standard input and
// output as one stream. Closing the stream ends the agent; what Close returns
// is how the agent ended.
type Dialer func(ctx context.Context) (io.ReadWriteCloser, error)
