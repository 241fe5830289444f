package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/warmrun/warmrun/builtins/health"
	"github.com/warmrun/warmrun/builtins/pgctl"
	"github.com/warmrun/warmrun/builtins/psql"
	"github.com/warmrun/warmrun/builtins/scratch"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/atomicfile"
)

type queryScratchOptions struct {
	Dir      string `json:"dir"`
	SQL      string `json:"sql"`
	Database string `json:"database"` // without it, the node's
}

type queriedScratch struct {
	Text string `json:"text"` // a line for each row, columns with | between them
	Rows int    `json:"rows"`
}

// examined is what a drill has found out about the server.
type examined struct {
	// Failures says what is wrong, a line each; none: all is well.
	Failures []string `json:"failures"`
	Queries  int      `json:"queries"`
	// Amcheck says whether pg_amcheck was run, and why not.
	Amcheck string `json:"amcheck"`
}

// drillNote is how a drill went.
type drillNote struct {
	OK      bool        `json:"ok"`
	Why     string      `json:"why"`
	Seconds float64     `json:"seconds"`
	Backup  string      `json:"backup"`
	LSN     walcore.LSN `json:"lsn"`
}

func queryScratch(ctx context.Context, s *session, o queryScratchOptions) (queriedScratch, error) {
	server, err := scratch.Open(o.Dir)
	if err != nil {
		return queriedScratch{}, err
	}
	database := o.Database
	if database == "" {
		database = s.site.Self.Database
	}
	rows, err := runOn(ctx, server.Session(s.site.Self.User, database), o.SQL)
	return queriedScratch{rowsText(rows), len(rows.Values)}, err
}

func runOn(ctx context.Context, target psql.Target, sql string) (rows psql.Rows, err error) {
	conn, err := psql.Connect(ctx, target)
	if err != nil {
		return psql.Rows{}, err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	return conn.Query(ctx, sql)
}

// rowsText is rows as psql -At prints them.
func rowsText(rows psql.Rows) string {
	var b strings.Builder
	for _, values := range rows.Values {
		for i, value := range values {
			if i > 0 {
				b.WriteByte('|')
			}
			switch v := value.(type) {
			case nil:
			case bool:
				b.WriteString(map[bool]string{true: "t", false: "f"}[v])
			default:
				fmt.Fprint(&b, v)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// examineScratch runs everything, also when something fails: a drill is to find
// all that is wrong.
func examineScratch(ctx context.Context, s *session, o scratchDirOption) (examined, error) {
	server, err := scratch.Open(o.Dir)
	if err != nil {
		return examined{}, err
	}
	found := examined{Failures: []string{}}
	failure, err := amcheck(ctx, s, server, &found)
	if err != nil {
		return found, err
	}
	if failure != "" {
		found.Failures = append(found.Failures, failure)
	}
	queries, err := filepath.Glob(filepath.Join(s.site.Global("drill"), "*.sql"))
	if err != nil {
		return found, err
	}
	for _, path := range queries {
		if ctx.Err() != nil {
			return found, context.Cause(ctx)
		}
		found.Queries++
		name := filepath.Base(path)
		if err := drillQuery(ctx, server.Session(s.site.Self.User, s.site.Self.Database), path); err != nil {
			found.Failures = append(found.Failures, fmt.Sprintf("%s: %v", name, err))
			say(ctx, s, "%s: FAILED: %v", name, err)
			continue
		}
		say(ctx, s, "%s: as expected", name)
	}
	return found, nil
}

// drillQuery runs a file of SQL. Where NAME.out lies beside NAME.sql the rows must be
// those.
func drillQuery(ctx context.Context, target psql.Target, path string) error {
	sql, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	rows, err := runOn(ctx, target, string(sql))
	if err != nil {
		return err
	}
	want, err := os.ReadFile(strings.TrimSuffix(path, ".sql") + ".out")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	got := rowsText(rows)
	if strings.TrimSpace(got) == strings.TrimSpace(string(want)) {
		return nil
	}
	return fmt.Errorf("got %q, want %q", shortened(got), shortened(string(want)))
}

// shortened keeps a message readable.
func shortened(text string) string {
	const most = 200
	text = strings.TrimSpace(text)
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}

// amcheck runs pg_amcheck where there is one and the server has its extension.
func amcheck(ctx context.Context, s *session, server scratch.Server, found *examined) (failure string, err error) {
	major, err := pgctl.Server{PGData: server.PGData()}.Version()
	if err != nil {
		return "", err
	}
	dir, err := pgctl.FindBinDir(major, server.BinDir)
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "pg_amcheck")
	if _, err := os.Stat(program); err != nil {
		found.Amcheck = "not run: there is no " + program
		say(ctx, s, "pg_amcheck was %s", found.Amcheck)
		return "", nil
	}
	target := server.Session(s.site.Self.User, "")
	rows, err := runOn(ctx, target, "SELECT 1 FROM pg_available_extensions WHERE name = 'amcheck'")
	if err != nil {
		return "", err
	}
	if len(rows.Values) == 0 {
		found.Amcheck = "not run: the server does not have the extension amcheck"
		say(ctx, s, "pg_amcheck was %s", found.Amcheck)
		return "", nil
	}
	args := []string{"--host", server.SocketDir, "--port", fmt.Sprint(server.Port), "--all", "--install-missing", "--no-password"}
	if s.site.Self.User != "" {
		args = append(args, "--username", s.site.Self.User)
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	runErr := cmd.Run()
	var exit *exec.ExitError
	switch {
	case runErr == nil:
		found.Amcheck = "found nothing"
		say(ctx, s, "pg_amcheck found nothing wrong in any database")
		return "", nil
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case !errors.As(runErr, &exit):
		return "", runErr
	}
	found.Amcheck = "found something"
	fmt.Fprint(s.live(ctx), out.String())
	first, _, _ := strings.Cut(strings.TrimSpace(out.String()), "\n")
	return "pg_amcheck: " + shortened(first), nil
}

// noteDrill writes the note that status shows.
func noteDrill(_ context.Context, s *session, o drillNote) (none, error) {
	note := health.Drill{At: time.Now().UTC().Truncate(time.Second), OK: o.OK, Why: o.Why, Seconds: o.Seconds, Backup: o.Backup, LSN: o.LSN}
	data, err := json.MarshalIndent(note, "", "  ")
	if err != nil {
		return none{}, err
	}
	return none{}, atomicfile.WriteFile(s.site.Local(health.DrillFile), append(data, '\n'), 0o600)
}
