// Package psql runs SQL on PostgreSQL servers, on this node or on another one
// through a tunnel to the server's unix socket. It is meant for 10 and later;
// servers before 10 are asked by the names that functions had then.
//
// Terms:
//
//   - socket directory: where the server has its unix socket, a file named
//     .s.PGSQL.PORT (unix_socket_directories in postgresql.conf).
//   - peer authentication: the server asks the operating system who is at the
//     other end of the socket, and lets that user in without a password. Over
//     a tunnel it is the user who is logged in to the node.
//   - simple protocol: statements as text, without prepared statements. It is
//     the same on every version, on a hot standby, and leaves nothing behind.
package psql

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"

	"github.com/warmrun/warmrun/walcore/hint"
)

// Target says which server to connect to, and as whom.
type Target struct {
	// SocketDir is the directory of the server's unix socket. Empty means to
	// look where distributions put it: /var/run/postgresql, then /tmp.
	SocketDir string
	// Port is the server's port; 0 means 5432.
	Port int
	// Host is a host to connect to by TCP instead; a password and TLS are then
	// as libpq's environment variables and password file say.
	Host string
	// User is the database user; empty means the operating system's user,
	// which over a tunnel must be named.
	User string
	// Database is the database; empty means postgres.
	Database string
	// Dial opens the unix socket at path, where it is not on this node; nil
	// means that it is.
	Dial func(ctx context.Context, path string) (net.Conn, error)
	// ApplicationName is what pg_stat_activity shows; empty means warmrun.
	ApplicationName string
	// Notice is given what the server remarks (NOTICE, WARNING); nil means
	// nobody.
	Notice func(severity, message string)
}

const defaultPort = 5432

// Conn is a session on a server. Its methods may be called from several
// goroutines; one statement runs at a time.
type Conn struct {
	conn *pgx.Conn
	busy chan struct{} // holds one token while a statement runs
	// version is server_version_num, as far as the greeting tells it.
	version int
}

// Connect opens a session. A canceled ctx ends the attempt; the session
// outlives ctx. NotRunning, StartingUp, NoHotStandby and LoginRefused tell
// what is the matter when it fails.
func Connect(ctx context.Context, t Target) (*Conn, error) {
	t, err := t.complete()
	if err != nil {
		return nil, err
	}
	config, err := t.config()
	if err != nil {
		return nil, err
	}
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, &dialError{err}
		}
		return conn, nil
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, t.explain(ctx, err)
	}
	c := &Conn{conn: conn, busy: make(chan struct{}, 1), version: versionNumber(conn.PgConn().ParameterStatus("server_version"))}
	if c.version >= 140000 {
		// A session that waits for a base copy is idle for hours. The
		// parameter is new in 14, so it cannot be asked for in the greeting.
		if _, err := c.Exec(ctx, "SET idle_session_timeout = 0"); err != nil {
			return nil, errors.Join(err, c.Close(ctx))
		}
	}
	return c, nil
}

// Version is the server's version as server_version_num counts it: 150018 is
// 15.18, 90624 is 9.6.24.
func (c *Conn) Version() int { return c.version }

// Close ends the session. It does so also when ctx has ended.
func (c *Conn) Close(ctx context.Context) error {
	err := c.conn.Close(ctx)
	// A session that broke is cleaned up in the background.
	select {
	case <-c.conn.PgConn().CleanupDone():
	case <-ctx.Done():
		return nil // the goodbye was not sent, but the connection is closed
	}
	return err
}

// complete fills in what the zero values stand for.
func (t Target) complete() (Target, error) {
	if t.Port == 0 {
		t.Port = defaultPort
	}
	if t.Database == "" {
		t.Database = "postgres"
	}
	if t.ApplicationName == "" {
		t.ApplicationName = "warmrun"
	}
	if t.User == "" {
		// user.Current remembers its first answer, which is wrong once root
		// has become another user.
		self, err := user.LookupId(strconv.Itoa(os.Geteuid()))
		if err != nil {
			return t, hint.Wrap(fmt.Errorf("find out which database user to connect as: %w", err), "set user for the node in cluster.toml")
		}
		t.User = self.Username
	}
	if t.Host == "" && t.SocketDir == "" {
		t.SocketDir = t.usualDir()
	}
	return t, nil
}

