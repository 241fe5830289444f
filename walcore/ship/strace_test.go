package ship

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/packed"
	"github.com/warmrun/warmrun/walcore/storetest"
)

// systemCall is one line, or two where it took a while, of strace's output.
type systemCall struct {
	name       string
	args       string
	begin, end int // line numbers
}

var (
	straceBegin  = regexp.MustCompile(`^(\d+) +(\w+)\((.*)$`)
	straceResume = regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>`)
)

// parseStrace reads the output of strace -f, in which calls of several threads
// are interleaved.
func parseStrace(output string) []*systemCall {
	var calls []*systemCall
	pending := map[string]*systemCall{}
	for i, line := range strings.Split(output, "\n") {
		if m := straceResume.FindStringSubmatch(line); m != nil {
			if call := pending[m[1]]; call != nil {
				call.end = i
				delete(pending, m[1])
			}
			continue
		}
		m := straceBegin.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		call := &systemCall{name: m[2], args: m[3], begin: i, end: i}
		if strings.HasSuffix(line, "<unfinished ...>") {
			call.end = 1 << 30
			pending[m[1]] = call
		}
		calls = append(calls, call)
	}
	return calls
}

// find is the first call after a line whose name and arguments match.
func find(calls []*systemCall, after int, name, args string) *systemCall {
	names, pattern := regexp.MustCompile("^("+name+")$"), regexp.MustCompile(args)
	for _, call := range calls {
		if call.begin > after && names.MatchString(call.name) && pattern.MatchString(call.args) {
			return call
		}
	}
	return nil
}

// TestDurabilityBySystemCalls watches an agent at work: the bytes, the flush
// of the file, its name, the flush of the directory, and only then the
// acknowledgement. Killing processes never shows a missing flush.
func TestDurabilityBySystemCalls(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Fatal("strace is not here; install it (apt-get install strace, dnf install strace)")
	}
	a := newArchive(t)
	trace := filepath.Join(t.TempDir(), "trace")
	dial := func(ctx context.Context) (io.ReadWriteCloser, error) {
		return startAgent(ctx, a.Dir(), strace, "-f", "-y", "-s", "120", "-o", trace,
			"-e", "trace=write,pwrite64,writev,fsync,fdatasync,rename,renameat,renameat2,getdents64")
	}
	c, err := ConnectWith(t.Context(), dial, Options{Store: packed.Zstd})
	if err != nil {
		t.Fatal(err)
	}
	half, end := storetest.Segment{Name: seg2, Ending: storetest.Shutdown}.Build()
	whole, _ := storetest.Continue(seg2, half, end, storetest.Full)
	// Segments 1 and 3 are packed; what comes in between is plain: a provisional
	// segment, the whole one that replaces it, and that again.
	puts := []struct {
		name        walcore.SegmentName
		data        []byte
		provisional walcore.LSN
	}{{seg1, segment(storetest.Segment{Name: seg1}), 0}, {seg2, half, end}, {seg2, whole, 0}, {seg2, whole, 0},
		{seg3, segment(storetest.Segment{Name: seg3}), 0}, {seg3, segment(storetest.Segment{Name: seg3}), 0}}
	for _, p := range puts {
		if _, err := c.PutFrom(t.Context(), walcore.FileName(p.name), bytes.NewReader(p.data), int64(len(p.data)), PutOptions{Provisional: p.provisional}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	output, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	w := &watcher{T: t, calls: parseStrace(string(output)), dir: regexp.QuoteMeta(a.Dir()), at: -1}
	w.first()
	w.provisional()
	w.replaced()
	w.again()
	w.packed()
	if t.Failed() {
		t.Logf("strace:\n%s", output)
	}
}

// watcher steps through the calls in order.
type watcher struct {
	*testing.T
	calls []*systemCall
	dir   string
	at    int // the line at which the last step had ended
}

// step wants a call that begins after the last step has ended.
func (w *watcher) step(what, name, args string) *systemCall {
	w.Helper()
	call := find(w.calls, w.at, name, strings.ReplaceAll(args, "DIR", w.dir))
	if call == nil {
		w.Errorf("%s: no %s(%s) after line %d", what, name, args, w.at)
		return &systemCall{begin: w.at, end: w.at}
	}
	w.at = call.end
	return call
}

// state is the order of a file of the archive's state.
func (w *watcher) state(what, path string) {
	w.Helper()
	parent := filepath.Dir(path)
	w.step(what+": write", "write", `^\d+<`+parent+`/\.warmrun-`)
	w.step(what+": flush", "fsync", `^\d+<`+parent+`/\.warmrun-`)
	w.step(what+": name", "rename.*", `"`+path+`"`)
	w.step(what+": flush the directory", "fsync", `^\d+<`+parent+`>`)
}

// data is the segment's bytes: every write of them ends before the flush of
// the file begins.
func (w *watcher) data(what string) {
	w.Helper()
	w.step(what+": write", "p?write.*", `^\d+<DIR/\.warmrun/tmp/put-`)
	flush := w.step(what+": flush", "fsync", `^\d+<DIR/\.warmrun/tmp/put-`)
	for _, call := range w.calls {
		if strings.Contains(call.name, "write") && strings.Contains(call.args, "/tmp/put-") && call.begin < flush.begin && call.end > flush.begin {
			w.Errorf("%s: a write (line %d) had not ended when the file was flushed (line %d)", what, call.begin, flush.begin)
		}
	}
}

func (w *watcher) first() {
	w.data("first segment")
	w.state("stamp", `DIR/\.warmrun/stamp`)
	w.step("first segment: name", "rename.*", `DIR/`+string(seg1)+`\.zst"`)
	w.step("first segment: flush the directory", "fsync", `^\d+<DIR>`)
	w.acknowledged("first segment", 0)
}

