package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// shellOptions is a command for /bin/sh.
type shellOptions struct {
	Command string `json:"command"`
}

// cronOptions is a line of a crontab under a name of ours.
type cronOptions struct {
	Name string `json:"name"`
	Line string `json:"line"` // empty: none
}

type cronResult struct {
	Before string `json:"before"` // empty: there was none
}

// verified is the short form of a check of an archive.
type verified struct {
	Segments int    `json:"segments"`
	Records  uint64 `json:"records"`
	Findings int    `json:"findings"`
	First    string `json:"first"` // finding
}

func shellOperations() []operation {
	return []operation{
		shell("run", engine.Change, "run a shell command on any node, this one too, with its output shown live",
			func(ctx context.Context, s *session, o shellOptions) (none, error) {
				return none{}, runShell(ctx, o.Command, s.live(ctx), s.live(ctx))
			}),
		shell("read", engine.Read, "the output of a shell command that changes nothing, on any node, this one too",
			func(ctx context.Context, _ *session, o shellOptions) (string, error) {
				var out, complaints bytes.Buffer
				err := runShell(ctx, o.Command, &out, &complaints)
				if text := strings.TrimSpace(complaints.String()); err != nil && text != "" {
					err = fmt.Errorf("%w: %s", err, strings.ReplaceAll(text, "\n", "; "))
				}
				return strings.TrimRight(out.String(), "\n"), err
			}),
		onNode("cron", "set", engine.Change, "put a line into the crontab of this account, in the place of the one of that name; an empty line takes it away", setCron),
		onNode("archive", "verify", engine.Read, "whether the node's whole archive is sound: gaps, headers, every record's checksum",
			func(ctx context.Context, s *session, _ none) (verified, error) {
				archive, err := walcore.OpenArchive(s.site.Self.Archive)
				if err != nil {
					return verified{}, err
				}
				report, err := archive.Verify(ctx, walcore.VerifyRequest{Own: ownCuts(archive, s.site.Self.Name)})
				out := verified{Segments: report.Segments, Records: report.Records, Findings: len(report.Findings)}
				if len(report.Findings) > 0 {
					out.First = fmt.Sprint(report.Findings[0])
				}
				return out, err
			}),
	}
}

// shell declares an operation whose second argument is the command itself.
func shell[R any](name string, effect engine.Effect, doc string, run func(context.Context, *session, shellOptions) (R, error)) operation {
	op := onNode("shell", name, effect, doc, run)
	full := "shell." + name
	op.bind = func(s *session) engine.Func {
		return engine.Func{Name: name, Effect: effect, Doc: doc, Args: []string{"node", "command"}, Describe: describer(full),
			Fn: func(ctx context.Context, node, command string) (R, error) {
				return callOn(ctx, s, cluster.NodeName(node), full, shellOptions{command}, run)
			}}
	}
	return op
}

// shellGrace is how long a command may take to end when its run is called off.
const shellGrace = 10 * time.Second

// runShell runs a command in a process group of its own, so that the end of ctx
// ends all that it has started.
func runShell(ctx context.Context, command string, out, errOut io.Writer) error {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.Stdout, cmd.Stderr = out, errOut
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = shellGrace
	err := cmd.Run()
	if ctx.Err() != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what did not end by itself
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	return nil
}

// cronMark ends a line of a crontab that belongs to us.
const cronMark = " # warmrun: "

// cronName keeps marks apart: cron gives % a meaning, and a line has no breaks.
const cronName = `^[A-Za-z0-9_-]+$`

func setCron(ctx context.Context, _ *session, o cronOptions) (cronResult, error) {
	if !regexp.MustCompile(cronName).MatchString(o.Name) || strings.ContainsAny(o.Line, "\n\r") {
		return cronResult{}, engine.NotBegun(fmt.Errorf("a line of a crontab needs a name of letters, digits, - and _, and is one line: %q, %q", o.Name, o.Line))
	}
	var table, complaints bytes.Buffer
	err := runShell(ctx, "crontab -l", &table, &complaints)
	if err != nil && !strings.Contains(complaints.String(), "no crontab") {
		return cronResult{}, engine.NotBegun(hint.Wrap(fmt.Errorf("%w: %s", err, strings.TrimSpace(complaints.String())),
			"cron must be installed, and let this account have a crontab (/etc/cron.allow)"))
	}
	var kept []string
	var result cronResult
	mark := cronMark + o.Name
	for _, line := range strings.Split(strings.TrimRight(table.String(), "\n"), "\n") {
		if text, ours := strings.CutSuffix(line, mark); ours {
			result.Before = text
			continue
		}
		kept = append(kept, line)
	}
	if o.Line != "" {
		kept = append(kept, o.Line+mark)
	}
	if result.Before == o.Line {
		return result, nil
	}
	cmd := exec.CommandContext(ctx, "crontab", "-")
	cmd.Stdin = strings.NewReader(strings.TrimLeft(strings.Join(kept, "\n"), "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return result, fmt.Errorf("crontab: %w: %s", err, bytes.TrimSpace(out))
	}
	return result, nil
}
