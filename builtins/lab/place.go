package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/warmrun/warmrun/builtins/pgctl"
	"github.com/warmrun/warmrun/walcore/hint"
)

const (
	// neededSpace is what a lab and its demo use on disk, with some to spare.
	neededSpace = 1 << 30
	// longestSocket is what fits into sockaddr_un on Linux, without its zero.
	longestSocket = 107
)

// oldestServer is the oldest version of PostgreSQL that is looked for.
const oldestServer = 10

// DefaultDir is where the lab of this user lies when nobody says otherwise.
func DefaultDir() string {
	return filepath.Join(os.TempDir(), "warmrun-lab-"+strconv.Itoa(os.Geteuid()))
}

// checkDir makes the path absolute and refuses one that would not work.
func checkDir(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+@", r)
	}
	// The path goes into postgresql.conf, cluster.toml, ssh_config and shell
	// commands, each of which quotes in its own way.
	if i := strings.IndexFunc(dir, func(r rune) bool { return !plain(r) }); i >= 0 {
		return "", hint.Wrap(fmt.Errorf("the path %q has %q in it, which a lab cannot use", dir, dir[i:i+1]),
			"give --dir with a path of letters, digits and . _ - + @ only")
	}
	socket := filepath.Join(dir, "db1", "run", ".s.PGSQL."+strconv.Itoa(firstPort))
	if len(socket) > longestSocket {
		return "", hint.Wrap(fmt.Errorf("the path %s is too long: the servers' sockets would have names of %d bytes, and %d are possible", dir, len(socket), longestSocket),
			"give --dir with a shorter path")
	}
	return dir, nil
}

// makeDir creates the lab's directory, which must not exist.
func makeDir(dir string) error {
	err := os.Mkdir(dir, 0o700)
	switch {
	case errors.Is(err, fs.ErrExist):
		if _, stateErr := readState(dir); stateErr == nil {
			return hint.Wrap(fmt.Errorf("there is a lab in %s already", dir), "warmrun lab status shows it, warmrun lab down removes it, --dir makes another one elsewhere")
		}
		return hint.Wrap(fmt.Errorf("%s exists and is not a lab", dir), "give --dir with a directory that does not exist yet")
	case errors.Is(err, fs.ErrNotExist):
		return hint.Wrap(fmt.Errorf("%s does not exist", filepath.Dir(dir)), "create it, or give --dir with another place")
	case errors.Is(err, fs.ErrPermission):
		return hint.Wrap(fmt.Errorf("user id %d may not create %s: %w", os.Geteuid(), dir, err), "give --dir with a place that this user may write to")
	case err != nil:
		return err
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(dir, &disk); err != nil {
		return errors.Join(err, os.Remove(dir))
	}
	if free := disk.Bavail * uint64(disk.Bsize); free < neededSpace {
		err := fmt.Errorf("%s has %d MB free, and a lab needs %d MB", filepath.Dir(dir), free>>20, uint64(neededSpace)>>20)
		return errors.Join(hint.Wrap(err, "make room there, or give --dir on another file system"), os.Remove(dir))
	}
	return nil
}

// findServer finds the newest PostgreSQL server on this machine, or the one in
// the directory that was given.
func findServer(given string) (string, pgctl.Version, error) {
	dir, major, err := pgctl.NewestBinDir(oldestServer, given)
	if err != nil && given != "" {
		err = hint.Wrap(err, "--pg-bin names the directory that holds pg_ctl and postgres")
	}
	return dir, major, err
}

// listen opens one port on each of several loopback addresses. Linux answers
// on all of 127/8 without any setup; a set in use by another lab is passed by.
func listen(ctx context.Context, count int) ([]net.Listener, error) {
	const firstSet, lastSet, sshPort = 71, 98, 2222
	for set := firstSet; set <= lastSet; set++ {
		if listeners, err := listenOn(ctx, set, count, sshPort); err == nil {
			return listeners, nil
		}
	}
	// Somebody has the port on every address: any other one will do.
	listeners, err := listenOn(ctx, firstSet, count, 0)
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("no addresses for the nodes: %w", err), "a lab needs the loopback addresses 127.0.%d.11 to 13, which Linux has by default", firstSet)
	}
	return listeners, nil
}

func listenOn(ctx context.Context, set, count, port int) ([]net.Listener, error) {
	var listeners []net.Listener
	var config net.ListenConfig
	for i := range count {
		listener, err := config.Listen(ctx, "tcp4", fmt.Sprintf("127.0.%d.%d:%d", set, 11+i, port))
		if err != nil {
			return nil, errors.Join(err, closeAll(listeners))
		}
		listeners = append(listeners, listener)
	}
	return listeners, nil
}
