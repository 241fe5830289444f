package ledger

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/warmrun/warmrun/builtins/psql"
)

// Table is the table that the load writes to.
const Table = "warmrun_ledger"

const schema = `CREATE TABLE IF NOT EXISTS ` + Table + ` (
	id bigint PRIMARY KEY, written timestamptz NOT NULL DEFAULT clock_timestamp(), filler text NOT NULL)`

// How long one attempt may take, and how long a writer waits before the next
// one when no server took its rows.
const (
	connectPatience = 3 * time.Second
	writePatience   = 30 * time.Second
	retryPause      = 10 * time.Millisecond
)

// LoadConfig says how much is written, and where.
type LoadConfig struct {
	// Targets are all nodes that may be the primary. Writers try them in turn
	// and stay with the one that accepts writes.
	Targets []psql.Target
	// Writers is how many sessions write at once.
	Writers int
	// Batch is the number of rows in a transaction.
	Batch int
	// Every is the shortest time between two transactions of one writer; 0
	// means as fast as the server goes.
	Every time.Duration
}

// Load is a running load.
type Load struct {
	config LoadConfig
	ledger *Ledger
	stop   context.CancelFunc
	done   sync.WaitGroup

	gate sync.RWMutex // held for reading by a transaction, for writing by a pause
	mu   sync.Mutex
	errs []error // of the ledger's own file
}

// CreateTable makes the table on a primary.
func CreateTable(ctx context.Context, target psql.Target) error {
	conn, err := psql.Connect(ctx, target)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, schema)
	return errors.Join(err, conn.Close(ctx))
}

// StartLoad begins to write. It goes on until ctx ends or Stop is called,
// whatever happens to the servers.
func StartLoad(ctx context.Context, l *Ledger, config LoadConfig) *Load {
	ctx, stop := context.WithCancel(ctx)
	load := &Load{config: config, ledger: l, stop: stop}
	l.forgetGap(time.Now())
	for i := range config.Writers {
		load.done.Go(func() { load.write(ctx, i) })
	}
	return load
}

// Stop ends the load, waits for its writers, and returns what went wrong with
// the ledger's own file. Errors of servers are not errors of the load.
func (l *Load) Stop() error {
	l.stop()
	l.done.Wait()
	l.ledger.forgetGap(time.Time{})
	return errors.Join(l.errs...)
}

// Pause returns when no transaction is under way; none begins before resume is
// called. Time that passes meanwhile is no gap.
func (l *Load) Pause() (resume func()) {
	l.gate.Lock()
	return sync.OnceFunc(func() {
		l.ledger.forgetGap(time.Now())
		l.gate.Unlock()
	})
}

// write is one writer: it finds the primary, writes until something fails, and
// finds the primary again.
func (l *Load) write(ctx context.Context, first int) {
	for next := first; ctx.Err() == nil; next++ {
		target := l.config.Targets[next%len(l.config.Targets)]
		conn, err := connect(ctx, target)
		if err != nil {
			if next%len(l.config.Targets) == 0 {
				_ = pause(ctx, retryPause) // ends with ctx, and so does the loop
			}
			continue
		}
		for err == nil && ctx.Err() == nil {
			err = l.transaction(ctx, conn)
			if err == nil && l.config.Every > 0 {
				err = pause(ctx, l.config.Every)
			}
		}
		next-- // the same one first: most failures are of the moment
		_ = conn.Close(context.WithoutCancel(ctx))
		_ = pause(ctx, retryPause)
	}
}

// connect opens a session on a node that accepts writes.
func connect(ctx context.Context, target psql.Target) (*psql.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectPatience)
	defer cancel()
	conn, err := psql.Connect(ctx, target)
	if err != nil {
		return nil, err
	}
	recovering, err := conn.Value(ctx, "SELECT pg_is_in_recovery()")
	if err == nil && recovering != false {
		err = errors.New("in recovery")
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
	}
	return conn, nil
}

// transaction writes one batch. The ids are noted as sent before the server
// hears of them, and as acknowledged when it has said that it committed.
func (l *Load) transaction(ctx context.Context, conn *psql.Conn) error {
	l.gate.RLock()
	defer l.gate.RUnlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	span, err := l.ledger.send(l.config.Batch)
	if err != nil {
		return l.note(err)
	}
	// A stop of the load lets the transaction end: what it leaves in doubt
	// should come from the servers.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writePatience)
	defer cancel()
	_, err = conn.Exec(ctx, fmt.Sprintf("INSERT INTO %s (id, filler) SELECT i, repeat('x', 60) FROM generate_series(%d::bigint, %d) AS i", Table, span.First, span.Last))
	if err != nil {
		return err
	}
	at := time.Now()
	// Without this answer the rows are committed all the same; the bound of
	// their WAL is then the highest there is.
	lsn := "FFFFFFFF/FFFFFFFF"
	written, lsnErr := conn.Value(ctx, "SELECT pg_current_wal_lsn()::text")
	if text, ok := written.(string); lsnErr == nil && ok {
		lsn = text
	}
	if err := l.ledger.acknowledge(span, at, lsn); err != nil {
		return l.note(err)
	}
	return lsnErr
}

func (l *Load) note(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs = append(l.errs, err)
	return err
}

// Rows reads which ids exist on a node.
func Rows(ctx context.Context, target psql.Target) (Set, error) {
	conn, err := psql.Connect(ctx, target)
	if err != nil {
		return nil, err
	}
	rows, err := conn.Query(ctx, `SELECT min(id)::text, max(id)::text
		FROM (SELECT id, id - row_number() OVER (ORDER BY id) AS island FROM `+Table+`) AS ids GROUP BY island`)
	if err := errors.Join(err, conn.Close(ctx)); err != nil {
		return nil, fmt.Errorf("read the rows: %w", err)
	}
	var spans []Span
	for _, row := range rows.Values {
		first, errFirst := strconv.ParseInt(fmt.Sprint(row[0]), 10, 64)
		last, errLast := strconv.ParseInt(fmt.Sprint(row[1]), 10, 64)
		if err := errors.Join(errFirst, errLast); err != nil {
			return nil, err
		}
		spans = append(spans, Span{first, last})
	}
	return SetOf(spans...), nil
}

// pause waits, but no longer than ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
