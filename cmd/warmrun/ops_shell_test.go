package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestRunShell(t *testing.T) {
	var out, complaints bytes.Buffer
	if err := runShell(t.Context(), "echo here; echo there >&2", &out, &complaints); err != nil || out.String() != "here\n" || complaints.String() != "there\n" {
		t.Errorf("got %q, %q, %v", &out, &complaints, err)
	}
	if err := runShell(t.Context(), "exit 7", &out, &complaints); err == nil || err.Error() != "exit 7: exit status 7" {
		t.Errorf("got %v", err)
	}
}

// A run that is called off ends the command and what that has started.
func TestRunShellEnds(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "begun")
	ctx, cancel := context.WithCancelCause(t.Context())
	called := errors.New("called off")
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(mark); err == nil {
				cancel(called)
			}
			time.Sleep(time.Millisecond)
		}
	}()
	// The inner shell holds the pipe; left alone it would hold this test.
	var out bytes.Buffer
	err := runShell(ctx, "(touch "+mark+"; sleep 600) & wait", &out, &out)
	if !errors.Is(err, called) {
		t.Errorf("got %v, want the cause", err)
	}
}

// fakeCrontab is a crontab command that keeps one table in a file.
func fakeCrontab(t *testing.T) (table string) {
	t.Helper()
	dir := t.TempDir()
	table = filepath.Join(dir, "table")
	script := "#!/bin/sh\ncase $1 in\n-l) cat " + table + " 2>/dev/null || { echo 'no crontab for me' >&2; exit 1; } ;;\n-) cat > " + table + ".new && mv " + table + ".new " + table + " ;;\nesac\n"
	if err := os.WriteFile(filepath.Join(dir, "crontab"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return table
}

func TestSetCron(t *testing.T) {
	table := fakeCrontab(t)
	for _, step := range []struct{ name, line, before, want string }{
		{"rsyncDR", "* * * * * warmrun rsyncDR", "", "* * * * * warmrun rsyncDR # warmrun: rsyncDR\n"},
		{"rsyncDR", "* * * * * warmrun rsyncDR", "* * * * * warmrun rsyncDR", "* * * * * warmrun rsyncDR # warmrun: rsyncDR\n"},
		{"check", "0 2 * * * x", "", "* * * * * warmrun rsyncDR # warmrun: rsyncDR\n0 2 * * * x # warmrun: check\n"},
		{"rsyncDR", "*/5 * * * * y", "* * * * * warmrun rsyncDR", "0 2 * * * x # warmrun: check\n*/5 * * * * y # warmrun: rsyncDR\n"},
		{"check", "", "0 2 * * * x", "*/5 * * * * y # warmrun: rsyncDR\n"},
	} {
		result, err := setCron(t.Context(), nil, cronOptions{Name: step.name, Line: step.line})
		if err != nil || result.Before != step.before {
			t.Errorf("%+v: got %+v, %v", step, result, err)
		}
		if text, err := os.ReadFile(table); err != nil || string(text) != step.want {
			t.Errorf("%+v: got table %q, %v", step, text, err)
		}
	}
	// Lines of others stay as they are.
	if err := os.WriteFile(table, []byte("# mine\n@daily z # warmrun: others\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := setCron(t.Context(), nil, cronOptions{Name: "a", Line: "@hourly b"}); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(table); string(text) != "# mine\n@daily z # warmrun: others\n@hourly b # warmrun: a\n" {
		t.Errorf("got %q", text)
	}
	for _, bad := range []cronOptions{{Name: "", Line: "x"}, {Name: "a b", Line: "x"}, {Name: "a", Line: "x\ny"}} {
		if _, err := setCron(t.Context(), nil, bad); err == nil || !strings.Contains(err.Error(), "a line of a crontab needs a name") {
			t.Errorf("%+v: got %v", bad, err)
		}
	}
}
