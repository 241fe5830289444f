package pgctl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/warmrun/warmrun/walcore/hint"
)

// Setting is one line of a configuration file.
type Setting struct {
	Name  string `json:"name"`  // in lower case: PostgreSQL ignores case here
	Value string `json:"value"` // unquoted
	File  string `json:"file"`
	Line  int    `json:"line"`
}

// Conf is a configuration file with everything that it includes, in the order
// in which the server reads it. The last line of a name wins.
type Conf []Setting

// Get is the value that counts for a name.
func (c Conf) Get(name string) (string, bool) {
	for _, s := range slices.Backward(c) {
		if s.Name == strings.ToLower(name) {
			return s.Value, true
		}
	}
	return "", false
}

// Bool is Get for a setting that is on or off; what cannot be read as either
// is fallback.
func (c Conf) Bool(name string, fallback bool) bool {
	value, ok := c.Get(name)
	if !ok {
		return fallback
	}
	switch value = strings.ToLower(value); {
	case value == "1" || value == "on" || value != "" && (strings.HasPrefix("true", value) || strings.HasPrefix("yes", value)):
		return true
	case value == "0" || value != "" && (strings.HasPrefix("false", value) || strings.HasPrefix("no", value)) || value == "of" || value == "off":
		return false
	}
	return fallback
}

// maxDepth is how deep files may include each other (CONF_FILE_MAX_DEPTH in
// guc.h).
const maxDepth = 10

// ReadConf reads postgresql.conf, recovery.conf or a file like them, following
// include, include_if_exists and include_dir as the server does. Errors name
// file and line.
func ReadConf(path string) (Conf, error) { return readConf(path, 0) }

func readConf(path string, depth int) (Conf, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("%s: files include each other more than %d deep", path, maxDepth)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	own, err := ParseConf(path, string(text))
	if err != nil {
		return nil, err
	}
	var all Conf
	for _, s := range own {
		included, err := include(s, depth)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %s %q: %w", s.File, s.Line, s.Name, s.Value, err)
		}
		if included == nil {
			all = append(all, s)
		}
		all = append(all, included...)
	}
	return all, nil
}

// include reads what a line includes; it is nil for a line that includes
// nothing because it is an ordinary setting.
func include(s Setting, depth int) (Conf, error) {
	target := s.Value
	if !filepath.IsAbs(target) {
		target = filepath.Join(filepath.Dir(s.File), target)
	}
	switch s.Name {
	case "include", "include_if_exists":
		conf, err := readConf(target, depth+1)
		if s.Name == "include_if_exists" && errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return append(Conf{}, conf...), err
	case "include_dir":
		return includeDir(target, depth)
	}
	return nil, nil
}

// includeDir reads the .conf files of a directory by name, hidden ones left
// out (GetConfFilesInDir in conffiles.c).
func includeDir(dir string, depth int) (Conf, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	all := Conf{}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".") || !strings.HasSuffix(entry.Name(), ".conf") {
			continue
		}
		path := filepath.Join(dir, entry.Name())
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			continue
		}
		conf, err := readConf(path, depth+1)
		if err != nil {
			return nil, err
		}
		all = append(all, conf...)
	}
	return all, nil
}

// ParseConf reads the text of one configuration file and follows no includes.
// file is for messages and for Setting.File.
func ParseConf(file, text string) (Conf, error) {
	var conf Conf
	number := 0
	for line := range strings.Lines(text) {
		number++
		name, value, err := parseLine(line)
		if err != nil {
			return nil, hint.Wrap(fmt.Errorf("%s:%d: %w", file, number, err), "a line is NAME = VALUE, the value in single quotes unless it is a plain word or number")
		}
		if name != "" {
			conf = append(conf, Setting{Name: name, Value: value, File: file, Line: number})
		}
	}
	return conf, nil
}
