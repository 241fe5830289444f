package pgctl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/warmrun/warmrun/walcore/hint"
)

// ids is who owns a file or runs a process.
type ids struct{ uid, gid uint32 }

func ownerOf(path string) (ids, error) {
	info, err := os.Stat(path)
	if err != nil {
		return ids{}, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ids{}, fmt.Errorf("%s: the owner is not known on this system", path)
	}
	return ids{stat.Uid, stat.Gid}, nil
}

// outputPatience is how long a command's output is waited for after its end. A
// daemon that kept our pipe open would otherwise hold the caller for ever.
const outputPatience = 2 * time.Second

// asOwner prepares one of PostgreSQL's programs. Run by root it becomes the
// owner of PGDATA, with that user's groups: on Debian the server's key is
// readable through the group ssl-cert.
func (s Server) asOwner(ctx context.Context, program string, args ...string) (*exec.Cmd, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = "/" // the caller's directory may be closed to the server's user
	cmd.WaitDelay = outputPatience
	if os.Geteuid() != 0 {
		return cmd, nil
	}
	owner, err := ownerOf(s.PGData)
	if err != nil {
		return nil, err
	}
	if owner.uid == 0 {
		return nil, hint.Wrap(fmt.Errorf("%s belongs to root, and PostgreSQL refuses to run as root", s.PGData),
			"give the data directory to the server's user: chown -R postgres: %s", s.PGData)
	}
	credential := &syscall.Credential{Uid: owner.uid, Gid: owner.gid}
	cmd.Env = os.Environ()
	// A user without an entry in the password file has no further groups.
	if account, err := user.LookupId(strconv.FormatUint(uint64(owner.uid), 10)); err == nil {
		credential.Groups = groupsOf(account)
		cmd.Env = append(cmd.Env, "HOME="+account.HomeDir, "USER="+account.Username, "LOGNAME="+account.Username)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	return cmd, nil
}

func groupsOf(account *user.User) []uint32 {
	names, err := account.GroupIds()
	if err != nil {
		return nil
	}
	var groups []uint32
	for _, name := range names {
		if id, err := strconv.ParseUint(name, 10, 32); err == nil {
			groups = append(groups, uint32(id))
		}
	}
	return groups
}

// commandError is a program that ran and failed.
type commandError struct {
	command string
	output  string // what it printed: complaints first
	err     error
}

func (e *commandError) Error() string {
	if e.output == "" {
		return fmt.Sprintf("%s: %s", e.command, e.err)
	}
	return fmt.Sprintf("%s: %s: %s", e.command, e.err, e.output)
}

func (e *commandError) Unwrap() error { return e.err }

// run runs a prepared command to its end. The error holds what it printed.
func run(cmd *exec.Cmd) (stdout string, err error) {
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err = cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it ended well; a daemon it left behind holds the pipe
	}
	if err != nil {
		printed := strings.TrimSpace(complaints.String() + "\n" + out.String())
		return out.String(), &commandError{commandLine(cmd), printed, err}
	}
	return out.String(), nil
}

func commandLine(cmd *exec.Cmd) string {
	return shellQuote(append([]string{cmd.Path}, cmd.Args[1:]...)...)
}

// shellQuote makes words that a POSIX shell reads back as they are.
func shellQuote(words ...string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = word
		plain := strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-") == ""
		if word == "" || !plain {
			quoted[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

// poll calls done until it reports true or fails, or ctx ends: at once at first,
// then every few milliseconds, since clients wait for what is waited for here,
// and at growing intervals when that takes long.
func poll(ctx context.Context, done func() (bool, error)) error {
	const brisk, longest = time.Second, 50 * time.Millisecond
	began, pause := time.Now(), 2*time.Millisecond
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		if time.Since(began) > brisk {
			pause = min(pause*3/2, longest)
		}
		timer.Reset(pause)
	}
}
