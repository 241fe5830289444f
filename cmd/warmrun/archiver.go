package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/warmrun/warmrun/builtins/psql"
	"github.com/warmrun/warmrun/walcore/hint"
)

// checkArchiver is an error while the server's archiver fails: its last try did,
// and something waits. The error has the reason from the server's log where
// that can be read here, else where to look. The counters are asked for in a
// session of its own each time: a session may see them as they were before.
func checkArchiver(ctx context.Context, s *session, _ none) (bool, error) {
	conn, err := s.sql(ctx, s.site.Self.Name)
	if err != nil {
		return false, err
	}
	defer conn.Close(ctx)
	state, err := conn.State(ctx)
	if err != nil {
		return false, err
	}
	waiting, err := backlog(s.site.Self.PGData)
	if err != nil {
		return false, err
	}
	if waiting.Ready == 0 || !state.LastFailedAt.After(state.LastArchivedAt) {
		return true, nil
	}
	return false, archiverFailure(ctx, s, state)
}

// archiverFailure is why the archiver does not get on.
func archiverFailure(ctx context.Context, s *session, state psql.ServerState) error {
	const again = "the archiver tries again within a minute, and warmrun status shows when it gets through"
	err := fmt.Errorf("%s cannot archive %s, last tried at %s", s.site.Self.Name, state.LastFailed, state.LastFailedAt.UTC().Format("15:04:05 UTC"))
	lines, where, logErr := s.server().LastLogged(ctx, errorMark, s.site.Local("server.log"))
	reason, advice := complaint(lines, state.LastFailed)
	if logErr != nil || reason == "" {
		return hint.Wrap(err, "the server's log says why archive_command fails (%s); %s", cmp.Or(where, "where it is cannot be told"), again)
	}
	return hint.Wrap(fmt.Errorf("%w: %s", err, reason), "%s; %s", cmp.Or(advice, "mend that first"), again)
}

// complaint reads the last error of this program, and its hint, from the end of
// a server's log. It counts only if it is about the file: the server names it
// in the lines that follow.
func complaint(lines []string, file string) (reason, advice string) {
	const together = 6
	lines = lines[:min(len(lines), together)]
	if !strings.Contains(strings.Join(lines, "\n"), file) {
		return "", ""
	}
	_, reason, _ = strings.Cut(lines[0], errorMark)
	if len(lines) > 1 {
		_, advice, _ = strings.Cut(lines[1], hintMark)
	}
	return reason, advice
}
