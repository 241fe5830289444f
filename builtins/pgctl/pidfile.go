package pgctl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// pidFile is what postmaster.pid says (the LOCK_FILE_LINE numbers in
// utils/pidfile.h; start time, port and socket directory are there from 9.1
// on, the status line from 10 on).
type pidFile struct {
	pid       int // of the postmaster, or of a single-user backend
	single    bool
	dataDir   string
	startedAt time.Time
	port      int
	socketDir string
	ready     string // "starting", "ready", "standby", "stopping" or empty
}

// parsePIDFile reads the text of postmaster.pid. A server writes the file line
// by line while it starts, so any number of lines may be missing at the end.
func parsePIDFile(text string) (pidFile, error) {
	lines := strings.Split(text, "\n")
	line := func(n int) string {
		if n > len(lines) {
			return ""
		}
		return strings.TrimSpace(lines[n-1])
	}
	var f pidFile
	pid, err := strconv.Atoi(line(1))
	if err != nil || pid == 0 {
		return f, fmt.Errorf("the first line is %q, not a process id", line(1))
	}
	if f.pid = pid; pid < 0 {
		f.pid, f.single = -pid, true
	}
	f.dataDir = line(2)
	started, err := strconv.ParseInt(line(3), 10, 64)
	if err != nil {
		return f, nil // before 9.1 the third line is the shared memory key
	}
	f.startedAt = time.Unix(started, 0)
	if port, err := strconv.Atoi(line(4)); err == nil {
		f.port = port
	}
	f.socketDir, f.ready = line(5), line(8)
	return f, nil
}

// readPIDFile reads PGDATA/postmaster.pid; false means that there is none.
func readPIDFile(pgdata string) (pidFile, bool, error) {
	path := filepath.Join(pgdata, "postmaster.pid")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return pidFile{}, false, nil
	}
	if err != nil {
		return pidFile{}, false, err
	}
	if len(text) == 0 {
		// The server has created the file and not yet written to it, or the
		// machine crashed in that moment.
		return pidFile{}, false, nil
	}
	f, err := parsePIDFile(string(text))
	if err != nil {
		return pidFile{}, false, fmt.Errorf("%s: %w", path, err)
	}
	return f, true, nil
}
