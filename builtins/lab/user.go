package lab

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/warmrun/warmrun/walcore/hint"
)

// ordinaryUser is the name of the user that this process runs as.
func ordinaryUser() (string, error) {
	if os.Geteuid() == 0 {
		return "", hint.Wrap(errors.New("PostgreSQL refuses to run as root"), "run the lab as an ordinary user, or give --user NAME")
	}
	account, err := user.Current()
	if err != nil {
		return "", hint.Wrap(fmt.Errorf("this user has no name: %w", err), "peer authentication needs one: run the lab as a user of /etc/passwd")
	}
	return account.Username, nil
}

// Demote turns a process that root has started into one of an ordinary user:
// it gives up root's rights for good and executes the same program again with
// the same arguments, so that all of the new process is that user's. It returns
// nil when the process is not root's, and otherwise only with an error.
//
// The user is the one named, else the one that called sudo, else postgres, else
// nobody. Call it before anything is opened or made.
func Demote(name string) error {
	if os.Geteuid() != 0 {
		if name != "" {
			return demoteNothing(name)
		}
		return nil
	}
	account, err := chooseUser(name, os.Getenv, user.Lookup)
	if err != nil {
		return err
	}
	env, err := become(account)
	if err != nil {
		return hint.Wrap(fmt.Errorf("become user %s: %w", account.Username, err), "run the lab as an ordinary user")
	}
	// The link of the running program, not its path: the path may lead through
	// root's own directories, which are closed to the new user.
	err = syscall.Exec("/proc/self/exe", os.Args, env)
	return hint.Wrap(fmt.Errorf("execute %s as user %s: %w", os.Args[0], account.Username, err), "the program's file must be executable for everyone")
}

func demoteNothing(name string) error {
	account, err := user.Current()
	if err == nil && account.Username == name {
		return nil
	}
	return hint.Wrap(fmt.Errorf("only root can run the lab as user %s", name), "leave --user away, or use sudo")
}

// chooseUser finds the ordinary user to become.
func chooseUser(name string, getenv func(string) string, lookup func(string) (*user.User, error)) (*user.User, error) {
	if name != "" {
		account, err := lookup(name)
		if err != nil {
			return nil, hint.Wrap(fmt.Errorf("user %s: %w", name, err), "--user names a user of this machine")
		}
		if account.Uid == "0" {
			return nil, hint.Wrap(fmt.Errorf("user %s is root, and PostgreSQL refuses to run as root", name), "--user names an ordinary user")
		}
		return account, nil
	}
	for _, candidate := range []string{getenv("SUDO_USER"), "postgres", "nobody"} {
		if candidate == "" {
			continue
		}
		if account, err := lookup(candidate); err == nil && account.Uid != "0" {
			return account, nil
		}
	}
	return nil, hint.Wrap(errors.New("PostgreSQL refuses to run as root, and no ordinary user was found"), "give --user NAME")
}

// become changes the ids of the whole process and returns the environment that
// belongs to the user.
func become(account *user.User) ([]string, error) {
	uid, errUID := strconv.Atoi(account.Uid)
	gid, errGID := strconv.Atoi(account.Gid)
	names, errGroups := account.GroupIds()
	if err := errors.Join(errUID, errGID, errGroups); err != nil {
		return nil, err
	}
	var groups []int
	for _, name := range names {
		if id, err := strconv.Atoi(name); err == nil {
			groups = append(groups, id)
		}
	}
	// The user id goes last: it takes the right to change the others away.
	if err := syscall.Setgroups(groups); err != nil {
		return nil, err
	}
	if err := syscall.Setgid(gid); err != nil {
		return nil, err
	}
	if err := syscall.Setuid(uid); err != nil {
		return nil, err
	}
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		key, _, _ := strings.Cut(v, "=")
		return slices.Contains([]string{"HOME", "USER", "LOGNAME", "SHELL", "MAIL", "XDG_RUNTIME_DIR", "TMPDIR"}, key)
	})
	return append(env, "HOME="+account.HomeDir, "USER="+account.Username, "LOGNAME="+account.Username), nil
}
