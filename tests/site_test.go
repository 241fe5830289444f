package tests

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/warmrun/warmrun/tests/cluster"
)

// TestSiteRunbooks walks one cluster through what a site adds to the shipped
// runbooks: extensions that work on other nodes, one that fails, a webhook whose
// address is a secret, what happens without that, and a check of its own.
func TestSiteRunbooks(t *testing.T) {
	t.Parallel()
	hook := newWebhook(t)
	s := newState(t)
	s.DB1.Write(filepath.Join(s.DB1.Home, "global", "webhook.url"), hook.URL+"/services/secret-path\n")
	s.DB1.Must("runbook", "new", "--example", "switchover.d/webhook")
	s.DB1.Must("runbook", "new", "--example", "restoreCheck")
	s.DB1.Write(filepath.Join(s.DB1.Home, "global", "runbooks", "flushPrimary.d", "mark.lua"), markExtension)
	s.DB1.Must("runbook", "lint")
	s.DB1.Must("distrib")
	s.inTurn(
		chapter{"an archive that could be restored from", (*state).restorable},
		chapter{"an extension that fails", func(s *state) { s.extensionFails(hook) }},
		chapter{"an extension around a switchover", func(s *state) { s.extensionWorks(hook) }},
		chapter{"the secret of a notification is gone", func(s *state) { s.secretGone(hook) }},
	)
}

// markExtension leaves marks on both nodes, from the node that is flushed. Where
// a file called fail lies there, it fails after the server was stopped.
const markExtension = `return extension {
  api = 1, extends = "flushPrimary", summary = "leave marks",
  before = { stop = step { "mark", on_error = "fail",
    run = function(c)
      shell.run(c.node, "touch " .. cluster.node(c.node).home .. "/local/marked")
      shell.run(c.partner, "touch " .. cluster.node(c.partner).home .. "/local/marked")
    end,
    undo = function(c)
      shell.run(c.node, "rm " .. cluster.node(c.node).home .. "/local/marked")
      shell.run(c.partner, "rm " .. cluster.node(c.partner).home .. "/local/marked")
    end } },
  after = { fence = step { "refuse", on_error = "fail", run = function(c)
    if shell.read(c.node, "ls " .. cluster.node(c.node).home .. "/local") :find("fail", 1, true) then fail("the site says no") end
  end } },
}
`

// webhook keeps what is posted to it.
type webhook struct {
	*httptest.Server
	mu    sync.Mutex
	texts []string
}

func newWebhook(t *testing.T) *webhook {
	w := &webhook{}
	w.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body struct{ Text string }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.URL.Path != "/services/secret-path" {
			t.Errorf("posted to %s: %v", r.URL, err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.texts = append(w.texts, body.Text)
	}))
	t.Cleanup(w.Close)
	return w
}

// take gives what was posted since it was last asked.
func (w *webhook) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	texts := w.texts
	w.texts = nil
	return texts
}

func (s *state) marks() (marks []string) {
	for _, n := range []*cluster.Node{s.DB1, s.DB2} {
		if n.Exists(filepath.Join(n.Home, "local", "marked")) {
			marks = append(marks, n.Name)
		}
	}
	return marks
}

// restorable: the nightly check passes on the standby, and fails when a byte in
// its archive has turned.
func (s *state) restorable() {
	result := s.DB2.Must("restoreCheck")
	s.says(result, "db2 has replayed what db1 wrote up to", "records are whole")
	segments, err := filepath.Glob(filepath.Join(s.DB2.Path(s.DB2.Archive()), "0000000100000000000000??"))
	if err != nil || len(segments) == 0 {
		s.Fatalf("no segments in the archive of db2: %v", err)
	}
	path := segments[len(segments)-1]
	whole, err := os.ReadFile(path)
	if err != nil {
		s.Fatal(err)
	}
	damaged := slices.Clone(whole)
	damaged[8192+100] ^= 1 // in a record of the second page or in its header
	damaged[100] ^= 1
	if err := os.WriteFile(path, damaged, 0o600); err != nil {
		s.Fatal(err)
	}
	s.refused(s.DB2, 1, "the archive of db2 has", "restoreCheck")
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		s.Fatal(err)
	}
	s.DB2.Must("restoreCheck")
}

// extensionFails: a step of the site's own ends the run after the outage has
// begun. All is taken back, the site's own steps too, and the webhook knows.
func (s *state) extensionFails(hook *webhook) {
	veto := filepath.Join(s.DB1.Home, "local", "fail")
	s.DB1.Write(veto, "")
	result := s.refused(s.DB2, 1, "the site says no", "switchover", "--drain", "0s")
	s.says(result, "==> mark", "undo mark", "==> post to the webhook  [finally]")
	if strings.Contains(result.Stdout+result.Stderr, "secret-path") {
		s.Errorf("the secret is in the output:\n%s", result)
	}
	if got := hook.take(); len(got) != 1 || !strings.HasPrefix(got[0], "switchover on db2: failed, step flush: ") || !strings.Contains(got[0], "the site says no") {
		s.Errorf("the webhook was told %q", got)
	}
	if got := s.marks(); got != nil {
		s.Errorf("marks are left on %q", got)
	}
	if err := os.Remove(s.DB1.Path(veto)); err != nil {
		s.Fatal(err)
	}
	s.asBefore(s.DB1, s.DB2)
}

// extensionWorks: the steps of the site's own run where their runbook runs, and
// work on other nodes.
func (s *state) extensionWorks(hook *webhook) {
	plan := s.DB2.Must("switchover", "--plan")
	s.says(plan, "run on db1 in a shell: touch ", "run on db2 in a shell: touch ", "post to the webhook (at the end of every run, done or failed)")
	s.DB2.Must("switchover", "--drain", "0s")
	if got := hook.take(); len(got) != 1 || got[0] != "switchover on db2: done" {
		s.Errorf("the webhook was told %q", got)
	}
	if got := s.marks(); len(got) != 2 {
		s.Errorf("marks are on %q, want both", got)
	}
	s.write(s.DB2)
	s.follows(s.DB1, s.DB2)
}

// secretGone: nobody is kept from a switchover by a notification that cannot be sent,
// and everybody is told.
func (s *state) secretGone(hook *webhook) {
	file := filepath.Join(s.DB1.Home, "global", "webhook.url")
	if err := os.Remove(s.DB1.Path(file)); err != nil {
		s.Fatal(err)
	}
	gone := "read a secret: open " + s.DB1.Path(file) + ": no such file or directory"
	s.says(s.DB2.Run("check"), "WARNING   db1      secrets: switchover goes on without its secret --webhook, and what takes it is not done: "+gone+"; next: write the secret into that file",
		"OK        db2      secrets: runbooks can read their secrets (1)")
	s.says(s.DB1.Must("switchover", "--plan"), "warning: --webhook: "+gone)
	result := s.DB1.Must("switchover", "--drain", "0s")
	s.says(result, "warning: --webhook: "+gone, "step post to the webhook of finally: ")
	if got := hook.take(); got != nil {
		s.Errorf("%s\nand the webhook was told %q", result, got)
	}
	s.write(s.DB1)
	s.follows(s.DB2, s.DB1)
}
