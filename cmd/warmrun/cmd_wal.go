package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
	"github.com/warmrun/warmrun/walcore/packed"
)

// walCommand looks at WAL without changing any.
type walCommand struct {
	Ls     walLsCommand     `cmd:"" help:"Show what the archive holds: timelines, runs of segments, gaps."`
	Show   walShowCommand   `cmd:"" help:"Show what one WAL file holds, in the archive or anywhere."`
	Verify walVerifyCommand `cmd:"" help:"Check the archive: gaps, headers, the checksum of every record."`
}

// archiveFlag says which archive is looked at.
type archiveFlag struct {
	Archive string `help:"Look at this directory; no site is needed (default: this node's archive)." placeholder:"DIR"`
}

// absentError is an archive that is not there, to commands that only look at
// it: to those it is an answer, with an exit code of its own.
type absentError struct{ error }

func (e absentError) Unwrap() error { return e.error }

// negativeError is an answer that has been printed, and is no.
type negativeError struct{ error }

func (e negativeError) Unwrap() error { return e.error }

func (c archiveFlag) open(p *process, g globals) (*walcore.Archive, error) {
	archive, _, err := c.openOf(p, g)
	return archive, err
}

// openOf also says whose archive it is: empty for a directory that was named.
func (c archiveFlag) openOf(p *process, g globals) (*walcore.Archive, cluster.NodeName, error) {
	dir, node := c.Archive, cluster.NodeName("")
	if dir == "" {
		s, err := p.session(g)
		if err != nil {
			return nil, "", err
		}
		dir, node = s.site.Self.Archive, s.site.Self.Name
		if err := s.Close(); err != nil {
			return nil, "", err
		}
	}
	archive, err := walcore.OpenArchive(dir)
	if errors.Is(err, walcore.ErrNoArchive) {
		err = absentError{err}
	}
	return archive, node, err
}

// walLsCommand is wal ls.
type walLsCommand struct {
	archiveFlag
	Long bool `short:"l" help:"List every file, too."`
	JSON bool `help:"Print JSON."`
}

// Run prints the archive's content.
func (c *walLsCommand) Run(p *process, g *globals) error {
	archive, node, err := c.openOf(p, *g)
	if err != nil {
		return err
	}
	listing, err := archive.Listing()
	if err != nil {
		return err
	}
	if node != "" {
		listing.MarkOwn(ownCuts(archive, node))
	}
	if !c.Long {
		listing.All = nil
	}
	if c.JSON {
		return printJSON(p.out, listing)
	}
	return printListing(p.out, listing)
}

// walShowCommand is wal show.
type walShowCommand struct {
	File string `arg:"" help:"Name of a file in the archive, or the path of one anywhere."`
	archiveFlag
	JSON bool `help:"Print JSON."`
}

// Run prints what the file holds. That it is damaged is part of the answer.
func (c *walShowCommand) Run(ctx context.Context, p *process, g *globals) error {
	facts, err := c.describe(ctx, p, *g)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(p.out, facts)
	}
	return printFacts(p.out, facts)
}

// describe finds the file. A name without a slash is one in the archive, unless
// such a file is right here and no archive was asked for.
func (c *walShowCommand) describe(ctx context.Context, p *process, g globals) (walcore.FileFacts, error) {
	base, _ := packed.Split(c.File) // a packed segment is known by its name
	name, nameErr := walcore.ParseFileName(base)
	_, statErr := os.Stat(c.File)
	switch {
	case errors.Is(statErr, os.ErrNotExist) && strings.Contains(c.File, "/"):
		return walcore.FileFacts{}, absentError{statErr}
	case strings.Contains(c.File, "/"), c.Archive == "" && statErr == nil:
		return walcore.DescribeFile(ctx, c.File)
	case nameErr != nil:
		return walcore.FileFacts{}, usageError{hint.Wrap(nameErr, "for a file of another name give its path, as in ./%s", c.File)}
	}
	archive, err := c.open(p, g)
	if err != nil {
		return walcore.FileFacts{}, err
	}
	return archive.Describe(ctx, name)
}

// walVerifyCommand is wal verify.
type walVerifyCommand struct {
	archiveFlag
	From     string `help:"Begin at this segment, which must be there." placeholder:"SEGMENT"`
	To       string `help:"End at this segment; all up to it must be there." placeholder:"SEGMENT"`
	Timeline uint32 `help:"Check only the WAL that leads to this timeline." placeholder:"N"`
	JSON     bool   `help:"Print JSON, when all is done."`
}

// Run prints a line for each thing that is wrong as soon as it is found, and a
// summary. The error is a negativeError when anything was.
func (c *walVerifyCommand) Run(ctx context.Context, p *process, g *globals) error {
	request, err := c.request()
	if err != nil {
		return err
	}
	archive, node, err := c.openOf(p, *g)
	if err != nil {
		return err
	}
	if node != "" {
		request.Own = ownCuts(archive, node)
	}
	line := verifyLine{out: p.err, silent: !isTerminal(p.err), begun: time.Now()}
	request.Progress = line.show
	if !c.JSON {
		request.Found = func(f walcore.Finding) {
			line.clear()
			fmt.Fprintln(foldTo(p.out), f)
		}
	}
	report, err := archive.Verify(ctx, request)
	line.clear()
	if errors.Is(err, walcore.ErrNoArchive) {
		return absentError{err}
	}
	if err != nil {
		return err
	}
	if err := c.print(p.out, report, time.Since(line.begun)); err != nil {
		return err
	}
	if len(report.Findings) > 0 {
		return negativeError{fmt.Errorf("%d findings", len(report.Findings))}
	}
	return nil
}

// ownCuts are the beginnings of the timelines that the archive's node has written
// itself. A fence that cannot be read excuses nothing.
func ownCuts(archive *walcore.Archive, node cluster.NodeName) []walcore.Cut {
	fence, err := archive.Fence()
	if err != nil {
		return nil
	}
	return raisedFor(node, fence)
}

func (c *walVerifyCommand) request() (walcore.VerifyRequest, error) {
	r := walcore.VerifyRequest{Timeline: walcore.Timeline(c.Timeline)}
	for text, segment := range map[string]*walcore.SegmentName{c.From: &r.From, c.To: &r.To} {
		if text == "" {
			continue
		}
		name, err := walcore.ParseSegmentName(text)
		if err != nil {
			return r, usageError{err}
		}
		*segment = name
	}
	if r.From != "" && r.To != "" && r.From.Position() > r.To.Position() {
		return r, usageError{fmt.Errorf("--from %s lies behind --to %s", r.From, r.To)}
	}
	return r, nil
}

func (c *walVerifyCommand) print(out io.Writer, report walcore.VerifyReport, took time.Duration) error {
	if c.JSON {
		return printJSON(out, report)
	}
	for _, note := range report.Notes {
		if _, err := fmt.Fprintf(out, "note: %s\n", note); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(out, summary(report, took))
	return err
}

func printJSON(out io.Writer, value any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}
