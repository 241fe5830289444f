package remote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/kevinburke/ssh_config"

	"github.com/warmrun/warmrun/walcore/hint"
)

// The parser knows only some criteria of Match and reads Include relative to
// the account's home, whatever HOME says; RHEL's own ssh_config has a
// "Match final" that it would refuse. So both words are renamed before it sees
// them, and are evaluated here, in the order of the file as ssh does.
const (
	matchWord   = "warmrun-match"
	includeWord = "warmrun-include"
)

// maxIncludes is how deep Include may nest (READCONF_MAX_DEPTH in OpenSSH's
// readconf.c).
const maxIncludes = 16

// setting is a value of ssh_config and the place it was read from.
type setting struct{ value, where string }

// lookup reads the configuration for one host. The first value of a keyword
// counts; only a few, such as IdentityFile, gather all of them.
type lookup struct {
	options Options
	alias   string // the host as it was asked for
	user    string // the user that was asked for, or empty
	local   string // who we are here
	final   bool   // second pass, in which "Match final" matches
	// wantFinal says that a second pass was asked for.
	wantFinal bool
	values    map[string][]setting
}

// load reads the user's and then the system's ssh_config. A missing file is an
// empty one.
func (l *lookup) load(ctx context.Context) error {
	l.values = map[string][]setting{}
	for {
		host := l.alias
		if l.final {
			host = l.hostName()
		}
		for _, path := range []string{filepath.Join(l.options.HomeDir, ".ssh", "config"), filepath.Join(l.options.SystemDir, "ssh_config")} {
			err := l.file(ctx, path, host, 0)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		if l.final || !l.wantFinal {
			return nil
		}
		l.final = true
	}
}

// file applies one file, whose enclosing blocks all match.
func (l *lookup) file(ctx context.Context, path, host string, depth int) error {
	if depth > maxIncludes {
		return hint.Wrap(fmt.Errorf("%s: Include goes deeper than %d files", path, maxIncludes), "a file probably includes itself")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	parsed, err := parseConfig(data)
	if err != nil {
		return hint.Wrap(fmt.Errorf("%s: %w", path, err), "`ssh -G %s` shows how ssh itself reads the configuration", l.alias)
	}
	for _, block := range parsed.Hosts {
		active := block.Matches(host)
		for _, node := range block.Nodes {
			kv, ok := node.(*ssh_config.KV)
			if !ok {
				continue
			}
			where := fmt.Sprintf("%s:%d", path, kv.Pos().Line)
			switch key := strings.ToLower(kv.Key); {
			case key == matchWord:
				// A Match ends the block before it, so it counts whether or
				// not that block is active.
				active = l.match(ctx, kv.Value, where)
			case !active:
			case key == includeWord:
				if err := l.include(ctx, kv.Value, path, host, depth); err != nil {
					return err
				}
			default:
				l.set(key, setting{kv.Value, where})
			}
		}
	}
	return nil
}

// include applies the files that an Include names: relative ones lie in
// ~/.ssh, or in /etc/ssh for the system's configuration.
func (l *lookup) include(ctx context.Context, value, from, host string, depth int) error {
	dir := filepath.Join(l.options.HomeDir, ".ssh")
	if strings.HasPrefix(from, l.options.SystemDir+"/") {
		dir = l.options.SystemDir
	}
	for _, pattern := range splitWords(value) {
		pattern = l.options.tilde(pattern)
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(dir, pattern)
		}
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return fmt.Errorf("%s: Include %s: %w", from, pattern, err)
		}
		for _, path := range paths {
			if err := l.file(ctx, path, host, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// set keeps a value, unless the keyword has one and takes only one.
func (l *lookup) set(key string, s setting) {
	switch key {
	case "identityfile", "certificatefile":
		for _, have := range l.values[key] {
			if have.value == s.value {
				return // the second pass meets it again
			}
		}
		l.values[key] = append(l.values[key], s)
		return
	case "proxyjump", "proxycommand":
		// Whichever of the two comes first switches the other off.
		if len(l.values["proxyjump"])+len(l.values["proxycommand"]) > 0 {
			return
		}
	}
	if len(l.values[key]) == 0 {
		l.values[key] = []setting{s}
	}
}

// get is the value of a keyword, given in lower case. It is empty where the
// files do not set it.
func (l *lookup) get(key string) string {
	if all := l.values[key]; len(all) > 0 {
		return all[0].value
	}
	return ""
}

// where is the place that set the keyword.
func (l *lookup) where(key string) string {
	if all := l.values[key]; len(all) > 0 {
		return all[0].where
	}
	return ""
}

// hostName is the host to connect to: HostName, in which %h is what was asked
// for.
func (l *lookup) hostName() string {
	name := l.get("hostname")
	if name == "" {
		return l.alias
	}
	return strings.NewReplacer("%%", "%", "%h", l.alias).Replace(name)
}

// parseConfig renames the words that are ours and parses the rest. Every line
// stays where it is, for the places in messages.
func parseConfig(data []byte) (config *ssh_config.Config, err error) {
	defer func() {
		// The parser takes for granted that every keyword has a value.
		if r := recover(); r != nil {
			err = fmt.Errorf("cannot be parsed: %v", r)
		}
	}()
	var out strings.Builder
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		word, rest := splitKeyword(line)
		switch strings.ToLower(word) {
		case "match":
			line = matchWord + " " + rest
		case "include":
			line = includeWord + " " + rest
		case "host":
			// The parser splits patterns at blanks only.
			line = "Host " + strings.NewReplacer("\t", " ", `"`, "").Replace(rest)
		}
		out.WriteString(line + "\n")
	}
	return ssh_config.DecodeBytes([]byte(out.String()))
}

// splitKeyword takes a line apart at the first blank or equals sign.
func splitKeyword(line string) (word, rest string) {
	end := strings.IndexAny(line, " \t=")
	if end < 0 {
		return line, ""
	}
	rest = strings.TrimLeft(line[end:], " \t")
	rest = strings.TrimPrefix(rest, "=")
	return line[:end], strings.TrimLeft(rest, " \t")
}

// splitWords takes a value apart at blanks, outside of double quotes.
func splitWords(value string) []string {
	var words []string
	var word strings.Builder
	quoted, begun := false, false
	for _, c := range value {
		switch {
		case c == '"':
			quoted, begun = !quoted, true
		case !quoted && (c == ' ' || c == '\t'):
			if begun {
				words = append(words, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteRune(c)
			begun = true
		}
	}
	if begun {
		words = append(words, word.String())
	}
	return words
}
