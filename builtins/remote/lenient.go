package remote

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
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
		if err := os.WriteFile(name, readableLines(data), 0o600); err != nil {
			return nil, dir, err
		}
		copies = append(copies, name)
	}
	db, err = knownhosts.NewDB(copies...)
	return db, dir, err
}

// readableLines turns each line that is no host key into a comment.
func readableLines(data []byte) []byte {
	var out bytes.Buffer
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		_, hosts, _, _, _, err := ssh.ParseKnownHosts([]byte(line))
		if err != nil || len(hosts) == 0 || len(line) > 32<<10 {
			line = "#"
		}
		out.WriteString(line + "\n")
	}
	return out.Bytes()
}
