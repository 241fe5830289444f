package psql

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/warmrun/warmrun/walcore/hint"
)

// SQLSTATEs that tell why a server lets nobody in (errcodes.txt).
const (
	stateCannotConnectNow   = "57P03"
	stateTooManyConnections = "53300"
	stateInvalidPassword    = "28P01"
	stateInvalidAuth        = "28000"
	stateNoDatabase         = "3D000"
	stateWrongMoment        = "55000" // object_not_in_prerequisite_state
	stateInternalError      = "XX000"
)

// NotRunning reports whether err means that no server is there to connect to:
// the socket is missing or nobody listens on it. A server that is there and
// does not let anybody in yet is StartingUp, and a node that cannot be reached
// is neither.
func NotRunning(err error) bool {
	var connect *connectError
	return errors.As(err, &connect) && connect.absent
}

// StartingUp reports whether err means that the server is there and will let
// sessions in later: it starts, recovers, or is a hot standby that is not yet
// consistent. A server that shuts down gives the same SQLSTATE and counts as
// well.
func StartingUp(err error) bool {
	return sqlState(err) == stateCannotConnectNow && !NoHotStandby(err)
}

// NoHotStandby reports whether err means that the server is a standby with
// hot_standby off, which lets nobody in before it is promoted. Servers before
// 14, and those that speak another language, do not tell that from a start.
func NoHotStandby(err error) bool {
	var server *pgconn.PgError
	return errors.As(err, &server) && server.Code == stateCannotConnectNow && strings.Contains(server.Detail, "Hot standby mode is disabled")
}

// LoginRefused reports whether err means that the server is up but does not
// let this user in: authentication failed, or the user or database does not
// exist.
func LoginRefused(err error) bool {
	switch sqlState(err) {
	case stateInvalidPassword, stateInvalidAuth, stateNoDatabase:
		return true
	}
	return false
}

// Disconnected reports whether err means that a session has ended under a
// statement: the server was stopped or crashed, or the connection broke.
// Whether the statement was carried out is not known.
func Disconnected(err error) bool {
	var lost *lostError
	return errors.As(err, &lost)
}

// lostError is a statement whose session has ended under it.
type lostError struct{ error }

func (e *lostError) Unwrap() error { return e.error }

func sqlState(err error) string {
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return server.Code
	}
	return ""
}

// connectError is a session that could not be opened.
type connectError struct {
	text   string
	err    error
	absent bool // there is no server
}

func (e *connectError) Error() string { return e.text + ": " + e.err.Error() }
func (e *connectError) Unwrap() error { return e.err }

// dialError is what opening the socket gave, so that it is found again in what
// pgx makes of it. pgx dials for cancel requests as well, in goroutines of its
// own, and several at once.
type dialError struct{ error }

func (e *dialError) Unwrap() error { return e.error }

// explain makes one line and a hint of a failed attempt.
func (t Target) explain(ctx context.Context, err error) error {
	var server *pgconn.PgError
	var dialed *dialError
	var op *net.OpError
	cause := err
	switch {
	case ctx.Err() != nil:
		cause = context.Cause(ctx)
	case errors.As(err, &server):
		cause = server
	case !errors.As(err, &dialed):
	case errors.As(dialed.error, &op) && (op.Net == "unix" || t.Host != ""):
		cause = op.Err // the rest of it names the socket once more
	default:
		cause = dialed.error
	}
	e := &connectError{text: fmt.Sprintf("connect to the server at %s as %s", t.where(), t.User), err: cause}
	// A refused connection to sshd, on the way to the node, does not tell
	// about the server.
	onTheWay := t.Host == "" && errors.As(cause, &op)
	e.absent = !onTheWay && (errors.Is(cause, syscall.ENOENT) || errors.Is(cause, syscall.ECONNREFUSED))
	if hint.Of(cause) != "" {
		return e // it stays the hint of what it is wrapped in
	}
	return hint.Wrap(e, "%s", t.advice(e, cause))
}

// advice is what to do about a failed attempt; it may be empty.
func (t Target) advice(e *connectError, cause error) string {
	switch {
	case e.absent && errors.Is(cause, syscall.ENOENT):
		return fmt.Sprintf("there is no such socket: the server is not running, or its port is not %d, or unix_socket_directories names another directory than %s", t.Port, t.SocketDir)
	case e.absent:
		return "nobody listens there: the server is not running (a socket that a crashed server has left behind does no harm)"
	case errors.Is(cause, syscall.EACCES):
		return "this user may not open the socket: see unix_socket_permissions and the mode of its directory"
	case NoHotStandby(cause):
		return "the standby runs with hot_standby off: it answers after a promotion, or once hot_standby is on"
	}
	switch sqlState(cause) {
	case stateCannotConnectNow:
		return "the server lets nobody in yet: wait, and see its log for how far it is"
	case stateInvalidAuth, stateInvalidPassword:
		return `let the operating system's user in by a line "local all all peer" in pg_hba.conf, and set user for the node in cluster.toml where the database user has another name`
	case stateNoDatabase:
		return "set database for the node in cluster.toml to one that exists"
	case stateTooManyConnections:
		return "every connection is taken: see max_connections and pg_stat_activity"
	}
	return ""
}
