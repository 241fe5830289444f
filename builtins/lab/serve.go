package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/warmrun/warmrun/builtins/pgctl"
	"github.com/warmrun/warmrun/walcore/hint"
)

// upPatience is how long making a lab may take.
const upPatience = 5 * time.Minute

// Serve makes a lab and holds it until ctx ends, then removes it. It is the
// body of the background process that Start leaves.
func Serve(ctx context.Context, o Options) error {
	l, err := Up(ctx, o)
	if err != nil {
		return err
	}
	<-ctx.Done()
	return l.Close(ctx)
}

// Start leaves a lab in the background and returns when it is ready. args is
// the command line of this program that calls Serve with the same Options. Out
// gets what the background process says until then. When ctx ends first, the
// lab is taken down again.
func Start(ctx context.Context, o Options, args ...string) (Report, error) {
	dir := o.Dir
	if dir == "" {
		dir = DefaultDir()
	}
	dir, err := checkDir(dir)
	if err != nil {
		return Report{}, err
	}
	if s, err := readState(dir); err == nil {
		return Report{}, hint.Wrap(fmt.Errorf("there is a lab in %s already", s.Dir), "warmrun lab status shows it, warmrun lab down removes it, --dir makes another one elsewhere")
	}
	b, err := background(args)
	if err != nil {
		return Report{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, upPatience, hint.Wrap(fmt.Errorf("its servers and sshd were not up within %s", upPatience), "this machine has much else to do, or a slow disk; what was begun was removed: try again"))
	defer cancel()
	if err := b.ready(ctx, dir, o.Out); err != nil {
		return Report{}, errors.Join(err, b.close())
	}
	if err := b.close(); err != nil {
		return Report{}, err
	}
	return Status(ctx, dir)
}

// child is the background process while it is being watched.
type child struct {
	process *os.Process
	output  *os.File // without a name: it goes when its last holder does
	said    string   // all of it, as far as it was read
}

func background(args []string) (*child, error) {
	output, err := os.CreateTemp("", "warmrun-lab-*.log")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(output.Name()); err != nil {
		return nil, errors.Join(err, output.Close())
	}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, output.Close())
	}
	return &child{process: cmd.Process, output: output}, nil
}

// ready waits until the lab process says in lab.json that the lab is there.
func (c *child) ready(ctx context.Context, dir string, out io.Writer) error {
	for {
		said, err := c.news()
		if err != nil {
			return err
		}
		var status syscall.WaitStatus
		gone, err := syscall.Wait4(c.process.Pid, &status, syscall.WNOHANG, nil)
		if err != nil {
			return fmt.Errorf("watch the lab process: %w", err)
		}
		if gone != 0 {
			_, err := c.news()
			return errors.Join(failure(c.said), err)
		}
		if out != nil {
			_, _ = io.WriteString(out, said) // progress for people
		}
		if s, err := readState(dir); err == nil && s.State == stateReady && s.Process.PID == c.process.Pid {
			return nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			err = fmt.Errorf("the lab is not ready: %w", context.Cause(ctx))
			// It takes itself down on SIGTERM.
			if stopErr := c.process.Signal(syscall.SIGTERM); stopErr != nil {
				return errors.Join(err, stopErr)
			}
			_, waitErr := c.process.Wait()
			return errors.Join(err, waitErr)
		}
	}
}

// failure is the error of a lab process that ended. It has already said why,
// in the form that the program gives every error.
func failure(said string) error {
	var message, next string
	for line := range strings.Lines(said) {
		if text, ok := strings.CutPrefix(line, "warmrun: error: "); ok {
			message = strings.TrimSpace(text)
		}
		if text, ok := strings.CutPrefix(line, "warmrun: hint: "); ok {
			next = strings.TrimSpace(text)
		}
	}
	switch {
	case message == "":
		return fmt.Errorf("the lab process ended before the lab was ready\n%s", indent(said))
	case next == "":
		return errors.New(message)
	}
	return hint.Wrap(errors.New(message), "%s", next)
}

// news is what the process has printed since the last look.
func (c *child) news() (string, error) {
	data, err := io.ReadAll(io.NewSectionReader(c.output, int64(len(c.said)), 1<<20))
	c.said += string(data)
	return string(data), err
}

func (c *child) close() error {
	return errors.Join(c.output.Close(), c.process.Release())
}

// Report is what one look at a lab showed.
type Report struct {
	State
	// Alive: the lab process runs, and with it the ssh servers.
	Alive   bool         `json:"alive"`
	Servers []NodeStatus `json:"servers"`
}

// NodeStatus is one node of a lab at one moment.
type NodeStatus struct {
	Node string `json:"node"`
	// SSH: something accepts connections on the node's address.
	SSH bool `json:"ssh"`
	// Server is "running", "stopped", or "empty" where there is no database.
	Server string `json:"server"`
}

// Status reports on the lab in dir; "" means DefaultDir.
func Status(ctx context.Context, dir string) (Report, error) {
	s, err := load(dir)
	if err != nil {
		return Report{}, err
	}
	report := Report{State: s}
	handle, err := s.Process.find()
	if err != nil {
		return Report{}, err
	}
	if handle != nil {
		report.Alive = true
		if err := handle.Release(); err != nil {
			return Report{}, err
		}
	}
	for _, n := range s.Nodes {
		report.Servers = append(report.Servers, NodeStatus{Node: n.Name, SSH: answers(ctx, n), Server: serverState(n)})
	}
	return report, nil
}

func answers(ctx context.Context, n Node) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(n.Address, strconv.Itoa(n.SSHPort)))
	return err == nil && conn.Close() == nil
}

func serverState(n Node) string {
	status, err := pgctl.Server{PGData: n.PGData}.StatusNow()
	switch {
	case err != nil:
		return "empty"
	case status.Running:
		return "running"
	}
	return "stopped"
}
