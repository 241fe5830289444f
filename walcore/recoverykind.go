package walcore

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// RecoveryKind is the sort of recovery that a data directory is set up for. It
// decides what a failing restore_command does to the server: in standby mode
// it is asked again, outside it an exit code of 1 to 125 ends recovery and
// opens the database.
type RecoveryKind int

// The kinds of recovery.
const (
	// RecoveryNone: the data directory asks for no archive recovery, or it is
	// no data directory. pg_rewind calls restore_command so.
	RecoveryNone RecoveryKind = iota
	// RecoveryStandby: standby.signal (12 on), or standby_mode in
	// recovery.conf (9.0 to 11).
	RecoveryStandby
	// RecoveryOther: recovery to a point in time or to the end of the archive,
	// and every standby before 9.0, which knew no standby mode.
	RecoveryOther
)

// String names the kind in the words of PostgreSQL's manual.
func (k RecoveryKind) String() string {
	switch k {
	case RecoveryStandby:
		return "standby mode"
	case RecoveryOther:
		return "archive recovery"
	}
	return "no recovery"
}

// DetectRecovery tells from the files in pgdata which kind of recovery it is
// set up for: standby.signal before recovery.signal, as readRecoverySignalFile
// in xlogrecovery.c has it, then recovery.conf, which servers from 12 on do not
// read. An error comes with RecoveryOther, the kind in which a wrong exit code
// does most harm.
func DetectRecovery(pgdata string) (RecoveryKind, error) {
	for _, signal := range []struct {
		file string
		kind RecoveryKind
	}{{"standby.signal", RecoveryStandby}, {"recovery.signal", RecoveryOther}} {
		_, err := os.Stat(filepath.Join(pgdata, signal.file))
		if err == nil {
			return signal.kind, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return RecoveryOther, err
		}
	}
	conf, err := os.ReadFile(filepath.Join(pgdata, "recovery.conf"))
	if errors.Is(err, fs.ErrNotExist) || err == nil && readsSignalFiles(pgdata) {
		return RecoveryNone, nil
	}
	if err != nil {
		return RecoveryOther, err
	}
	standby, err := standbyMode(conf)
	if err != nil {
		return RecoveryOther, fmt.Errorf("%s: %w", filepath.Join(pgdata, "recovery.conf"), err)
	}
	if standby {
		return RecoveryStandby, nil
	}
	return RecoveryOther, nil
}

// readsSignalFiles reports whether the server is of 12 or later.
func readsSignalFiles(pgdata string) bool {
	major, known := serverMajor(pgdata)
	return known && major >= 12
}

// knowsStandbyMode reports whether the server is of 9.0 or later, which it is
// taken for where its version is not known.
func knowsStandbyMode(pgdata string) bool {
	major, known := serverMajor(pgdata)
	return !known || major >= 9
}

// serverMajor is the first number in PG_VERSION: 15, or 9 up to 9.6.
func serverMajor(pgdata string) (major int, known bool) {
	version, err := os.ReadFile(filepath.Join(pgdata, "PG_VERSION"))
	if err != nil {
		return 0, false
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(version)), ".")
	major, err = strconv.Atoi(first)
	return major, err == nil
}

// standbyMode finds the last setting of standby_mode in a recovery.conf. The
// equals sign is optional there and names are in any case, as in
// postgresql.conf (guc-file.l).
func standbyMode(conf []byte) (bool, error) {
	on := false
	lines := bufio.NewScanner(bytes.NewReader(conf))
	for lines.Scan() {
		text := strings.TrimSpace(lines.Text())
		end := strings.IndexAny(text, "= \t")
		if end < 0 || !strings.EqualFold(text[:end], "standby_mode") {
			continue
		}
		value := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(text[end:]), "="))
		parsed, err := parseBool(unquoteSetting(value))
		if err != nil {
			return false, fmt.Errorf("standby_mode: %w", err)
		}
		on = parsed
	}
	return on, lines.Err()
}

// unquoteSetting cuts a comment off a setting's value and takes its quotes
// away. Escapes do not matter for what is a boolean.
func unquoteSetting(value string) string {
	if rest, quoted := strings.CutPrefix(value, "'"); quoted {
		value, _, _ = strings.Cut(rest, "'")
		return value
	}
	value, _, _ = strings.Cut(value, "#")
	return strings.TrimSpace(value)
}

// parseBool knows the spellings of parse_bool in bool.c: on, off, 1, 0, and
// true, false, yes, no with any unique beginning of them.
func parseBool(s string) (bool, error) {
	s = strings.ToLower(s)
	switch {
	case s == "":
	case s == "on" || s == "1" || strings.HasPrefix("true", s) || strings.HasPrefix("yes", s):
		return true, nil
	case s == "0" || s == "of" || s == "off" || strings.HasPrefix("false", s) || strings.HasPrefix("no", s):
		return false, nil
	}
	return false, fmt.Errorf("%q is neither on nor off", s)
}
