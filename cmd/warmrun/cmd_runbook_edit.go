package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/hint"
)

// diff is the site's change of a shipped runbook, and what has happened to the
// shipped one since.
func (v variant) diff() string {
	shipped := "shipped/" + v.name + ".lua"
	if !v.moved() {
		return unified(shipped, v.shipped, v.path, v.own)
	}
	merged, conflicts := v.merged()
	var b strings.Builder
	fmt.Fprintf(&b, "# 1. What the site has changed\n\n%s", unified(shipped+" then", v.base, v.path, v.own))
	fmt.Fprintf(&b, "\n# 2. What has changed in the shipped text since\n\n%s", unified(shipped+" then", v.base, shipped+" now", v.shipped))
	fmt.Fprintf(&b, "\n# 3. What warmrun runbook edit --merge %s would change in the site's text", v.name)
	if conflicts > 0 {
		fmt.Fprintf(&b, "; %d of both changes are in the same lines, for you to decide", conflicts)
	}
	fmt.Fprintf(&b, "\n\n%s", unified(v.path, v.own, v.path+" merged", merged))
	return b.String()
}

// unified is a diff without the line that repeats the names.
func unified(oldName, oldText, newName, newText string) string {
	_, text, _ := strings.Cut(string(diff.Diff(oldName, []byte(oldText), newName, []byte(newText))), "\n")
	return text
}

// merged is the site's text with the shipped change in it.
func (v variant) merged() (text string, conflicts int) {
	return merge3(v.base, v.own, v.shipped, "the site's", "shipped")
}

// runbookEditCommand makes or changes the site's own text.
type runbookEditCommand struct {
	Name  string `arg:"" help:"The runbook."`
	Merge bool   `help:"Take in what has changed in the shipped text since the site's own was made from it."`
}

// Run opens $VISUAL or $EDITOR on a terminal, and says where the file is
// elsewhere. A text that was left as it was shipped does not stay.
func (c *runbookEditCommand) Run(ctx context.Context, p *process, g *globals) error {
	s, err := p.session(*g)
	if err != nil {
		return err
	}
	defer s.Close()
	v, err := lookAt(s.site, c.Name)
	if err != nil {
		return err
	}
	if c.Merge {
		return c.merge(p, s, v)
	}
	if !v.hasOwn {
		if err := v.override(s.site, v.shipped); err != nil {
			return err
		}
	}
	edited, err := edit(ctx, p, v.path)
	if err != nil || !edited {
		return err
	}
	return s.afterEdit(ctx, p, c.Name)
}

// merge writes the merged text; conflicts are marked in it.
func (c *runbookEditCommand) merge(p *process, s *session, v variant) error {
	switch {
	case v.origin() != originOverride:
		return fmt.Errorf("%s has no text of the site's own beside a shipped one, so there is nothing to merge", v.name)
	case !v.known:
		return hint.Wrap(fmt.Errorf("which shipped text %s was made from is not known, so the changes cannot be told apart", v.path),
			"compare them by hand: warmrun runbook diff %s; then begin anew: warmrun runbook revert %[1]s, warmrun runbook edit %[1]s", v.name)
	case !v.moved():
		_, err := fmt.Fprintf(p.out, "The shipped %s has not changed since; nothing to merge\n", v.name)
		return err
	}
	text, conflicts := v.merged()
	if err := v.override(s.site, text); err != nil {
		return err
	}
	if conflicts > 0 {
		return hint.Wrap(fmt.Errorf("%d changes are in the same lines of %s as the site's; both stand there between <<<<<<< and >>>>>>>", conflicts, v.path),
			"decide each in the file (warmrun runbook edit %s), then: warmrun runbook lint %[1]s", v.name)
	}
	_, err := fmt.Fprintf(p.out, "%s has the shipped changes now; look at it with: warmrun runbook diff %s\n", v.path, v.name)
	return err
}

// edit lets the operator change a file, and reports whether an editor was there.
func edit(ctx context.Context, p *process, path string) (bool, error) {
	editor := firstSet("VISUAL", "EDITOR")
	if editor == "" || !isTerminal(p.in) {
		_, err := fmt.Fprintf(p.out, "%s\nEdit it, then: warmrun runbook lint %[1]s\n", path)
		return false, err
	}
	// The variables may hold a command with its arguments.
	cmd := exec.CommandContext(ctx, "sh", "-c", editor+` "$1"`, "sh", path)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = p.in, p.out, p.err
	if err := cmd.Run(); err != nil {
		return false, fmt.Errorf("the editor %s: %w", editor, err)
	}
	return true, nil
}

func firstSet(names ...string) string {
	for _, name := range names {
		if value := os.Getenv(name); value != "" {
			return value
		}
	}
	return ""
}

// afterEdit takes back an override that changes nothing, and reports mistakes
// in one that does.
func (s *session) afterEdit(ctx context.Context, p *process, name string) error {
	v, err := lookAt(s.site, name)
	if err != nil {
		return err
	}
	if v.origin() == originOverride && v.own == v.shipped {
		if err := errors.Join(os.Remove(v.path), v.forgetBase(s.site)); err != nil {
			return err
		}
		_, err := fmt.Fprintf(p.out, "Nothing was changed; the shipped %s stays in use\n", name)
		return err
	}
	source, err := findSource(s.site, name, "")
	if err != nil {
		return err
	}
	if found := engine.Lint(ctx, source, s.host(s.setting())); len(found) > 0 {
		return errors.Join(printFindings(p, found), hint.Wrap(fmt.Errorf("%s has mistakes", v.path),
			"mend them: warmrun runbook edit %s; or give it up: warmrun runbook revert %[1]s", name))
	}
	_, err = fmt.Fprintf(p.out, "See what it would do: warmrun %s --plan. To bring it to the other nodes: warmrun distrib\n", name)
	return err
}

// runbookRevertCommand gives up an override.
type runbookRevertCommand struct {
	Name string `arg:"" help:"The runbook."`
}

// Run takes the site's own text out of use and keeps it under another name.
func (c *runbookRevertCommand) Run(_ context.Context, p *process, g *globals) error {
	s, err := p.session(*g)
	if err != nil {
		return err
	}
	defer s.Close()
	v, err := lookAt(s.site, c.Name)
	if err != nil {
		return err
	}
	kept, err := v.revert(s.site)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.out, "The shipped %s is in use again here; the site's own is kept as %s\nOn the other nodes it is taken out of use by: warmrun distrib\n", c.Name, kept)
	return err
}
