package trust

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Place is where sshd looks for the keys that it lets in for an account.
type Place struct {
	Path string
	// Basis says what that is known from.
	Basis string
	// Doubts are reasons why sshd may look elsewhere.
	Doubts []string
}

// Account is an account as the user database has it.
type Account struct {
	Name, UID, Home string
}

// Find reads AuthorizedKeysFile from sshd_config and what that includes. dir is
// /etc/ssh. Only the part before the first Match is followed, and only as far
// as this user may read it.
func Find(dir string, account Account) Place {
	c := &sshdConfig{dir: dir}
	c.read(filepath.Join(dir, "sshd_config"), 0)
	p := Place{Basis: "AuthorizedKeysFile in " + c.from, Doubts: c.doubts}
	word := c.file
	if word == "" {
		word, p.Basis = ".ssh/authorized_keys", "sshd's default"
	}
	expand := strings.NewReplacer("%%", "%", "%h", account.Home, "%u", account.Name, "%U", account.UID)
	p.Path = expand.Replace(word)
	if !filepath.IsAbs(p.Path) {
		p.Path = filepath.Join(account.Home, p.Path)
	}
	return p
}

// sshdConfig is what matters here of sshd_config. The first value counts.
type sshdConfig struct {
	dir    string
	file   string // the first word of AuthorizedKeysFile
	from   string // the file that says so
	doubts []string
}

// maxIncludes bounds files that include each other.
const maxIncludes = 16

func (c *sshdConfig) read(path string, depth int) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		c.doubt("%v", err)
		return
	}
	defer f.Close() // only read
	matching := false
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		words := strings.Fields(strings.Replace(lines.Text(), "=", " ", 1))
		if len(words) < 2 {
			continue
		}
		value := strings.Trim(words[1], `"`)
		switch key := strings.ToLower(words[0]); {
		case key == "match":
			matching = true
		case matching && (key == "authorizedkeysfile" || key == "authorizedkeyscommand" || key == "include"):
			c.doubt("%s has %s in a Match block, which may concern this account", path, words[0])
		case key == "authorizedkeysfile" && c.file == "":
			c.file, c.from = value, path
		case key == "authorizedkeyscommand" && value != "none":
			c.doubt("%s has an AuthorizedKeysCommand", path)
		case key == "include" && depth < maxIncludes:
			for _, pattern := range words[1:] {
				c.include(strings.Trim(pattern, `"`), depth)
			}
		}
	}
	if err := lines.Err(); err != nil {
		c.doubt("%s: %v", path, err)
	}
}

func (c *sshdConfig) include(pattern string, depth int) {
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(c.dir, pattern)
	}
	paths, err := filepath.Glob(pattern) // sorted, as sshd reads them
	if err != nil {
		c.doubt("Include %s: %v", pattern, err)
	}
	for _, path := range paths {
		c.read(path, depth+1)
	}
}

func (c *sshdConfig) doubt(format string, args ...any) {
	c.doubts = append(c.doubts, fmt.Sprintf(format, args...))
}
