package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warmrun/warmrun/builtins/pgctl"
	"github.com/warmrun/warmrun/walcore/hint"
)

// bench is what all parts share.
type bench struct {
	options   options
	out       io.Writer
	dir       string // everything is below it; short, because sockets are
	user      string
	pgBin     string
	json      *os.File
	log       *os.File // what the measured commands print
	procs     *processes
	rows      []row
	wal       *walSource // made by the first part that needs it
	ports     int        // servers' ports given out so far
	links     int
	proxies   []*proxy
	started   time.Time
	discarded int // directories put aside
}

// newBench makes the work directory. end removes it.
func newBench(o options, out io.Writer) (b *bench, err error) {
	who, err := user.Current()
	if err != nil {
		return nil, err
	}
	pgBin, _, err := pgctl.NewestBinDir(10, "")
	if err != nil {
		return nil, hint.Wrap(err, "make install-bench installs what is missing")
	}
	if err := refuseMemory(o.dir); err != nil {
		return nil, err
	}
	b = &bench{options: o, out: out, user: who.Username, pgBin: pgBin, json: handed("json"), started: time.Now()}
	if b.dir, err = os.MkdirTemp(o.dir, "wrb"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.end())
		}
	}()
	if b.procs, err = adoptOrphans(); err != nil {
		return nil, err
	}
	if b.log, err = os.Create(b.path("calls.log")); err != nil {
		return nil, err
	}
	if err := errors.Join(installHanded("warmrun", b.path("warmrun")), installHanded("empty", b.path("empty"))); err != nil {
		return nil, err
	}
	return b, nil
}

func (b *bench) path(elem ...string) string {
	return filepath.Join(append([]string{b.dir}, elem...)...)
}

// end stops every process that is left and removes every file.
func (b *bench) end() error {
	var failures []error
	if b.procs != nil {
		failures = append(failures, b.procs.end())
	}
	for _, p := range b.proxies {
		failures = append(failures, p.stop())
	}
	if b.log != nil {
		failures = append(failures, b.log.Close())
	}
	return errors.Join(append(failures, os.RemoveAll(b.dir))...)
}

// rounds is how often each contestant has its turn.
func (b *bench) rounds(full, quick int) int {
	if b.options.quick {
		return quick
	}
	return full
}

// say prints a line of progress or a remark under a table.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.out, format+"\n", args...)
}

// note shows on standard error what has just been done, where that is wanted.
func (b *bench) note(format string, args ...any) {
	if b.options.verbose {
		fmt.Fprintf(os.Stderr, "%6.1f s  %s\n", time.Since(b.started).Seconds(), fmt.Sprintf(format, args...))
	}
}

// fileSystems names those that a statfs(2) magic number tells apart.
var fileSystems = map[int64]string{
	0xef53: "ext4", 0x58465342: "xfs", 0x9123683e: "btrfs", 0x2fc12fc1: "zfs", 0xf2f52010: "f2fs",
	0x794c7630: "overlay", 0x6969: "nfs", 0x01021994: "tmpfs", 0x858458f6: "ramfs",
}

func fileSystem(dir string) (string, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return "", fmt.Errorf("file system of %s: %w", dir, err)
	}
	if name, ok := fileSystems[int64(st.Type)]; ok {
		return name, nil
	}
	return fmt.Sprintf("type 0x%x", st.Type), nil
}

// refuseMemory: what is "durable" in memory costs nothing, so nothing that is
// measured there means anything.
func refuseMemory(dir string) error {
	name, err := fileSystem(dir)
	if err == nil && (name == "tmpfs" || name == "ramfs") {
		return hint.Wrap(fmt.Errorf("%s lies on %s, where flushing costs nothing", dir, name), "give -dir DIR, a directory on a disk")
	}
	return err
}

// printMachine says what everything below was measured on and with.
func (b *bench) printMachine(ctx context.Context) error {
	fs, err := fileSystem(b.dir)
	if err != nil {
		return err
	}
	versions := []string{}
	for _, v := range [][]string{{filepath.Join(b.pgBin, "postgres"), "--version"}, {"ssh", "-V"}, {"rsync", "--version"}, {"pgbackrest", "version"}} {
		out, err := b.output(ctx, v...)
		if err != nil {
			return hint.Wrap(err, "make install-bench installs what is missing")
		}
		first, _, _ := strings.Cut(strings.TrimSpace(out), "\n")
		first, _, _ = strings.Cut(strings.NewReplacer("postgres (PostgreSQL)", "PostgreSQL", "version ", "", "  ", " ").Replace(first), ",")
		versions = append(versions, strings.TrimSpace(strings.Split(first, " protocol")[0]))
	}
	cpus, load := machineLoad()
	b.say("%d CPUs, load %s, file system %s, user %s", cpus, load, fs, b.user)
	b.say("%s", strings.Join(versions, "; "))
	if b.options.quick {
		b.say("-quick: few repetitions, which show that it works and prove nothing")
	}
	return nil
}
