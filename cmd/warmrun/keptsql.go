package main

import (
	"context"

	"github.com/warmrun/warmrun/builtins/psql"
)

// keptSQL is a session on this node's server that stays open until this process is
// done with the node, or stops the server: a smart stop would wait for it.
func (s *session) keptSQL(ctx context.Context) (*psql.Conn, error) {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	if s.kept != nil {
		if _, err := s.kept.Value(ctx, "SELECT 1"); err == nil {
			return s.kept, nil
		}
		_ = s.dropKept() // it has broken, as when the server was restarted
	}
	conn, err := s.sql(ctx, s.site.Self.Name)
	if err != nil {
		return nil, err
	}
	s.kept = conn
	s.dropKept = func() error {
		s.kept = nil
		return conn.Close(context.WithoutCancel(ctx))
	}
	return conn, nil
}

// dropSQL closes it.
func (s *session) dropSQL() error {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	if s.kept == nil {
		return nil
	}
	return s.dropKept()
}

// anySQL is the session that is kept, where there is one, and else another; done
// ends that.
func (s *session) anySQL(ctx context.Context) (conn *psql.Conn, done func(), err error) {
	s.keeping.Lock()
	kept := s.kept
	s.keeping.Unlock()
	if kept != nil {
		conn, err = s.keptSQL(ctx)
		return conn, func() {}, err
	}
	conn, err = s.sql(ctx, s.site.Self.Name)
	return conn, func() { _ = conn.Close(ctx) }, err
}
