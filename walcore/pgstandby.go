package walcore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/warmrun/warmrun/walcore/hint"
)

// PgStandbyOptions is the command line of pg_standby, which PostgreSQL shipped
// from 8.3 to 13 and 2warm before that.
type PgStandbyOptions struct {
	Debug      bool          // -d: say what is done
	KeepFiles  int           // -k: segments to keep before the one restored; 0 keeps all
	MaxRetries int           // -r: how often a failed copy is tried again, outside standby mode
	Sleep      time.Duration // -s: time between two looks at the archive
	Trigger    string        // -t: trigger file, "" for none
	MaxWait    time.Duration // -w: give up after this long; 0 waits for ever
	Archive    string        // ARCHIVELOCATION
	Next       FileName      // NEXTWALFILE, %f
	Target     string        // XLOGFILEPATH, %p
	Restart    FileName      // RESTARTWALFILE, %r; "" where it was not given
	Help       bool          // -? or --help: the rest is not filled in
	Version    bool          // -V or --version: the same
}

// PgStandbyUsage is what pg_standby --help prints.
func PgStandbyUsage(program string) string {
	return program + ` restores WAL for a PostgreSQL warm standby and waits for it.

Usage:
  ` + program + ` [OPTION]... ARCHIVELOCATION NEXTWALFILE XLOGFILEPATH [RESTARTWALFILE]

As a restore_command:
  restore_command = '` + program + ` [OPTION]... ARCHIVELOCATION %f %p %r'

Options:
  -c                 copy files from the archive (always so)
  -d                 say what is done, on standard error
  -k NUMFILESTOKEEP  without RESTARTWALFILE, remove segments older than this
                     many before the one restored (0 keeps all)
  -l, -m             accepted and ignored: files are never linked or moved
  -r MAXRETRIES      how often to try a failed copy again, after a growing
                     wait (default=3); not in standby mode, where the server
                     itself asks again and cannot be promoted meanwhile
  -s SLEEPTIME       seconds between looks at the archive where the file system
                     does not tell of changes (min=1, max=60, default=5)
  -t TRIGGERFILE     trigger file that starts a failover: empty or "smart"
                     applies all WAL first, "fast" opens at once (no default)
  -w MAXWAITTIME     seconds to wait for a file before a fast failover
                     (0=no limit) (default=0)
  -V, --version      show the version, then exit
  -?, --help         show this help, then exit
`
}

// ParsePgStandby reads pg_standby's arguments, without the program's name. As
// with getopt, letters may be joined, a value may follow its letter directly,
// and options may stand behind other arguments.
func ParsePgStandby(args []string) (PgStandbyOptions, error) {
	o := PgStandbyOptions{MaxRetries: 3, Sleep: 5 * time.Second}
	// Only as the first argument, as pg_standby has it.
	if len(args) > 0 {
		o.Help = args[0] == "--help" || args[0] == "-?"
		o.Version = args[0] == "--version" || args[0] == "-V"
	}
	if o.Help || o.Version {
		return o, nil
	}
	var positional []string
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			positional = append(positional, args...)
			args = nil
		case len(arg) < 2 || arg[0] != '-':
			positional = append(positional, arg)
		default:
			var err error
			if args, err = o.letters(arg[1:], args); err != nil {
				return o, pgStandbyUsageError(err)
			}
		}
	}
	return o, pgStandbyUsageError(o.positional(positional))
}

func pgStandbyUsageError(err error) error {
	return hint.Wrap(err, "try pg_standby --help; as a restore_command: pg_standby [OPTION]... ARCHIVELOCATION %%f %%p %%r")
}

