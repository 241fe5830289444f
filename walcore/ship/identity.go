package ship

import (
	"fmt"
	"os"
	"syscall"
)

// identity tells whether a file is still the one that was read: any write to
// it, and any other file under its name, gives another one. PostgreSQL recycles
// segments by giving them a new name and writing over them.
type identity struct {
	device, inode uint64
	size          int64
	modified      syscall.Timespec
	changed       syscall.Timespec
}

func identify(f *os.File) (identity, error) {
	info, err := f.Stat()
	if err != nil {
		return identity{}, err
	}
	return identityOf(info)
}

func identityOf(info os.FileInfo) (identity, error) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return identity{}, fmt.Errorf("%s: the file system tells nothing about it", info.Name())
	}
	return identity{stat.Dev, stat.Ino, stat.Size, stat.Mtim, stat.Ctim}, nil
}
