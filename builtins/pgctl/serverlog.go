package pgctl

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// serverLog remembers how long the server's logs were before a start, so that
// a failure can be explained by what was added.
type serverLog struct {
	file   string // may be empty
	size   int64
	dir    string // of the logging collector; may be empty
	opened time.Time
	where  string // for people, where none of it can be read here
}

// tailLines is how much of a log goes into an error.
const tailLines = 10

func (s Server) openLog(own ownership, o StartOptions) serverLog {
	log := serverLog{file: o.LogFile, opened: time.Now()}
	switch {
	case own.cluster != (debianCluster{}):
		log.file = s.machine.clusterLog(own.cluster)
	case own.kind == OwnerSystemd:
		log.file, log.where = "", "journalctl -u "+own.unit
	}
	if info, err := os.Stat(log.file); err == nil {
		log.size = info.Size()
	}
	// A configuration that cannot be read is among the reasons for a failure;
	// the server says so itself.
	if conf, err := s.Conf(); err == nil && conf.Bool("logging_collector", false) {
		log.dir = s.logDirectory(conf)
	}
	return log
}

func (s Server) logDirectory(conf Conf) string {
	dir, ok := conf.Get("log_directory")
	if !ok {
		dir = "log"
		if v, err := s.Version(); err == nil && v < 10 {
			dir = "pg_log"
		}
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(s.PGData, dir)
	}
	return dir
}

// clusterLog is where pg_ctlcluster sends the server's output (cluster_info in
// PgCommon.pm).
func (m machine) clusterLog(c debianCluster) string {
	if target, err := os.Readlink(filepath.Join(c.config, "log")); err == nil {
		return target
	}
	return m.at("var/log/postgresql", "postgresql-"+c.version+"-"+c.name+".log")
}

// settle waits until the logging collector has written what the server has said: it
// outlives the server for a moment, and nothing tells when it has written all.
func (l serverLog) settle(ctx context.Context) {
	const quiet, most = 200 * time.Millisecond, 3 * time.Second
	if l.dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	said, since := "", time.Now()
	_ = poll(ctx, func() (bool, error) { // what there is by then has to do
		if now := l.collected(); now != said {
			said, since = now, time.Now()
		}
		return said != "" && time.Since(since) >= quiet, nil
	})
}

// tail is the end of what the server has logged since, ready to follow an
// error: empty, or a line break and indented lines.
func (l serverLog) tail() string {
	text := readFrom(l.file, l.size)
	if l.dir != "" {
		text += l.collected()
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if lines[0] == "" {
		if l.where != "" {
			return "; its log: " + l.where
		}
		return ""
	}
	if len(lines) > tailLines {
		lines = lines[len(lines)-tailLines:]
	}
	return "; its log ends:\n  " + strings.Join(lines, "\n  ")
}

// collected is what the logging collector has written since. It opens a file
// of its own at every start of the server, or appends to one.
func (l serverLog) collected() string {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return ""
	}
	newest, newestTime := "", l.opened
	for _, entry := range entries {
		info, err := entry.Info()
		if err == nil && info.Mode().IsRegular() && !info.ModTime().Before(newestTime) {
			newest, newestTime = filepath.Join(l.dir, entry.Name()), info.ModTime()
		}
	}
	return readFrom(newest, 0)
}

// readFrom reads a file from an offset on, but not more than its last 64 kB.
// What cannot be read is empty: this is only ever an addition to an error.
func readFrom(path string, offset int64) string {
	const most = 64 << 10
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return ""
	}
	if info.Size() < offset {
		offset = 0 // rotated
	}
	var text bytes.Buffer
	if _, err := io.Copy(&text, io.NewSectionReader(file, max(offset, info.Size()-most), most)); err != nil {
		return ""
	}
	return text.String()
}

// LastLogged finds the last line of the server's log that holds a text, and
// gives it with the lines after it. where is the place to look, for people; it
// is set also when no such line is found, or the log cannot be read here.
// logFile is what StartOptions.LogFile was at the start.
func (s Server) LastLogged(ctx context.Context, text, logFile string) (lines []string, where string, err error) {
	status, err := s.StatusNow()
	if err != nil {
		return nil, "", err
	}
	own, err := s.owner(ctx, status)
	if err != nil {
		return nil, "", err
	}
	log := s.openLog(own, StartOptions{LogFile: logFile})
	path := log.file
	if log.dir != "" {
		path = newestIn(log.dir)
	}
	if path == "" {
		return nil, cmp.Or(log.where, log.dir), nil
	}
	all := strings.Split(strings.TrimRight(readFrom(path, 0), "\n"), "\n")
	for i, line := range slices.Backward(all) {
		if strings.Contains(line, text) {
			return all[i:], path, nil
		}
	}
	return nil, path, nil
}

// newestIn is the file of a directory that was written to last, or empty.
func newestIn(dir string) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	newest, newestTime := "", time.Time{}
	for _, entry := range entries {
		info, err := entry.Info()
		if err == nil && info.Mode().IsRegular() && info.ModTime().After(newestTime) {
			newest, newestTime = filepath.Join(dir, entry.Name()), info.ModTime()
		}
	}
	return newest
}
