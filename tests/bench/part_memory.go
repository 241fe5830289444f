package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// memoryPart: the most memory that each of warmrun's processes held at once,
// over a batch of each load, and then over copies. Files that are mapped or cached are not the
// process's own, but what the kernel calls resident counts in full.
func memoryPart(ctx context.Context, b *bench) error {
	w, err := b.source(ctx)
	if err != nil {
		return err
	}
	standby, err := b.standbyDir(ctx, w)
	if err != nil {
		return err
	}
	site, err := b.newSite(ctx, b.path("wrm"), w.pgdata, standby, "")
	if err != nil {
		return err
	}
	peaks := map[string][]float64{}
	for _, l := range w.loads {
		seen, err := b.shipWatched(ctx, w, site, l)
		if err != nil {
			return err
		}
		for word, peak := range seen {
			peaks[word] = append(peaks[word], peak)
		}
		for _, name := range l.segments {
			peak, err := b.restorePeak(ctx, site, standby, string(name))
			if err != nil {
				return err
			}
			peaks["restore"] = append(peaks["restore"], peak)
			if err := w.verifyRestored(name, filepath.Join(standby, "pg_wal", "RECOVERYXLOG")); err != nil {
				return err
			}
		}
	}
	var rows []row
	for _, word := range []string{"shipper", "agent", "archive", "restore"} {
		if len(peaks[word]) > 0 {
			rows = append(rows, row{Part: "memory", Who: "warmrun " + word, Unit: "peak MB", Values: peaks[word], withP99: true})
		}
	}
	b.print("peak resident memory, over all loads (p99 is the largest of so few)", rows)
	if len(peaks["shipper"]) == 0 {
		b.say("there is no shipper process in this build")
	}
	return copyMemory(ctx, b)
}

// shipWatched ships a batch and returns the peaks of the processes seen
// meanwhile, by their command: of each the largest.
func (b *bench) shipWatched(ctx context.Context, w *walSource, site *site, l load) (map[string]float64, error) {
	s := site.shipping("")
	if err := b.warm(ctx, w, s, l); err != nil {
		return nil, err
	}
	stop := make(chan struct{})
	peaks := map[string]float64{}
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			b.notePeaks(peaks, site)
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	err := func() error {
		for _, name := range l.segments[1:] {
			if _, err := b.call(ctx, w, s, name); err != nil {
				return err
			}
		}
		return nil
	}()
	close(stop)
	watching.Wait()
	if err != nil {
		return nil, err
	}
	return peaks, w.verify(ctx, s, l.segments)
}

// notePeaks looks at VmHWM (proc(5)), the peak since the process began to
// execute its program. Looking often catches processes shortly before they end.
func (b *bench) notePeaks(peaks map[string]float64, site *site) {
	for _, program := range []string{site.binary, filepath.Join(site.homeB, "bin", "warmrun")} {
		for _, pid := range b.procs.running(program) {
			word := ""
			line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			for _, arg := range strings.Split(string(line), "\x00") {
				if arg == "agent" || arg == "shipper" || arg == "archive" {
					word = arg
					break
				}
			}
			if err == nil && word != "" {
				peaks[word] = max(peaks[word], highWater(pid))
			}
		}
	}
}

// highWater is VmHWM in MB; 0 for a process that is gone.
func highWater(pid int) float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kb, err := strconv.ParseFloat(fields[0], 64)
	if err != nil {
		return 0
	}
	return kb / 1024
}

// restorePeak is a restore's ru_maxrss (getrusage(2)). The kernel counts what
// the process was before it executed its program as well, and a child of this
// one begins as large as this one is: a small shell starts it, and leaves it
// behind as an orphan for us to reap.
func (b *bench) restorePeak(ctx context.Context, site *site, standby, name string) (float64, error) {
	command := expand(site.restoreCommand(), "pg_wal/RECOVERYXLOG", name, "")
	usage, err := b.procs.orphanUsage(ctx, func() (int, error) {
		cmd := b.command(ctx, "/bin/sh", "-c", "exec 2>&1; "+command+" >/dev/null & echo $!")
		cmd.Dir = standby
		out, err := cmd.Output()
		if err != nil {
			return 0, fmt.Errorf("%s: %w", command, err)
		}
		return strconv.Atoi(strings.TrimSpace(string(out)))
	})
	return float64(usage.Maxrss) / 1024, err
}
