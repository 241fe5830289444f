package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// watch tells when files get their names in a directory, by inotify(7). For a
// durable write that is shortly before the directory is flushed and success is
// reported, so times from then on are never too short.
type watch struct {
	file *os.File
	seen chan arrival
}

type arrival struct {
	name string
	at   time.Time
}

func watchDir(dir string) (*watch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, err
	}
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_MOVED_TO|unix.IN_CREATE); err != nil {
		return nil, errors.Join(fmt.Errorf("watch %s: %w", dir, err), unix.Close(fd))
	}
	w := &watch{file: os.NewFile(uintptr(fd), "inotify"), seen: make(chan arrival, 1024)}
	go w.read()
	return w, nil
}

func (w *watch) read() {
	defer close(w.seen)
	buffer := make([]byte, 64<<10)
	for {
		n, err := w.file.Read(buffer)
		if err != nil {
			return // closed
		}
		at := time.Now()
		for rest := buffer[:n]; len(rest) >= unix.SizeofInotifyEvent; {
			event := (*unix.InotifyEvent)(unsafe.Pointer(&rest[0]))
			end := unix.SizeofInotifyEvent + int(event.Len)
			name := string(bytes.TrimRight(rest[unix.SizeofInotifyEvent:end], "\x00"))
			w.seen <- arrival{name, at}
			rest = rest[end:]
		}
	}
}

func (w *watch) close() error { return w.file.Close() }
