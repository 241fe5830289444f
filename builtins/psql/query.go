package psql

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
)

// Rows are the rows of a result. See Conn.Query for the types of the values.
type Rows struct {
	Columns []string `json:"columns"`
	Values  [][]any  `json:"values"`
}

// Query runs a statement and returns its rows; of several statements, the rows
// of the first. Arguments stand for $1, $2 and so on, and may be strings,
// numbers, booleans, times, byte slices, LSNs and nil.
//
// Values are plain Go values:
//
//   - SQL's null is nil, and so is the void of a function without a result.
//   - boolean is bool; smallint, integer, bigint, oid and xid are int64.
//   - real and double precision are float64, but "NaN", "Infinity" and
//     "-Infinity" are strings, since JSON has no such numbers.
//   - pg_lsn is walcore.LSN.
//   - timestamp with time zone is a string as in 2026-01-02T15:04:05.123456Z,
//     in UTC; what that cannot hold (infinity, years before Christ) is as the
//     server prints it.
//   - an array of any of these, or of text, is []any, nested for each
//     dimension.
//   - everything else is the string that the server prints: text, numeric
//     (which a float would round), bytea as \x and hexadecimal digits, json,
//     date, timestamp, interval, uuid, and types that are not built in.
//
// When ctx ends, the server is asked to cancel the statement; the session can
// be used again afterwards.
func (c *Conn) Query(ctx context.Context, sql string, args ...any) (Rows, error) {
	var result Rows
	err := c.run(ctx, sql, func() error {
		rows, err := c.conn.Query(ctx, sql, arguments(args)...)
		if err != nil {
			return err
		}
		defer rows.Close()
		fields := rows.FieldDescriptions()
		for _, f := range fields {
			result.Columns = append(result.Columns, f.Name)
		}
		for rows.Next() {
			values := make([]any, len(fields))
			for i, raw := range rows.RawValues() {
				values[i] = convert(fields[i].DataTypeOID, raw)
			}
			result.Values = append(result.Values, values)
		}
		rows.Close()
		return rows.Err()
	})
	if err != nil {
		return Rows{}, err
	}
	return result, nil
}

// Value is the first column of the first row of a statement. A statement
// without rows is an error.
func (c *Conn) Value(ctx context.Context, sql string, args ...any) (any, error) {
	rows, err := c.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	if len(rows.Values) == 0 || len(rows.Columns) == 0 {
		return nil, fmt.Errorf("%s: no rows", shorten(sql))
	}
	return rows.Values[0][0], nil
}

// Exec runs one or more statements and returns the command tag of the last
// one, such as INSERT 0 5.
func (c *Conn) Exec(ctx context.Context, sql string, args ...any) (tag string, err error) {
	err = c.run(ctx, sql, func() error {
		t, err := c.conn.Exec(ctx, sql, arguments(args)...)
		tag = t.String()
		return err
	})
	return tag, err
}

// run keeps statements apart and explains their errors.
func (c *Conn) run(ctx context.Context, sql string, do func() error) error {
	select {
	case c.busy <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", shorten(sql), context.Cause(ctx))
	}
	defer func() { <-c.busy }()
	err := explainStatement(ctx, sql, do())
	if err != nil && ctx.Err() == nil && c.conn.IsClosed() {
		return &lostError{err}
	}
	return err
}

// explainStatement names the statement, and hands on what the server advises.
func explainStatement(ctx context.Context, sql string, err error) error {
	var server *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		// The server's "canceling statement" is not the reason.
		return fmt.Errorf("%s: %w", shorten(sql), context.Cause(ctx))
	case !errors.As(err, &server):
		return fmt.Errorf("%s: %w", shorten(sql), err)
	}
	text := fmt.Errorf("%s: %w", shorten(sql), err)
	if server.Detail != "" {
		text = fmt.Errorf("%s (%s): %w", shorten(sql), server.Detail, err)
	}
	if server.Hint == "" {
		return text
	}
	return hint.Wrap(text, "%s", server.Hint)
}

// shorten keeps a statement recognisable in a message.
func shorten(sql string) string {
	const limit = 60
	line := strings.Join(strings.Fields(sql), " ")
	if len(line) <= limit {
		return line
	}
	return strings.ToValidUTF8(line[:limit], "") + " ..."
}

// arguments turns our own types into what pgx quotes.
func arguments(args []any) []any {
	out := make([]any, len(args))
	for i, arg := range args {
		switch v := arg.(type) {
		case walcore.LSN:
			out[i] = v.String()
		case walcore.Timeline:
			out[i] = int64(v)
		case pgx.QueryExecMode, pgx.QueryResultFormats, pgx.QueryResultFormatsByOID, pgx.QueryRewriter:
			out[i] = fmt.Sprint(v) // pgx would take it for an option
		default:
			out[i] = arg
		}
	}
	return out
}
