package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"github.com/warmrun/warmrun/walcore/cluster"
)

// becomeOwner gives up root for the owner of the data directory, so that no
// file of the server's ever belongs to root. Where there is no data directory
// yet, the owner of the home directory is taken. It does nothing for an
// ordinary user.
func becomeOwner(around cluster.Surroundings) error {
	if os.Geteuid() != 0 {
		return nil
	}
	owner, err := ownerOf(around)
	if err != nil || owner == 0 {
		return err
	}
	account, err := user.LookupId(strconv.Itoa(int(owner)))
	if err != nil {
		return fmt.Errorf("become the owner of the data directory: %w", err)
	}
	gid, err := strconv.Atoi(account.Gid)
	if err != nil {
		return err
	}
	groups := []int{gid}
	if ids, err := account.GroupIds(); err == nil {
		groups = groups[:0]
		for _, id := range ids {
			if n, err := strconv.Atoi(id); err == nil {
				groups = append(groups, n)
			}
		}
	}
	if err := errors.Join(syscall.Setgroups(groups), syscall.Setgid(gid), syscall.Setuid(int(owner))); err != nil {
		return fmt.Errorf("become %s, the owner of the data directory: %w", account.Username, err)
	}
	return errors.Join(os.Setenv("HOME", account.HomeDir), os.Setenv("USER", account.Username), os.Setenv("LOGNAME", account.Username))
}

func ownerOf(around cluster.Surroundings) (uint32, error) {
	paths := []string{around.DataDir()}
	if site, err := cluster.Load(around); err == nil {
		paths = []string{site.Self.PGData, around.DataDir(), site.Home}
	}
	for _, path := range paths {
		if path == "" {
			continue
		}
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			return stat.Uid, nil
		}
	}
	return 0, nil
}
