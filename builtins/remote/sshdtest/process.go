package sshdtest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/warmrun/warmrun/walcore/procstat"
)

// process is the listening sshd. Every connection has a child of its own.
type process struct {
	cmd    *exec.Cmd
	stderr *os.File // the end that is read
	log    lockedBuffer
	done   chan struct{} // closed when the process is gone and its log is read
	once   sync.Once
}

// startProcess returns once sshd says that it listens.
func startProcess(config string, account *user.User) (*process, error) {
	sshd, err := findSSHD()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(sshd, "-D", "-e", "-f", config), done: make(chan struct{})}
	p.cmd.Env = environ()
	p.cmd.Dir = "/"
	if os.Geteuid() == 0 {
		if err := becomeUser(p.cmd, account); err != nil {
			return nil, err
		}
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	p.stderr = stderr.(*os.File)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	listening := make(chan struct{})
	go p.watch(listening)
	timeout := time.NewTimer(20 * time.Second)
	defer timeout.Stop()
	select {
	case <-listening:
		return p, nil
	case <-p.done:
		return nil, fmt.Errorf("sshd ended: %s", p.log.String())
	case <-timeout.C:
		p.stop()
		return nil, fmt.Errorf("sshd does not listen after 20 s: %s", p.log.String())
	}
}

// watch keeps the log, reports the line that says sshd listens, and reaps.
func (p *process) watch(listening chan<- struct{}) {
	defer close(p.done)
	lines := bufio.NewScanner(p.stderr)
	for lines.Scan() {
		p.log.WriteLine(lines.Text())
		if listening != nil && strings.HasPrefix(lines.Text(), "Server listening on") {
			close(listening)
			listening = nil
		}
	}
	// The exit status says nothing that the log does not say better.
	_ = p.cmd.Wait()
}

// stop kills the listener and the sshd of every connection. Other processes
// below them are left alone.
func (p *process) stop() {
	p.once.Do(func() {
		// Stopped first, so that no child appears while they are looked for.
		_ = p.cmd.Process.Signal(syscall.SIGSTOP)
		for _, pid := range sshdChildren(p.cmd.Process.Pid) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		_ = p.cmd.Process.Kill()
		p.killLeft()
	})
}

// killLeft kills what children of sshd have started while they were looked for, and
// returns when nothing writes to the log any more.
func (p *process) killLeft() {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for start := time.Now(); ; {
		select {
		case <-p.done:
			return
		case <-again.C:
		}
		if time.Since(start) > 10*time.Second {
			_ = p.stderr.Close() // who still holds the other end is not ours to see
		}
		for _, pid := range writers(p.stderr) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// writers lists the sshd processes whose standard error is the pipe.
func writers(pipe *os.File) (pids []int) {
	conn, err := pipe.SyscallConn()
	if err != nil {
		return nil // closed
	}
	var name string
	if err := conn.Control(func(fd uintptr) { name, _ = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)) }); err != nil || name == "" {
		return nil
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/2") // the pattern is well formed
	for _, link := range links {
		dir := filepath.Dir(filepath.Dir(link))
		comm, err := os.ReadFile(filepath.Join(dir, "comm"))
		if target, errLink := os.Readlink(link); err != nil || errLink != nil || target != name || !strings.HasPrefix(string(comm), "sshd") {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// sshdChildren lists the descendants of a process that are sshd themselves.
func sshdChildren(root int) []int {
	children := map[int][]int{}
	all, _ := procstat.All(procstat.Root) // none without /proc
	for _, p := range all {
		if strings.HasPrefix(p.Name, "sshd") {
			children[p.Parent] = append(children[p.Parent], p.PID)
		}
	}
	var found []int
	for queue := []int{root}; len(queue) > 0; queue = queue[1:] {
		found = append(found, children[queue[0]]...)
		queue = append(queue, children[queue[0]]...)
	}
	return found
}

// becomeUser makes the command run as the account. For root itself, sshd
// wants its empty directory.
func becomeUser(cmd *exec.Cmd, account *user.User) error {
	uid, errUID := strconv.ParseUint(account.Uid, 10, 32)
	gid, errGID := strconv.ParseUint(account.Gid, 10, 32)
	if err := errors.Join(errUID, errGID); err != nil {
		return err
	}
	if uid == 0 {
		return os.MkdirAll("/run/sshd", 0o755)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	return nil
}

// findSSHD is the absolute path, without which sshd cannot execute itself
// again for a connection.
func findSSHD() (string, error) {
	for _, path := range []string{"/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"} {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no sshd found: install the OpenSSH server (openssh-server)")
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) WriteLine(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf.WriteString(line + "\n")
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
