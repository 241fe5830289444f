package hint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// File says what to do about an error of the file system: for one of
// permissions it names the file or directory that is closed, its owner and its
// mode, as this process sees them now. For any other error it is empty.
func File(err error) string {
	path := pathOf(err)
	switch {
	case path == "":
		return ""
	case errors.Is(err, fs.ErrPermission):
		return closed(path)
	case errors.Is(err, syscall.EROFS):
		return fmt.Sprintf("the file system of %s is mounted read-only: the kernel's log (dmesg) says why; mend that before it is mounted for writing again", path)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Sprintf("free space on the file system of %s, or enlarge it", path)
	case errors.Is(err, syscall.EIO):
		return fmt.Sprintf("the disk below %s fails: look into the kernel's log (dmesg), and save what is on it first", path)
	}
	return ""
}

// pathOf is the file that an error is about, or empty.
func pathOf(err error) string {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Path
	case errors.As(err, &link):
		return link.New
	}
	return ""
}

// closed describes what keeps this process out: the file itself, or the nearest
// directory above it that can be seen.
func closed(path string) string {
	for {
		info, err := os.Stat(path)
		if err == nil {
			return closedBy(path, info)
		}
		if path == filepath.Dir(path) {
			return ""
		}
		path = filepath.Dir(path)
	}
}

func closedBy(path string, info fs.FileInfo) string {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	owner, us := nameOf(int(stat.Uid)), nameOf(os.Geteuid())
	what := fmt.Sprintf("%s belongs to %s and has mode %04o, and this runs as %s", path, owner, info.Mode().Perm(), us)
	if owner == us {
		return what + ": chmod u+rwX " + path + ", unless somebody has closed it on purpose"
	}
	return what + fmt.Sprintf(": run it as %s, or give %s access", owner, us)
}

func nameOf(uid int) string {
	id := strconv.Itoa(uid)
	if account, err := user.LookupId(id); err == nil {
		return account.Username
	}
	return "user " + id
}
