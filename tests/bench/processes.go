package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warmrun/warmrun/walcore/procstat"
)

// processes is everything that this program has started, and what that has
// started. This process is the reaper of all orphans among them, so even a
// daemon stays in the tree: it can be counted, and it can be ended.
type processes struct {
	mu     sync.Mutex
	ours   map[int]bool             // os/exec waits for these
	wanted map[int]chan unix.Rusage // orphans whose end somebody waits for
	stop   chan struct{}
	done   sync.WaitGroup
}

func adoptOrphans() (*processes, error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("become the reaper of orphans: %w", err)
	}
	p := &processes{ours: map[int]bool{}, wanted: map[int]chan unix.Rusage{}, stop: make(chan struct{})}
	p.done.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-p.stop:
				return
			case <-tick.C:
				p.reap()
			}
		}
	})
	return p, nil
}

func (p *processes) start(cmd *exec.Cmd) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return err
	}
	p.ours[cmd.Process.Pid] = true
	return nil
}

func (p *processes) wait(cmd *exec.Cmd) error {
	err := cmd.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.ours, cmd.Process.Pid)
	return err
}

func (p *processes) run(cmd *exec.Cmd) error {
	if err := p.start(cmd); err != nil {
		return err
	}
	return p.wait(cmd)
}

// reap collects the orphans that have ended. It comes fifty times a second, while
// others are measured: the process table is read only when there is something in it.
func (p *processes) reap() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !anyEnded() {
		return
	}
	for pid, proc := range readTable() {
		if proc.Parent != os.Getpid() || !proc.Dead() || p.ours[pid] {
			continue
		}
		var usage unix.Rusage
		if got, err := unix.Wait4(pid, nil, unix.WNOHANG, &usage); err != nil || got != pid {
			continue // the next tick tries again
		}
		if waiter := p.wanted[pid]; waiter != nil {
			waiter <- usage
			delete(p.wanted, pid)
		}
	}
}

// anyEnded reports whether a child has ended that nobody has waited for.
func anyEnded() bool {
	var info unix.Siginfo // its number says SIGCHLD, or stays zero (waitid(2))
	err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err == nil && info.Signo != 0
}

// orphanUsage waits until an orphan has ended and returns what it has used.
func (p *processes) orphanUsage(ctx context.Context, start func() (pid int, err error)) (unix.Rusage, error) {
	ended := make(chan unix.Rusage, 1)
	p.mu.Lock() // nothing is reaped before its number is known
	pid, err := start()
	p.wanted[pid] = ended
	p.mu.Unlock()
	if err != nil {
		return unix.Rusage{}, err
	}
	select {
	case usage := <-ended:
		return usage, nil
	case <-ctx.Done():
		return unix.Rusage{}, ctx.Err()
	}
}

// descendants are all live processes below this one.
func (p *processes) descendants() map[int]procstat.Process {
	table := readTable()
	children := map[int][]int{}
	for pid, e := range table {
		children[e.Parent] = append(children[e.Parent], pid)
	}
	found := map[int]procstat.Process{}
	for queue := children[os.Getpid()]; len(queue) > 0; queue = queue[1:] {
		found[queue[0]] = table[queue[0]]
		queue = append(queue, children[queue[0]]...)
	}
	return found
}

// cpu is the user and system time of everything below this process so far: what
// has ended and was waited for (getrusage of the children, exact), and what
// still runs (its own time and its dead children's, in ticks of 10 ms each).
// So both ends are in it: the shells, the commands, ssh and sshd with its
// sessions, agents, shippers and asynchronous workers. Not in it are this
// program, whose proxies count the bytes, and what the kernel does for others
// later, writing dirty pages back above all.
//
// A cgroup's cpu.stat would say the same to the microsecond, but making one
// needs rights that an ordinary user rarely has, and every user's figures
// should be counted in one way.
func (p *processes) cpu() (time.Duration, error) {
	p.mu.Lock() // nothing is reaped between the two looks
	defer p.mu.Unlock()
	var dead unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_CHILDREN, &dead); err != nil {
		return 0, err
	}
	total := time.Duration(dead.Utime.Nano() + dead.Stime.Nano())
	for _, e := range p.descendants() {
		total += time.Duration(e.CPUTicks) * 10 * time.Millisecond
	}
	return total, nil
}

// settle waits until nothing below this process computes any more: work that a
// call left behind belongs to the call.
func (p *processes) settle(ctx context.Context) (time.Duration, error) {
	last, err := p.cpu()
	for range 100 {
		if err != nil {
			return 0, err
		}
		if err := pause(ctx, 150*time.Millisecond); err != nil {
			return 0, err
		}
		var now time.Duration
		now, err = p.cpu()
		if now-last < 2*time.Millisecond {
			return now, err
		}
		last = now
	}
	return last, err
}

// running lists the descendants that execute the program.
func (p *processes) running(program string) []int {
	var found []int
	for pid := range p.descendants() {
		if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && exe == program {
			found = append(found, pid)
		}
	}
	return found
}

// finish asks the descendants that execute the program to end, and returns
// when they have.
func (p *processes) finish(ctx context.Context, program string) error {
	signal := unix.SIGTERM
	for try := 0; ; try++ {
		left := p.running(program)
		if len(left) == 0 {
			return nil
		}
		if try == 300 {
			signal = unix.SIGKILL
		}
		if try == 0 || try == 300 {
			for _, pid := range left {
				if err := unix.Kill(pid, signal); err != nil && !errors.Is(err, unix.ESRCH) {
					return err
				}
			}
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

// end kills whatever is left, and ends the reaping. The servers are asked first.
func (p *processes) end() error {
	for try := 0; ; try++ {
		left := p.descendants()
		if len(left) == 0 || try == 2000 {
			break
		}
		for pid, e := range left {
			switch {
			case e.Dead():
			case try == 0:
				_ = syscall.Kill(pid, syscall.SIGINT) // a server's fast shutdown
			case try > 300:
				_ = syscall.Kill(pid, syscall.SIGKILL) // gone is fine
			case try == 20:
				_ = syscall.Kill(pid, syscall.SIGTERM)
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	close(p.stop)
	p.done.Wait()
	if left := p.descendants(); len(left) > 0 {
		return fmt.Errorf("%d processes do not end", len(left))
	}
	return nil
}

// pause waits, but no longer than ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
