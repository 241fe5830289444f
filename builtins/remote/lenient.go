package remote

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/skeema/knownhosts"
)

// lenientDB reads known_hosts files of which a line cannot be read. The
// library gives up on the whole file then; ssh passes over a line that is
// damaged or has a key of a type it does not know. So the library is shown
// copies in which such lines are comments, and every other line keeps its
// number. The copy of a file has dir in front of its path.
func lenientDB(files []string) (db *knownhosts.HostKeyDB, dir string, err error) {
	dir, err = os.MkdirTemp("", "warmrun-known-hosts")
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var copies []string
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, dir, err
		}
		name := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return nil, dir, err
		}
		readable, err := readableLines(data, filepath.Join(dir, "line"))
		if err == nil {
			err = os.WriteFile(name, readable, 0o600)
		}
		if err != nil {
			return nil, dir, err
		}
		copies = append(copies, name)
	}
	db, err = knownhosts.NewDB(copies...)
	return db, dir, err
}

// readableLines turns each line that the library cannot read into a comment.
// The library reads only files, so each is tried in one of its own.
func readableLines(data []byte, try string) ([]byte, error) {
	var out bytes.Buffer
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line) + "\n"
		if err := os.WriteFile(try, []byte(line), 0o600); err != nil {
			return nil, err
		}
		if _, err := knownhosts.NewDB(try); err != nil {
			line = "#\n"
		}
		out.WriteString(line)
	}
	return out.Bytes(), nil
}