// letters reads one argument of option letters, and takes a value from the
// following arguments where the last letter needs one.
func (o *PgStandbyOptions) letters(letters string, rest []string) ([]string, error) {
	for letters != "" {
		letter := letters[0]
		letters = letters[1:]
		switch letter {
		case 'c', 'l', 'm':
			continue
		case 'd':
			o.Debug = true
			continue
		}
		if !strings.ContainsRune("krstw", rune(letter)) {
			return nil, fmt.Errorf("unknown option -%c", letter)
		}
		value := letters
		if letters = ""; value == "" {
			if len(rest) == 0 {
				return nil, fmt.Errorf("option -%c needs a value", letter)
			}
			value, rest = rest[0], rest[1:]
		}
		if err := o.option(letter, value); err != nil {
			return nil, fmt.Errorf("option -%c %s: %w", letter, value, err)
		}
	}
	return rest, nil
}

func (o *PgStandbyOptions) option(letter byte, value string) error {
	if letter == 't' {
		o.Trigger = value
		return nil
	}
	number, err := strconv.Atoi(value)
	if err != nil {
		return errors.New("not a number")
	}
	if number < 0 || number > 1<<30 {
		return errors.New("out of range")
	}
	switch letter {
	case 'k':
		o.KeepFiles = number
	case 'r':
		o.MaxRetries = number
	case 's':
		if number < 1 || number > 60 {
			return errors.New("the sleep time is 1 to 60 seconds")
		}
		o.Sleep = time.Duration(number) * time.Second
	case 'w':
		o.MaxWait = time.Duration(number) * time.Second
	}
	return nil
}

func (o *PgStandbyOptions) positional(args []string) (err error) {
	names := []string{"ARCHIVELOCATION", "NEXTWALFILE (%f)", "XLOGFILEPATH (%p)"}
	switch {
	case len(args) < len(names):
		return fmt.Errorf("%s is missing", names[len(args)])
	case len(args) > len(names)+1:
		return fmt.Errorf("one argument too many: %q", args[len(names)+1])
	}
	o.Archive, o.Target = args[0], args[2]
	if o.Next, err = ParseFileName(args[1]); err != nil {
		return err
	}
	if len(args) > len(names) {
		o.Restart, err = ParseFileName(args[3])
	}
	return err
}

// PgStandby does what pg_standby did: it waits for a segment, answers at once
// for anything else, and removes what RESTARTWALFILE or -k say. From env it
// takes PGData, Failover, Fetch, HasRelay, KeepBackups, MaxSize, Out and Now;
// the options say the rest. Its errors are those of Restore, for PgStandbyExit.
func PgStandby(ctx context.Context, o PgStandbyOptions, env RestoreRequest) error {
	out := env.Out
	if out == nil {
		out = io.Discard
	}
	request := o.request(env)
	var removed []string
	if o.Debug {
		o.describe(ctx, out, env)
		request.Removed = func(path string) { removed = append(removed, path) }
		request.TimedOut = func() { fmt.Fprintf(out, "Timed out after %d seconds: fast failover\n", int(o.MaxWait.Seconds())) }
		request.Idle = func() { fmt.Fprintln(out, "WAL file not present yet."+o.checking()) }
	}
	err := Restore(ctx, request)
	// In standby mode the server itself tries again, and a pause in here would
	// keep it from noticing its trigger.
	kind, _ := DetectRecovery(realPath(env.PGData))
	for try := 0; try < o.MaxRetries && kind != RecoveryStandby && isPassing(err); try++ {
		timer := time.NewTimer(time.Duration(try) * o.Sleep)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
		err = Restore(ctx, request)
	}
	if o.Debug {
		o.conclude(out, err)
	}
	for _, path := range removed {
		fmt.Fprintf(out, "removing \"%s\"\n", path)
	}
	return err
}

// isPassing reports whether a failure may go away by itself.
func isPassing(err error) bool {
	return err != nil && !isMissing(err) && !errors.Is(err, ErrTerminated) && !errors.Is(err, ErrServerGone)
}

func (o PgStandbyOptions) request(env RestoreRequest) RestoreRequest {
	request := env
	request.Name, request.Target, request.Redo = o.Next, o.Target, o.Restart
	request.Archive, request.Trigger = o.Archive, o.Trigger
	request.Wait, request.WarmStandby = true, true
	request.Poll, request.MaxWait = o.Sleep, o.MaxWait
	request.KeepSegments = o.KeepFiles
	request.Cleanup = o.Restart != "" || o.KeepFiles > 0
	return request
}

