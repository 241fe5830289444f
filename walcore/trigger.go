package walcore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/hint"
)

// Trigger is what a trigger file asks of a standby, in pg_standby's words.
type Trigger int

// What a trigger file can ask for.
const (
	// TriggerNone: no trigger file.
	TriggerNone Trigger = iota
	// TriggerSmart: apply all the WAL there is, then open. The file is empty
	// or says "smart". pg_ctl promote counts as this too.
	TriggerSmart
	// TriggerFast: open now; WAL that was not yet restored is given up. The
	// file says "fast".
	TriggerFast
)

var triggerWords = [...]string{TriggerNone: "", TriggerSmart: "smart", TriggerFast: "fast"}

// String is the word that stands in a trigger file.
func (t Trigger) String() string {
	if t <= TriggerNone || int(t) >= len(triggerWords) {
		return "none"
	}
	return triggerWords[t]
}

// MarshalText makes a trigger its word in JSON, the empty one for none.
func (t Trigger) MarshalText() ([]byte, error) { return []byte(triggerWords[t]), nil }

// UnmarshalText is the inverse of MarshalText.
func (t *Trigger) UnmarshalText(text []byte) error {
	for i, word := range triggerWords {
		if word == string(text) {
			*t = Trigger(i)
			return nil
		}
	}
	return fmt.Errorf("%q is neither smart nor fast", text)
}

// ReadTrigger says what the trigger file at path asks for. No file, or an
// empty path, is TriggerNone. As in pg_standby only the beginning of the
// content counts; content that is neither smart nor fast is an error, because
// the two lose different amounts of data and none may be guessed.
func ReadTrigger(path string) (Trigger, error) {
	if path == "" {
		return TriggerNone, nil
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return TriggerNone, nil
	}
	if err != nil {
		return TriggerNone, err
	}
	content, err := io.ReadAll(io.LimitReader(f, 64))
	if err := errors.Join(err, f.Close()); err != nil {
		return TriggerNone, fmt.Errorf("read trigger file %s: %w", path, err)
	}
	word := strings.ToLower(string(bytes.TrimSpace(content)))
	switch {
	case word == "" || strings.HasPrefix(word, triggerWords[TriggerSmart]):
		return TriggerSmart, nil
	case strings.HasPrefix(word, triggerWords[TriggerFast]):
		return TriggerFast, nil
	}
	return TriggerNone, hint.Wrap(fmt.Errorf("trigger file %s says %q", path, word),
		`make it empty or write "smart" to apply all WAL first, write "fast" to open at once`)
}

// WriteTrigger makes the trigger file, durably and whole: a reader never sees
// it without its word.
func WriteTrigger(path string, fast bool) error {
	trigger := TriggerSmart
	if fast {
		trigger = TriggerFast
	}
	if path == "" {
		return errors.New("no trigger file is configured")
	}
	if err := atomicfile.WriteFile(path, []byte(trigger.String()+"\n"), 0o600); err != nil {
		return fmt.Errorf("write trigger file: %w", err)
	}
	return nil
}

// noticeTrigger looks for a request to open the database: the trigger file, a
// signal, or the file by which pg_ctl promote and pg_promote() tell the server
// (PROMOTE_SIGNAL_FILE in xlog.h; through 11 also FALLBACK_PROMOTE_SIGNAL_FILE).
func (r *restoring) noticeTrigger() {
	if r.kind != RecoveryStandby && !r.Wait && !r.WarmStandby {
		return
	}
	trigger, err := ReadTrigger(r.Trigger)
	if err != nil && r.state.report("trigger file") {
		r.dirty = true
		r.say("%v; it is taken for no trigger", err)
	}
	found := "trigger file found"
	select {
	case <-r.Failover:
		trigger, found = TriggerFast, "signaled to exit"
	default:
	}
	r.fast = trigger == TriggerFast
	if trigger != TriggerNone && r.state.report(found+" "+trigger.String()) {
		r.dirty = true
		fmt.Fprintf(r.Out, "%s: %s failover\n", found, trigger)
	}
	if trigger != TriggerNone || promoted(r.PGData) {
		r.opening()
	}
}

// OpeningAsked reports whether the standby in pgdata was told to open its
// database, or has opened it: by the trigger file, by the file of pg_ctl
// promote, or because nothing makes it a standby any more.
func OpeningAsked(pgdata, trigger string) bool {
	word, err := ReadTrigger(trigger)
	if err == nil && word != TriggerNone || promoted(pgdata) {
		return true
	}
	kind, err := DetectRecovery(pgdata)
	return err == nil && kind == RecoveryNone
}

func promoted(pgdata string) bool {
	for _, file := range []string{"promote", "fallback_promote"} {
		if _, err := os.Lstat(filepath.Join(pgdata, file)); err == nil {
			return true
		}
	}
	return false
}

// opening remembers that this recovery is to end. The server removes the
// promote file before it asks for its last segment again.
func (r *restoring) opening() {
	if !r.state.Opening {
		r.state.Opening, r.dirty = true, true
		r.save()
	}
}
