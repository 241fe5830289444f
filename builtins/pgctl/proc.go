package pgctl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/warmrun/warmrun/walcore/procstat"
)

// machine is the node as the probes see it. The zero value is the real one;
// tests give it a tree of their own.
type machine struct {
	// root is put before every absolute path that is probed: /proc, /etc,
	// /usr, /run.
	root string
	// path is searched for programs instead of $PATH.
	path string
	// unprivileged makes root ask for permission as other users have to.
	unprivileged bool
}

// privileged reports whether this process may control services as it is.
func (m machine) privileged() bool { return os.Geteuid() == 0 && !m.unprivileged }

// at is an absolute path below the root.
func (m machine) at(elem ...string) string {
	return filepath.Join(append([]string{m.root, "/"}, elem...)...)
}

// lookPath finds a program. Distributions keep some where a cron job's or an
// ssh command's PATH does not reach, so those places are searched too.
func (m machine) lookPath(name string) (string, error) {
	path := m.path
	if path == "" {
		path = os.Getenv("PATH") + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	for dir := range strings.SplitSeq(path, ":") {
		if !filepath.IsAbs(dir) {
			continue
		}
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, exec.ErrNotFound)
}

// servesFrom reports whether the process works in the directory, as the
// postmaster and all its children do in PGDATA. A process that is gone, or a
// zombie, does not. A process id alone proves nothing: after a reboot it may
// be someone else's.
func (m machine) servesFrom(pid int, dir string) (bool, error) {
	cwd, err := os.Stat(m.at("proc", strconv.Itoa(pid), "cwd"))
	switch {
	case errors.Is(err, fs.ErrNotExist) || isGone(err):
		return false, nil
	case errors.Is(err, fs.ErrPermission):
		return m.looksLikeServer(pid, dir)
	case err != nil:
		return false, err
	}
	want, err := os.Stat(dir)
	if err != nil {
		return false, err
	}
	return os.SameFile(cwd, want), nil
}

// looksLikeServer stands in for servesFrom where another user's processes are
// closed to us, as for a member of PGDATA's group: a PostgreSQL process of the
// user who owns PGDATA counts.
func (m machine) looksLikeServer(pid int, dir string) (bool, error) {
	comm, err := os.ReadFile(m.at("proc", strconv.Itoa(pid), "comm"))
	if errors.Is(err, fs.ErrNotExist) || isGone(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if name := strings.TrimSpace(string(comm)); name != "postgres" && name != "postmaster" {
		return false, nil
	}
	process, err := ownerOf(m.at("proc", strconv.Itoa(pid)))
	if err != nil {
		return false, err
	}
	data, err := ownerOf(dir)
	return process.uid == data.uid, err
}

// isGone reports that a process ended while its /proc entry was being read.
func isGone(err error) bool { return errors.Is(err, syscall.ESRCH) }

// process is one entry of the process table.
type process struct {
	pid, parent int
	title       string // the command line, as ps shows it
}

// processes lists the processes that keep accepts; the others are read no
// further than needed.
func (m machine) processes(keep func(process) bool) ([]process, error) {
	pids, err := procstat.PIDs(m.at("proc"))
	if err != nil {
		return nil, err
	}
	var found []process
	for _, pid := range pids {
		p := process{pid: pid, parent: m.parentOf(pid)}
		if !keep(p) {
			continue
		}
		p.title = m.titleOf(pid)
		found = append(found, p)
	}
	return found, nil
}

// parentOf is the parent's process id; 0 means unknown or gone.
func (m machine) parentOf(pid int) int {
	p, _ := procstat.Read(m.at("proc"), pid)
	return p.Parent
}

func (m machine) titleOf(pid int) string {
	text, err := os.ReadFile(m.at("proc", strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(strings.ReplaceAll(string(text), "\x00", " "))
}

// serviceOf is the systemd unit whose control group holds the process, such as
// "postgresql@15-main.service", or empty. Only the innermost group counts: a
// server started by hand in a login session lies below user@1000.service.
func (m machine) serviceOf(pid int) string {
	text, err := os.ReadFile(m.at("proc", strconv.Itoa(pid), "cgroup"))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		hierarchy, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, group, _ := strings.Cut(rest, ":")
		if hierarchy != "0" && controllers != "name=systemd" {
			continue
		}
		if last := filepath.Base(group); strings.HasSuffix(last, ".service") {
			return last
		}
	}
	return ""
}