func (o PgStandbyOptions) checking() string {
	if o.Trigger == "" {
		return ""
	}
	return " Checking for trigger file..."
}

// describe prints the block that pg_standby -d puts before its work.
func (o PgStandbyOptions) describe(ctx context.Context, out io.Writer, env RestoreRequest) {
	trigger, plural, limit := o.Trigger, "s", "forever"
	if trigger == "" {
		trigger = "<not set>"
	}
	if o.Sleep == time.Second {
		plural = " "
	}
	if o.MaxWait > 0 {
		limit = "seconds"
	}
	keep := "No cleanup required"
	if name, found := o.oldestKept(ctx, env); found {
		keep = string(name) + " and later"
	}
	path := filepath.Join(o.Archive, string(o.Next))
	fmt.Fprintf(out, "Trigger file           : %s\n", trigger)
	fmt.Fprintf(out, "Waiting for WAL file   : %s\n", o.Next)
	fmt.Fprintf(out, "WAL file path          : %s\n", path)
	fmt.Fprintf(out, "Restoring to           : %s\n", o.Target)
	fmt.Fprintf(out, "Sleep interval         : %d second%s\n", int(o.Sleep.Seconds()), plural)
	fmt.Fprintf(out, "Max wait interval      : %d %s\n", int(o.MaxWait.Seconds()), limit)
	fmt.Fprintf(out, "Command for restore    : cp \"%s\" \"%s\"\n", path, o.Target)
	fmt.Fprintf(out, "Keep archive history   : %s\n", keep)
}

// conclude prints the line that pg_standby -d ends with. It has none for a
// segment that never came.
func (o PgStandbyOptions) conclude(out io.Writer, err error) {
	switch {
	case err == nil:
		fmt.Fprintln(out, "running restore        : OK")
	case !errors.Is(err, ErrNotThere):
		fmt.Fprintln(out, "running restore        : not restored")
	case o.Next.Kind() == KindHistory:
		fmt.Fprintln(out, "history file not found")
	}
}

// oldestKept is the segment below which cleanup may remove, for the server, the
// relay and the kept backups; false when it removes nothing.
func (o PgStandbyOptions) oldestKept(ctx context.Context, env RestoreRequest) (SegmentName, bool) {
	if o.Next.Kind() != KindSegment {
		return "", false
	}
	size := DefaultSegmentSize
	if control, err := ReadControlFile(env.PGData); err == nil && control.SegmentSize.Valid() {
		size = control.SegmentSize
	} else if info, err := os.Stat(filepath.Join(o.Archive, string(o.Next))); err == nil && info.Size() <= 1<<30 && SegmentSize(info.Size()).Valid() {
		size = SegmentSize(info.Size())
	} else if header, err := (&Archive{dir: o.Archive}).headerOf(o.Next); err == nil {
		size = header.SegmentSize
	}
	r := restoring{RestoreRequest: o.request(env), segment: size}
	r.Now = time.Now
	r.state.Cleaned.BackupsListed = r.Now() // those that are noted will do
	position, known, err := r.cleanupLimit(ctx)
	if err != nil || !known {
		return "", false
	}
	if o.Restart != "" && position == o.Restart.Segment().Position() {
		return o.Restart.Segment(), true
	}
	return SegmentName(o.Next.Timeline().String() + position), true
}

// PgStandbyExit is the exit code of pg_standby: 0 for a restored file, 1 where
// there is none or a failover was asked for, and 2 for every other failure; but
// 126 where 2 would make the server open its database although nothing is
// known of its WAL.
func PgStandbyExit(err error, kind RecoveryKind) int {
	switch code := RestoreExit(err, kind); code {
	case 3:
		return 1
	case 4:
		return 2
	default:
		return code
	}
}
