package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// restoring reports whether a command line is one of the two that a server
// runs to restore WAL. They have exit codes of their own: a wrong one may open
// the database.
func restoring(args []string) bool {
	word := firstWord(args)
	return word == "restore" || word == "pg_standby"
}

// runRestoring runs restore or pg_standby. What kind of recovery asks is found
// out before anything else, so that every failure, a panic among them, exits
// with a code that does not open a database by accident. A signal ends the
// process by that signal, which the server takes for part of its shutdown.
func (p *process) runRestoring() (code int) {
	workDir, err := os.Getwd()
	if err != nil {
		workDir = "."
	}
	kind, kindErr := walcore.DetectRecovery(workDir)
	if kindErr != nil {
		kind = walcore.RecoveryOther // the careful codes
	}
	exit := walcore.RestoreExit
	if firstWord(p.args) == "pg_standby" {
		exit = walcore.PgStandbyExit
	}
	defer func() {
		if r := recover(); r != nil {
			fmt.Fprintf(p.err, "warmrun: error: internal error in restore: %v\n%s", r, debug.Stack())
			code = exit(fmt.Errorf("internal error: %v", r), kind)
		}
	}()
	ctx, stop := watchServerSignals(firstWord(p.args) == "pg_standby")
	defer stop()
	err = p.dispatchRestore(ctx)
	if errors.Is(err, walcore.ErrTerminated) || context.Cause(ctx) == walcore.ErrTerminated {
		dieBySIGTERM()
	}
	p.reportRestore(err)
	return exit(err, kind)
}

