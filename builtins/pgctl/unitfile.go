package pgctl

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// unitDirs are where unit files lie, the one that counts first (the load path
// in systemd.unit(5)).
var unitDirs = [...]string{"etc/systemd/system", "run/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"}

// unitFor is the service unit that would start a server on pgdata, or empty.
func (m machine) unitFor(pgdata string, cluster debianCluster) (string, error) {
	if cluster != (debianCluster{}) {
		if m.unitFile("postgresql@.service") == "" {
			return "", nil
		}
		return "postgresql@" + cluster.version + "-" + cluster.name + ".service", nil
	}
	units, err := m.serviceUnits()
	if err != nil {
		return "", err
	}
	for _, unit := range units {
		text, err := m.unitText(unit)
		if err != nil {
			return "", err
		}
		if sameDir(m.servedBy(unit, text), pgdata) {
			return unit, nil
		}
	}
	return "", nil
}

// serviceUnits names every service unit, and the instances of templates that
// someone enabled or gave settings of their own.
func (m machine) serviceUnits() ([]string, error) {
	var units []string
	for _, dir := range unitDirs {
		entries, err := os.ReadDir(m.at(dir))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			name := entry.Name()
			switch {
			case strings.HasSuffix(name, ".wants"), strings.HasSuffix(name, ".requires"):
				enabled, err := os.ReadDir(m.at(dir, name))
				if err != nil {
					return nil, err
				}
				for _, link := range enabled {
					units = append(units, link.Name())
				}
			default:
				units = append(units, strings.TrimSuffix(name, ".d"))
			}
		}
	}
	units = slices.DeleteFunc(units, func(name string) bool {
		return !strings.HasSuffix(name, ".service") || strings.HasSuffix(name, "@.service")
	})
	slices.Sort(units)
	return slices.Compact(units), nil
}

// unitFile is the file of a unit, or empty. A link to /dev/null masks the unit.
func (m machine) unitFile(name string) string {
	for _, dir := range unitDirs {
		path := m.at(dir, name)
		if _, err := os.Lstat(path); err != nil {
			continue
		}
		if target, err := os.Readlink(path); err == nil && target == "/dev/null" {
			return ""
		}
		return path
	}
	return ""
}

// unitText is a unit's file followed by what is added to it in NAME.d; for an
// instance of a template also the template's. A unit without a file is empty.
func (m machine) unitText(unit string) (string, error) {
	names := []string{unit}
	if prefix, _, ok := strings.Cut(unit, "@"); ok {
		names = append(names, prefix+"@.service")
	}
	var text string
	for _, name := range names {
		if path := m.unitFile(name); path != "" {
			data, err := os.ReadFile(path)
			if err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, fs.ErrNotExist) {
				return "", err
			}
			text = string(data)
			break
		}
	}
	if text == "" {
		return "", nil
	}
	var added []string
	for _, dir := range unitDirs {
		for _, name := range names {
			// The only error of Glob is a bad pattern; a name with brackets
			// adds nothing.
			files, _ := filepath.Glob(m.at(dir, name+".d", "*.conf"))
			added = append(added, files...)
		}
	}
	slices.SortFunc(added, func(a, b string) int { return strings.Compare(filepath.Base(a), filepath.Base(b)) })
	for _, path := range added {
		data, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		text += "\n" + string(data)
	}
	return text, nil
}

// servedBy is the data directory of the server that a unit starts, or empty
// for a unit that starts no server.
func (m machine) servedBy(unit, text string) string {
	instance := ""
	if _, after, ok := strings.Cut(unit, "@"); ok {
		instance = strings.TrimSuffix(after, ".service")
	}
	text = strings.ReplaceAll(text, "\\\n", " ")
	text = strings.NewReplacer("%i", instance, "%I", strings.ReplaceAll(instance, "-", "/"), "%%", "%").Replace(text)
	env := map[string]string{}
	var start []string
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "Environment":
			assign(env, unitWords(value))
		case "EnvironmentFile":
			m.readEnvironment(env, strings.TrimPrefix(value, "-"))
		case "ExecStart":
			start = unitWords(value)
		}
	}
	if !startsServer(start) {
		return ""
	}
	for i, word := range start {
		switch {
		case word == "-D" && i+1 < len(start):
			return expand(start[i+1], env)
		case strings.HasPrefix(word, "-D") && len(word) > 2:
			return expand(word[2:], env)
		case strings.HasPrefix(word, "--pgdata="):
			return expand(strings.TrimPrefix(word, "--pgdata="), env)
		}
	}
	return env["PGDATA"]
}

// startsServer reports whether a command line is one that starts PostgreSQL.
// postgresql-script is SUSE's.
func startsServer(words []string) bool {
	for _, word := range words {
		switch filepath.Base(strings.TrimLeft(word, "@-:+!")) {
		case "postgres", "postmaster", "pg_ctl", "postgresql-script":
			return true
		}
	}
	return false
}

func expand(word string, env map[string]string) string {
	return os.Expand(word, func(name string) string { return env[name] })
}

func assign(env map[string]string, words []string) {
	for _, word := range words {
		if name, value, ok := strings.Cut(word, "="); ok {
			env[name] = value
		}
	}
}

// readEnvironment reads an EnvironmentFile; one that is missing or closed to
// us sets nothing.
func (m machine) readEnvironment(env map[string]string, path string) {
	data, err := os.ReadFile(m.at(path))
	if err != nil {
		return
	}
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' && line[0] != ';' {
			name, value, ok := strings.Cut(line, "=")
			if ok {
				env[name] = strings.Trim(value, `"'`)
			}
		}
	}
}

// unitWords splits a value into words; quotes of both kinds keep blanks.
func unitWords(value string) []string {
	var words []string
	var word strings.Builder
	quote, inWord := rune(0), false
	for _, r := range value {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '"' || r == '\'':
			quote, inWord = r, true
		case r == ' ' || r == '\t':
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if inWord {
		words = append(words, word.String())
	}
	return words
}
