package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/warmrun/warmrun/builtins/psql"
	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// psqlOperations run SQL from here, through the node's unix socket.
func psqlOperations() []operation {
	return []operation{
		here("psql", "query", engine.Read, "the rows of a read-only statement, each a table by column name", []string{"node", "sql", "args"},
			func(s *session) any {
				return func(ctx context.Context, node, sql string, args ...any) ([]map[string]any, error) {
					return query(ctx, s, node, sql, args)
				}
			}),
		here("psql", "value", engine.Read, "the first column of the first row of a read-only statement", []string{"node", "sql", "args"},
			func(s *session) any {
				return func(ctx context.Context, node, sql string, args ...any) (any, error) {
					conn, err := s.readOnly(ctx, cluster.NodeName(node))
					if err != nil {
						return nil, err
					}
					defer conn.Close(ctx)
					return conn.Value(ctx, sql, args...)
				}
			}),
		here("psql", "exec", engine.Change, "run a statement that changes something", []string{"node", "sql", "args"},
			func(s *session) any {
				return func(ctx context.Context, node, sql string, args ...any) (string, error) {
					conn, err := s.sql(ctx, cluster.NodeName(node))
					if err != nil {
						return "", err
					}
					defer conn.Close(ctx)
					return conn.Exec(ctx, sql, args...)
				}
			}),
		here("psql", "in_recovery", engine.Read, "whether the server is in recovery; an error where none answers", []string{"node"},
			func(s *session) any {
				return func(ctx context.Context, node string) (bool, error) {
					conn, err := s.sql(ctx, cluster.NodeName(node))
					if err != nil {
						return false, err
					}
					defer conn.Close(ctx)
					state, err := conn.State(ctx)
					return state.InRecovery, err
				}
			}),
	}
}

// readOnly is a session in which the server itself refuses to write: reads are
// run for real in a plan.
func (s *session) readOnly(ctx context.Context, node cluster.NodeName) (*psql.Conn, error) {
	conn, err := s.sql(ctx, node)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, "SET default_transaction_read_only = on"); err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	return conn, nil
}

func query(ctx context.Context, s *session, node, sql string, args []any) ([]map[string]any, error) {
	conn, err := s.readOnly(ctx, cluster.NodeName(node))
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	out := make([]map[string]any, 0, len(rows.Values))
	for _, values := range rows.Values {
		if len(values) != len(rows.Columns) {
			return nil, fmt.Errorf("a row of %d values for %d columns", len(values), len(rows.Columns))
		}
		row := map[string]any{}
		for i, column := range rows.Columns {
			row[column] = values[i]
		}
		out = append(out, row)
	}
	return out, nil
}
