package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/warmrun/warmrun/builtins/basebackup"
	"github.com/warmrun/warmrun/builtins/filesync"
	"github.com/warmrun/warmrun/builtins/pgctl"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// verifyCopyCommand compares a base copy with its backup manifest.
type verifyCopyCommand struct {
	Dir        string `arg:"" optional:"" help:"The data directory of the copy (default: this node's)."`
	JSON       bool   `help:"Print JSON, when all is done."`
	NoProgress bool   `name:"no-progress" help:"Do not say how far the check is."`
}

// Help is what the flags do not say.
func (c *verifyCopyCommand) Help() string {
	return `Every file is read and compared with backup_manifest, as pg_verifybackup does, for copies of any server version and for backups made by pg_basebackup. It is for a copy from which no server was started yet: a server changes its files. WAL is not looked at: see warmrun wal verify.

The exit code is 0 when all is well, 1 when something is wrong, and 3 when there is no copy with a manifest.`
}

// Run prints a line for each file that is not as it was copied, and a summary.
// The error is a negativeError when there was one.
func (c *verifyCopyCommand) Run(ctx context.Context, p *process, g *globals) error {
	request, err := c.request(p, *g)
	if err != nil {
		return err
	}
	begun := time.Now()
	bar := &progress{out: p.err, columns: max(columnsOf(p.err)-1, 0), every: linesEvery}
	if !c.NoProgress {
		request.Progress = bar.verifying(begun)
	}
	report, err := verifyCopy(ctx, request)
	bar.clear()
	if err != nil {
		return err
	}
	if len(request.Ignore) > 0 {
		fmt.Fprintf(foldTo(p.err), "warmrun: not compared: %s\n", strings.Join(request.Ignore, ", "))
	}
	if started(request.Dir) {
		fmt.Fprintf(foldTo(p.err), "warmrun: a server was started from this copy (it has a backup_label.old), and has changed files since\n")
	}
	if c.JSON {
		err = printJSON(p.out, report)
	} else {
		err = printVerified(p.out, report, time.Since(begun))
	}
	if err == nil && len(report.Findings) > 0 {
		err = negativeError{fmt.Errorf("%d findings", len(report.Findings))}
	}
	return err
}

// request is about the directory that was named, for which no site is needed,
// or about this node's.
func (c *verifyCopyCommand) request(p *process, g globals) (basebackup.VerifyRequest, error) {
	if c.Dir != "" {
		dir, err := filepath.Abs(c.Dir)
		return basebackup.VerifyRequest{Dir: dir}, err
	}
	s, err := p.session(g)
	if err != nil {
		return basebackup.VerifyRequest{}, err
	}
	request, err := verifyOwn(s.site)
	return request, errors.Join(err, s.Close())
}

// verifyOwn is about this node's data directory. Configuring it as a standby
// has written its settings.
func verifyOwn(site *cluster.Site) (basebackup.VerifyRequest, error) {
	self := site.Self
	named := newView(self, self.PGData)
	resolved, err := named.resolved()
	if err != nil {
		return basebackup.VerifyRequest{}, err
	}
	r := basebackup.VerifyRequest{Dir: self.PGData, Ignore: insidePGDATA(named, resolved)}
	kind, err := walcore.DetectRecovery(self.PGData)
	if kind != walcore.RecoveryStandby {
		return r, err
	}
	r.Ignore = append(r.Ignore, "/postgresql.conf")
	if _, err := os.Stat(site.Global("pg_hba.conf")); err == nil {
		r.Ignore = append(r.Ignore, "/pg_hba.conf")
	}
	return r, nil
}

// verifyBase is copy.verify. What is wrong is printed and makes it fail. To a
// plan it counts as a change: what is there now is not what will be compared.
func verifyBase(ctx context.Context, s *session, _ none) (basebackup.VerifyReport, error) {
	request, err := verifyOwn(s.site)
	if err != nil {
		return basebackup.VerifyReport{}, err
	}
	bar, begun := s.progress(ctx), time.Now()
	request.Progress = bar.verifying(begun)
	report, err := verifyCopy(ctx, request)
	bar.clear()
	if err != nil {
		return report, err
	}
	for _, f := range report.Findings {
		say(ctx, s, "%s", f)
	}
	if n := len(report.Findings); n > 0 {
		return report, hint.Wrap(fmt.Errorf("the copy in %s is not as it was made: %s", report.Dir, counted(n, "finding")),
			"look for a failing disk there, and make the copy again: it sends only what differs")
	}
	return report, nil
}

// verifying shows how far a check is.
func (p *progress) verifying(begun time.Time) func(basebackup.VerifyProgress) {
	return func(v basebackup.VerifyProgress) {
		p.show(filesync.Progress{Bytes: v.Bytes, TotalBytes: v.TotalBytes, Elapsed: time.Since(begun)})
	}
}

// verifyCopy is basebackup.Verify for a directory in which no server runs.
func verifyCopy(ctx context.Context, r basebackup.VerifyRequest) (basebackup.VerifyReport, error) {
	status, err := pgctl.Server{PGData: r.Dir}.Status(ctx)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return basebackup.VerifyReport{}, absentError{err}
	case err != nil:
		return basebackup.VerifyReport{}, err
	case status.Running:
		return basebackup.VerifyReport{}, hint.Wrap(fmt.Errorf("a server runs in %s and changes its files", r.Dir), "a base copy is verified before its first start")
	}
	report, err := basebackup.Verify(ctx, r)
	if errors.Is(err, basebackup.ErrNoManifest) {
		err = absentError{err}
	}
	return report, err
}

// started reports whether a server has begun to recover from a copy.
func started(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, "backup_label.old"))
	return err == nil
}

func printVerified(out io.Writer, r basebackup.VerifyReport, took time.Duration) error {
	out = foldTo(out)
	for _, f := range r.Findings {
		if _, err := fmt.Fprintln(out, f); err != nil {
			return err
		}
	}
	verdict := "all is well"
	if n := len(r.Findings); n > 0 {
		verdict = counted(n, "finding")
	}
	for _, wal := range r.WAL {
		if _, err := fmt.Fprintf(out, "needs WAL from %s to %s on timeline %d\n", wal.Start, wal.End, wal.Timeline); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(out, "%s: %s of cluster %d, %s, in %s (%s/s): %s\n", r.Dir, counted(r.Files, "file"), r.SystemID,
		bytesText(r.Bytes), took.Round(time.Millisecond), bytesText(int64(float64(r.Bytes)/took.Seconds())), verdict)
	return err
}
