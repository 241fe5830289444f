package filesync

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// driveMode makes the test binary the near end of a copy, in a process of its
// own, so that it can be killed, and its memory be told: "push FROM TO MODE" or
// "pull FROM TO MODE".
const driveMode = "WARMRUN_FILESYNC_TEST_DRIVE"

// drive is the process that driveMode makes.
func drive(args []string) error {
	copyTree := Push
	if args[0] == "pull" {
		copyTree = Pull
	}
	// The rate is so low that no machine is done before it is killed.
	o := Options{Streams: 4, Delete: true, Checksum: args[3] == "inplace", InPlace: args[3] == "inplace", Resume: "kills", MaxRate: 40 << 20, DryRun: args[3] == "foretold"}
	_, err := copyTree(context.Background(), processDialer, args[1], args[2], o)
	return err
}

// kills is how many processes TestKills kills in each copy.
func kills(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv("KILLS"))
	if os.Getenv("KILLS") == "" {
		return 6
	}
	must(t, err)
	return n
}

// TestKills kills either side of one copy at random times, again and again, and
// lets it go on each time. At the end the target is right. KILLS in the
// environment says how often, 6 times if it does not.
func TestKills(t *testing.T) {
	t.Parallel()
	for _, direction := range []string{"push", "pull"} {
		for _, mode := range []string{"renamed", "inplace"} {
			t.Run(direction+"/"+mode, func(t *testing.T) {
				t.Parallel() // they wait most of the time
				from, to := twoVersions(t)
				content := bytes.Repeat(noise(7, 1<<20), 131) // enough to be killed in the middle of
				write(t, from, "large", content)
				write(t, to, "large", content[:90<<20])
				patch(t, filepath.Join(from, "large"), 30<<20, noise(8, 20<<20))
				hit := map[string]int{}
				for wanted := kills(t); hit["near"]+hit["far"] < wanted; {
					side := killOne(t, direction, from, to, mode)
					hit[side]++
					if side == "nothing" { // to be killed in: there is something to copy again
						write(t, to, "large", content[:90<<20])
					}
					if hit["nothing"] > 20*wanted {
						t.Fatalf("copies are over before they can be killed: %v", hit)
					}
				}
				t.Logf("killed: %v", hit)
				out, err := driver(t, direction, from, to, mode).CombinedOutput()
				if err != nil {
					t.Fatalf("the copy that was let go on to its end: %v\n%s", err, out)
				}
				checkSame(t, to, from)
				checkNoTemps(t, to)
			})
		}
	}
}

func driver(t *testing.T, direction, from, to, mode string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), os.Args[0], direction, from, to, mode)
	cmd.Env = append(os.Environ(), driveMode+"=1")
	return cmd
}

// killOne starts the copy, kills one side of it after a while, and says which.
func killOne(t *testing.T, direction, from, to, mode string) string {
	t.Helper()
	cmd := driver(t, direction, from, to, mode)
	must(t, cmd.Start())
	time.Sleep(time.Duration(rand.IntN(400)) * time.Millisecond)
	side := "near"
	if rand.IntN(2) == 0 {
		for _, child := range childrenOf(cmd.Process.Pid) {
			if child.Kill() == nil {
				side = "far"
			}
		}
	}
	if side == "near" {
		_ = cmd.Process.Kill() // it may have ended
	}
	if cmd.Wait() == nil {
		return "nothing"
	}
	return side
}

// childrenOf finds the processes that a process has started.
func childrenOf(pid int) []*os.Process {
	var found []*os.Process
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // a pattern without errors
	for _, list := range lists {
		content, err := os.ReadFile(list)
		if err != nil {
			continue // it has ended
		}
		for _, field := range strings.Fields(string(content)) {
			child, err := strconv.Atoi(field)
			if err != nil {
				continue
			}
			if p, err := os.FindProcess(child); err == nil {
				found = append(found, p)
			}
		}
	}
	return found
}
