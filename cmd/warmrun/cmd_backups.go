package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/warmrun/warmrun/builtins/backups"
	"github.com/warmrun/warmrun/walcore"
)

// backupsCommand looks at the base copies that this node keeps.
type backupsCommand struct {
	List   backupsListCommand   `cmd:"" help:"List the base copies that this node keeps, oldest first."`
	Show   backupsShowCommand   `cmd:"" help:"Show what is known of one, and how far it can be recovered to."`
	Verify backupsVerifyCommand `cmd:"" help:"Compare one, or the newest, with its backup manifest, and note the result."`
	Remove backupsRemoveCommand `cmd:"" help:"Remove one, and let the WAL go that only it needs."`
}

// backupsListCommand is backups list.
type backupsListCommand struct {
	JSON bool `help:"Print JSON."`
}

// Run prints the list. That there is none is an answer too.
func (c *backupsListCommand) Run(p *process, g *globals) error {
	s, err := p.session(*g)
	if err != nil {
		return err
	}
	defer s.Close()
	copies, err := s.backups().List()
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(p.out, append([]backups.Copy{}, copies...))
	}
	if len(copies) == 0 {
		_, err := fmt.Fprintf(p.out, "%s keeps no base copy in %s; warmrun backup takes one\n", s.site.Self.Name, s.backups().Dir)
		return err
	}
	w := tabwriter.NewWriter(p.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tcomplete at\tfrom\ttimeline\tstops at\tsize\t")
	for _, copied := range copies {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", copied.ID, completeText(copied), copied.Source, uint32(copied.Timeline), copied.StopLSN, bytesText(copied.Bytes), verdictOf(copied))
	}
	return w.Flush()
}

func completeText(c backups.Copy) string {
	if !c.Complete() {
		return "never"
	}
	return c.Finished.UTC().Format(time.RFC3339)
}

// verdictOf is what is known of a copy's state.
func verdictOf(c backups.Copy) string {
	switch {
	case !c.Complete():
		return "not complete: being made, or left over"
	case c.Damaged != "":
		return "DAMAGED: " + c.Damaged
	case !c.Verified.IsZero():
		return "verified " + c.Verified.UTC().Format(time.RFC3339)
	}
	return ""
}

// backupsShowCommand is backups show.
type backupsShowCommand struct {
	ID   string `arg:"" optional:"" help:"The copy's ID (default: the newest good one)."`
	JSON bool   `help:"Print JSON."`
}

// shownBackup is a copy, and how far a recovery from it gets.
type shownBackup struct {
	backups.Copy
	Timeline  walcore.Timeline  `json:"recovers_along"`
	Reaches   walcore.LSN       `json:"reaches,omitzero"`
	LastEnded *walcore.Landmark `json:"last_transaction,omitempty"`
	Unknown   string            `json:"unknown,omitempty"`
}

// Run prints what is known.
func (c *backupsShowCommand) Run(ctx context.Context, p *process, g *globals) error {
	s, err := p.session(*g)
	if err != nil {
		return err
	}
	defer s.Close()
	copied, err := pickBackup(s, c.ID)
	if err != nil {
		return err
	}
	shown := shownBackup{Copy: copied}
	choice, err := s.backups().Choose(ctx, walcore.Target{}, 0, copied.ID)
	if err != nil {
		shown.Unknown = err.Error()
	} else {
		shown.Timeline, shown.Reaches = choice.Timeline, choice.At
		if choice.Last.At != 0 {
			shown.LastEnded = &choice.Last
		}
	}
	if c.JSON {
		return printJSON(p.out, shown)
	}
	w := tabwriter.NewWriter(p.out, 0, 8, 2, ' ', 0)
	fmt.Fprintf(w, "%s\t%s\n", copied.ID, copied.Dir)
	fmt.Fprintf(w, "from\t%s, cluster %d, server %d\n", copied.Source, copied.SystemID, copied.Version)
	fmt.Fprintf(w, "complete at\t%s\n", completeText(copied))
	fmt.Fprintf(w, "WAL\tfrom %s (%s) to %s on timeline %d\n", copied.StartLSN, copied.StartSegment, copied.StopLSN, uint32(copied.Timeline))
	fmt.Fprintf(w, "size\t%s\n", bytesText(copied.Bytes))
	if copied.Seed != "" {
		fmt.Fprintf(w, "made from\t%s, of which only the differences were sent\n", copied.Seed)
	}
	if verdict := verdictOf(copied); verdict != "" {
		fmt.Fprintf(w, "state\t%s\n", verdict)
	}
	switch {
	case shown.Unknown != "":
		fmt.Fprintf(w, "reaches\tunknown: %s\n", shown.Unknown)
	case shown.LastEnded != nil:
		fmt.Fprintf(w, "reaches\t%s on timeline %d, with the transaction that ended at %s\n", shown.Reaches, uint32(shown.Timeline), shown.LastEnded.Time.Format(time.RFC3339Nano))
	default:
		fmt.Fprintf(w, "reaches\t%s on timeline %d; no transaction ended since\n", shown.Reaches, uint32(shown.Timeline))
	}
	return w.Flush()
}

// pickBackup is the copy of an ID, or the newest good one.
func pickBackup(s *session, id string) (backups.Copy, error) {
	if id != "" {
		copied, err := s.backups().Find(id)
		return copied, absentBackup(err)
	}
	good, err := s.backups().Good()
	if err == nil && len(good) == 0 {
		err = absentBackup(fmt.Errorf("%w in %s", backups.ErrNoCopy, s.backups().Dir))
	}
	if err != nil {
		return backups.Copy{}, err
	}
	return good[len(good)-1], nil
}

// absentBackup makes the error of a copy that is not there an answer.
func absentBackup(err error) error {
	if errors.Is(err, backups.ErrNoCopy) {
		return absentError{err}
	}
	return err
}

// backupsVerifyCommand is backups verify.
type backupsVerifyCommand struct {
	ID string `arg:"" optional:"" help:"The copy's ID (default: the newest good one)."`
}

// Run reads the whole copy. One that is damaged is not restored from any more,
// and does not count as the last good one.
func (c *backupsVerifyCommand) Run(ctx context.Context, p *process, g *globals) error {
	s, err := p.session(*g)
	if err != nil {
		return err
	}
	defer s.Close()
	s.serving = true // what is said goes to standard error
	copied, err := pickBackup(s, c.ID)
	if err != nil {
		return err
	}
	copied, err = verifyBackup(ctx, s, backupIDOption{copied.ID})
	if err == nil {
		_, err = fmt.Fprintf(p.out, "%s: all is well\n", copied.ID)
	}
	return err
}

// backupsRemoveCommand is backups remove.
type backupsRemoveCommand struct {
	ID   string `arg:"" help:"The copy's ID."`
	Last bool   `help:"Also where it is the last good one."`
}

// Run removes the copy under the lock of the runbook that makes copies: one that
// is being made is not removed.
func (c *backupsRemoveCommand) Run(ctx context.Context, p *process, g *globals) error {
	s, err := p.session(*g)
	if err != nil {
		return err
	}
	defer s.Close()
	copied, err := s.backups().Find(c.ID)
	if err != nil {
		return absentBackup(err)
	}
	lock, err := lockRun(ctx, s, "backup", "node")
	if err != nil {
		return err
	}
	defer lock.release()
	if err := p.agree(ctx, s, fmt.Sprintf("Remove the base copy %s, complete at %s?", copied.ID, completeText(copied))); err != nil {
		return err
	}
	if err := s.backups().Remove(c.ID, c.Last); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.out, "Removed %s\n", copied.ID)
	return err
}
