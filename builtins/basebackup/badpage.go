package basebackup

import (
	"context"
	"fmt"
	"strings"

	"github.com/warmrun/warmrun/walcore/hint"
)

// BadPage is a page on the source whose checksum is wrong, or that looks new
// and is not.
type BadPage struct {
	Path     string `json:"path"`  // of its file, in the data directory
	Block    uint32 `json:"block"` // counted over all files of the relation's fork
	Stored   uint16 `json:"stored"`
	Computed uint16 `json:"computed"`
	// Database and Relation are the names that the server has for it, where it
	// could be asked. A relation that is shared is in no database.
	Database string `json:"database,omitempty"`
	Relation string `json:"relation,omitempty"`
}

// String names the page as an operator looks for it.
func (b BadPage) String() string {
	where := b.Path
	switch {
	case b.Relation != "" && b.Database != "":
		where = fmt.Sprintf("%s in database %s (%s)", b.Relation, b.Database, b.Path)
	case b.Relation != "":
		where = fmt.Sprintf("%s (%s)", b.Relation, b.Path)
	case b.Database != "":
		where = fmt.Sprintf("%s in database %s", b.Path, b.Database)
	}
	return fmt.Sprintf("block %d of %s has checksum %d instead of %d", b.Block, where, b.Stored, b.Computed)
}

// maxBadPages is how many pages are listed; of more, the number is known.
const maxBadPages = 1000

// badPages are the first of many.
type badPages struct {
	list  []BadPage
	count int
}

func (b *badPages) add(p BadPage) {
	b.count++
	if len(b.list) < maxBadPages {
		b.list = append(b.list, p)
	}
}

// badPagesError says what is bad on the source.
func (c *copier) badPagesError(ctx context.Context) error {
	c.nameBadPages(ctx)
	var all []string
	for _, b := range c.inspection.bad.list {
		all = append(all, b.String())
	}
	err := fmt.Errorf("data on this server is damaged: %s", strings.Join(all, "; "))
	return hint.Wrap(err, "look for failing hardware (dmesg) first; then repair the relation, or switch over to a standby that has it right; "+
		"--allow-bad-pages copies such pages as they are and lists them")
}

// reportBadPages tells of the pages that a copy went past.
func (c *copier) reportBadPages(ctx context.Context) {
	c.nameBadPages(ctx)
	c.result.PagesJudged = c.inspection.pages
	c.result.BadPages, c.result.BadPageCount = c.inspection.bad.list, c.inspection.bad.count
	for _, b := range c.result.BadPages {
		c.say("WARNING: copied as it is: %s", b)
	}
	if more := c.result.BadPageCount - len(c.result.BadPages); more > 0 {
		c.say("WARNING: %d more bad pages were copied as they are", more)
	}
}

// nameBadPages asks the server what the relations are called. A name that
// cannot be had is left out: the file and the block say where the page is.
func (c *copier) nameBadPages(ctx context.Context) {
	n := namer{c: c, databases: map[string]string{}, relations: map[place]string{}, sessions: map[string]ClosingSession{}}
	defer n.close(ctx)
	for i := range c.inspection.bad.list {
		b := &c.inspection.bad.list[i]
		b.Database, b.Relation = n.name(ctx, b.Path)
	}
}

// namer asks for names, each once.
type namer struct {
	c         *copier
	databases map[string]string // by OID
	relations map[place]string
	sessions  map[string]ClosingSession
}

func (n *namer) name(ctx context.Context, file string) (database, relation string) {
	at, ok := placeOf(file)
	if !ok {
		return "", ""
	}
	if at.database != "" {
		if _, asked := n.databases[at.database]; !asked {
			n.databases[at.database] = n.ask(ctx, n.c.Conn, "SELECT datname::text FROM pg_database WHERE oid = $1::oid", at.database)
		}
		database = n.databases[at.database]
	}
	if _, asked := n.relations[at]; !asked {
		n.relations[at] = ""
		if conn := n.session(ctx, at.database, database); conn != nil {
			n.relations[at] = n.ask(ctx, conn, relationName, at.tablespace, at.number)
		}
	}
	return database, n.relations[at]
}

// relationName is the name of a relation by its tablespace and file number, with
// its schema.
const relationName = "SELECT quote_ident(nspname) || '.' || quote_ident(relname) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace " +
	"WHERE c.oid = pg_filenode_relation($1::oid, $2::oid)"

// ask is the server's answer, empty where it has none.
func (n *namer) ask(ctx context.Context, conn Session, sql string, args ...any) string {
	text, err := textValue(conn.Value(ctx, sql, args...))
	if err != nil {
		return ""
	}
	return text
}

// session is one in which a database's relations have names. Those that are
// shared have them everywhere.
func (n *namer) session(ctx context.Context, oid, database string) Session {
	if oid == "" || database != "" && database == n.ask(ctx, n.c.Conn, "SELECT current_database()::text") {
		return n.c.Conn
	}
	if database == "" || n.c.Connect == nil {
		return nil
	}
	if _, tried := n.sessions[database]; !tried {
		conn, err := n.c.Connect(ctx, database)
		if err != nil {
			conn = nil // the file's name will do
		}
		n.sessions[database] = conn
	}
	if conn := n.sessions[database]; conn != nil {
		return conn
	}
	return nil
}

func (n *namer) close(ctx context.Context) {
	for _, conn := range n.sessions {
		if conn != nil {
			_ = conn.Close(ctx) // it was only asked for names
		}
	}
}