// usualDir is the first of the usual directories that has the socket, or the
// first of them.
func (t Target) usualDir() string {
	dirs := []string{"/var/run/postgresql", "/tmp"}
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, socketName(t.Port))); err == nil && t.Dial == nil {
			return dir
		}
	}
	return dirs[0]
}

func socketName(port int) string { return ".s.PGSQL." + strconv.Itoa(port) }

// where names the server in messages.
func (t Target) where() string {
	if t.Host != "" {
		return net.JoinHostPort(t.Host, strconv.Itoa(t.Port))
	}
	return filepath.Join(t.SocketDir, socketName(t.Port))
}

// config is pgx's configuration. It starts from what libpq's environment
// variables say, which for a unix socket must not matter at all.
func (t Target) config() (*pgx.ConnConfig, error) {
	text := fmt.Sprintf("port=%d user=%s dbname=%s target_session_attrs=any", t.Port, quoteSetting(t.User), quoteSetting(t.Database))
	if t.Host != "" {
		text += " host=" + quoteSetting(t.Host)
	} else {
		text += " host=" + quoteSetting(t.SocketDir) + " sslmode=disable sslnegotiation=postgres sslcertmode=disable channel_binding=disable" +
			" require_auth='' min_protocol_version=3.0 max_protocol_version=3.0 connect_timeout=0 passfile=/dev/null"
	}
	config, err := pgx.ParseConfig(text)
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("prepare the connection to %s: %w", t.where(), err), "unset PGSERVICE and the other PG variables that psql understands")
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	config.StatementCacheCapacity, config.DescriptionCacheCapacity = 0, 0
	config.RuntimeParams = map[string]string{
		"application_name": t.ApplicationName,
		// What pgx's quoting of arguments and our reading of results rely on.
		"client_encoding": "UTF8", "standard_conforming_strings": "on",
		"datestyle": "ISO", "bytea_output": "hex", "extra_float_digits": "3",
		// The caller's context is the limit, whatever the role's settings say.
		"statement_timeout": "0",
	}
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if t.Notice != nil {
			t.Notice(n.Severity, n.Message)
		}
	}
	config.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
		// The server is asked to stop what it does, and the connection given
		// up only when it does not.
		return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: cancelGrace}
	}
	if t.Host == "" {
		config.Password, config.Fallbacks, config.TLSConfig, config.ConnectTimeout = "", nil, nil, 0
		config.DialFunc = t.dial
	}
	return config, nil
}

// cancelGrace is how long a server has to end a statement that is canceled.
const cancelGrace = 5 * time.Second

// dial opens the socket, also for a cancel request.
func (t Target) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	path := t.where()
	if t.Dial != nil {
		return t.Dial(ctx, path)
	}
	return (&net.Dialer{}).DialContext(ctx, "unix", path)
}

// quoteSetting quotes a value of a connection string.
func quoteSetting(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// versionNumber makes a number of server_version as the greeting has it:
// "15.18 (Debian 15.18-1)", "9.6.24", "17beta1". It is 0 where that fails.
func versionNumber(text string) int {
	digits := strings.FieldsFunc(text, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if len(digits) == 0 || !strings.HasPrefix(text, digits[0]) {
		return 0
	}
	var parts [3]int
	for i, part := range strings.SplitN(digits[0], ".", 3) {
		n, err := strconv.Atoi(part)
		if err != nil {
			break
		}
		parts[i] = n
	}
	if parts[0] >= 10 {
		return parts[0]*10000 + parts[1]
	}
	return parts[0]*10000 + parts[1]*100 + parts[2]
}