// watchServerSignals cancels the context when the server wants the command to
// end. pg_standby takes SIGINT for a failover instead. A log pipe that is gone
// must not kill: the server would take that for an answer.
func watchServerSignals(standby bool) (context.Context, func()) {
	signal.Ignore(syscall.SIGPIPE)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGQUIT)
	if !standby {
		signal.Notify(signals, os.Interrupt)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	go func() {
		select {
		case <-signals:
			cancel(walcore.ErrTerminated)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// dispatchRestore parses and runs; a panic in it is runRestoring's.
func (p *process) dispatchRestore(ctx context.Context) error {
	if command, g, ok := direct(p.args); ok {
		return command.Run(ctx, p, &g)
	}
	return p.parseAndRun(ctx, nil)
}

// reportRestore says why nothing was restored. That a file is not there is no
// news: a standby asks for the next segment every second.
func (p *process) reportRestore(err error) {
	if err == nil || errors.Is(err, walcore.ErrNotThere) {
		return
	}
	p.report(err)
}

// dieBySIGTERM ends the process by that signal, whichever one came: the server
// takes a restore_command that dies so for part of its shutdown.
func dieBySIGTERM() {
	signal.Reset(syscall.SIGTERM)
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		return
	}
	<-time.After(5 * time.Second) // the signal is on its way
}

// restoreCommand is restore_command.
type restoreCommand struct {
	Name string `arg:"" name:"%f" help:"Name of the file that the server asks for."`
	Path string `arg:"" name:"%p" help:"Where to put it, relative to the data directory."`
	Redo string `arg:"" name:"%r" optional:"" help:"Name of the oldest file that a restart needs; older segments are removed from the archive."`

	From    string        `help:"Restore from this directory instead; no site is needed, but where it is the site's own archive, what the relay and kept backups need stays." placeholder:"DIR"`
	Wait    bool          `help:"Wait for a segment that is not there yet (servers before 9.5 need it)."`
	Poll    time.Duration `help:"With --wait, how often to look where the file system does not tell (0: every second)." default:"0s"`
	MaxWait time.Duration `help:"With --wait, give up after this long (0: never)." default:"0s"`
	Trigger string        `help:"The trigger file (default: what the site says)." placeholder:"FILE"`
}

// Run restores one file. Its error decides the exit code: see
// walcore.RestoreExit.
func (c *restoreCommand) Run(ctx context.Context, p *process, g *globals) error {
	name, err := walcore.ParseFileName(c.Name)
	if err != nil {
		return hint.Wrap(err, "restore_command must be 'warmrun restore %%f %%p %%r'")
	}
	if !c.Wait && (c.Poll != 0 || c.MaxWait != 0) {
		return usageError{hint.Wrap(errors.New("--poll and --max-wait say how to wait, and nothing says to wait"), "give --wait with them, or leave them out")}
	}
	request, err := p.restoreRequest(g, c.From)
	var unread unreadSite
	if err != nil && !errors.As(err, &unread) {
		return err
	}
	request.Name, request.Target = name, c.Path
	if c.Redo != "" {
		if request.Redo, err = walcore.ParseFileName(c.Redo); err != nil {
			return hint.Wrap(err, "the third argument is %%r, the name of a segment")
		}
		request.Cleanup = unread.error == nil
	}
	request.Wait, request.Poll, request.MaxWait = c.Wait, c.Poll, c.MaxWait
	if c.Trigger != "" {
		request.Trigger = c.Trigger
	}
	err = walcore.Restore(ctx, request)
	if err == nil && c.Redo != "" && !request.Cleanup {
		p.keptAll(request, unread)
	}
	return err
}

// restoreRequest fills in what the site says. The server runs the command in
// its data directory, so that is what PGData is unless told otherwise.
func (p *process) restoreRequest(g *globals, from string) (walcore.RestoreRequest, error) {
	workDir, err := os.Getwd()
	if err != nil {
		return walcore.RestoreRequest{}, err
	}
	request := walcore.RestoreRequest{PGData: workDir, Archive: from, Out: p.err, Now: time.Now}
	if g.PGData != "" {
		request.PGData = g.PGData
	}
	s, err := p.session(*g)
	switch {
	case err == nil && (from == "" || sameDir(from, s.site.Self.Archive)):
		if from == "" {
			request.Archive, request.Trigger = s.site.Self.Archive, s.site.Self.Trigger
		}
		request.HasRelay = s.relays()
		request.KeepBackups, request.MaxSize = s.site.Archiving.KeepBackups, int64(s.site.Archiving.MaxSize)
		request.Fetch = s.startFetch
		return request, nil
	case err == nil || errors.Is(err, cluster.ErrNoHome) && from != "":
		request.HasRelay = hasRelay(from)
		return request, nil
	case from == "" || g.Home != "" || os.Getenv("WARMRUN_HOME") != "":
		return walcore.RestoreRequest{}, err
	}
	return request, unreadSite{err}
}

// unreadSite is why the home beside the data directory cannot be read. A
// restore from a directory that was named needs none, but what must be kept
// there is not known.
type unreadSite struct{ error }

func (e unreadSite) Unwrap() error { return e.error }

// keptAll says why no old segment was removed.
func (p *process) keptAll(request walcore.RestoreRequest, why error) {
	if request.Name.Kind() != walcore.KindSegment {
		return
	}
	message, next := describe(why)
	fmt.Fprintf(p.err, "warmrun: old segments in %s are kept, because what must stay there is not known: %s\n", request.Archive, message)
	if next != "" {
		fmt.Fprintf(p.err, "%s%s\n", hintMark, next)
	}
}

// sameDir reports whether two paths lead to the same directory.
func sameDir(a, b string) bool {
	first, errFirst := os.Stat(a)
	second, errSecond := os.Stat(b)
	return errFirst == nil && errSecond == nil && os.SameFile(first, second)
}

// hasRelay reports whether an archive of no known site is relayed: it then has
// a watermark. One that cannot be read counts.
func hasRelay(dir string) bool {
	archive, err := walcore.OpenArchive(dir)
	if err != nil {
		return false // the restore says so
	}
	_, found, err := archive.Watermark()
	return found || err != nil
}

// pgStandbyCommand is pg_standby, with its own arguments.
type pgStandbyCommand struct {
	Args []string `arg:"" optional:""`
}

// Run does what pg_standby did.
func (c *pgStandbyCommand) Run(ctx context.Context, p *process, g *globals) error {
	options, err := walcore.ParsePgStandby(c.Args)
	if err != nil {
		return err
	}
	switch {
	case options.Help:
		_, err := fmt.Fprint(p.out, walcore.PgStandbyUsage("pg_standby"))
		return err
	case options.Version:
		_, err := fmt.Fprintf(p.out, "pg_standby (warmrun) %s\n", version)
		return err
	}
	request, err := p.restoreRequest(g, options.Archive)
	var unread unreadSite
	if err != nil && !errors.As(err, &unread) {
		return err
	}
	cleans := options.Restart != "" || options.KeepFiles > 0
	if unread.error != nil {
		options.Restart, options.KeepFiles = "", 0
	}
	// These were pg_standby's way to be told to fail over at once.
	failover := make(chan struct{})
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1, os.Interrupt)
	defer signal.Stop(asked)
	go func() {
		select {
		case <-asked:
			close(failover)
		case <-ctx.Done():
		}
	}()
	request.Failover = failover
	err = walcore.PgStandby(ctx, options, request)
	if err == nil && cleans && unread.error != nil {
		request.Name, request.Archive = options.Next, options.Archive
		p.keptAll(request, unread)
	}
	return err
}