func (w *watcher) provisional() {
	from := w.at
	w.data("provisional segment")
	w.state("sidecar", `DIR/\.warmrun/provisional/`+string(seg2))
	w.step("provisional segment: name", "rename.*", `DIR/`+string(seg2)+`"`)
	w.step("provisional segment: flush the directory", "fsync", `^\d+<DIR>`)
	w.acknowledged("provisional segment", 1)
	if call := find(w.calls, from, "getdents64", `^\d+<`+w.dir+`>`); call != nil {
		w.Errorf("line %d: the archive was listed to store a file", call.begin)
	}
}

func (w *watcher) replaced() {
	w.data("whole segment")
	w.step("whole segment: name", "rename.*", `DIR/`+string(seg2)+`"`)
	w.step("whole segment: flush the directory", "fsync", `^\d+<DIR>`)
	w.step("whole segment: flush the removal of the sidecar", "fsync", `^\d+<DIR/\.warmrun/provisional>`)
	w.acknowledged("whole segment", 2)
}

func (w *watcher) again() {
	w.step("same segment: flush", "fsync", `^\d+<DIR/`+string(seg2)+`>`)
	w.step("same segment: flush the directory", "fsync", `^\d+<DIR>`)
	w.acknowledged("same segment", 3)
}

func (w *watcher) packed() {
	w.data("packed segment")
	w.step("packed segment: name", "rename.*", `DIR/`+string(seg3)+`\.zst"`)
	w.step("packed segment: flush the directory", "fsync", `^\d+<DIR>`)
	w.acknowledged("packed segment", 4)
	w.step("packed segment again: flush", "fsync", `^\d+<DIR/`+string(seg3)+`\.zst>`)
	w.step("packed segment again: flush the directory", "fsync", `^\d+<DIR>`)
	w.acknowledged("packed segment again", 5)
}

// acknowledged: the acknowledgement comes now, and the one before was that of
// the file before.
func (w *watcher) acknowledged(what string, before int) {
	w.Helper()
	early := 0
	for _, call := range w.calls {
		if call.begin < w.at && isAcknowledgement(call) {
			early++
		}
	}
	if early != before {
		w.Errorf("%s: got %d acknowledgements before it was on disk, want %d", what, early, before)
	}
	w.step(what+": acknowledge", "write", `^1<.*\\"identical\\"`)
}

func isAcknowledgement(call *systemCall) bool {
	return call.name == "write" && strings.HasPrefix(call.args, "1<") && strings.Contains(call.args, `\"identical\"`)
}
