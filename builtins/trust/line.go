package trust

import (
	"bytes"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// Line lets one key in for one command.
type Line struct {
	// Command is what sshd runs, for the account's shell.
	Command string
	// Public is the key: type and base64.
	Public string
	// Comment tells whose key it is. A line with the same comment and the same
	// command is one of ours, for a key of the same node.
	Comment string
}

// String is the line, without its end.
func (l Line) String() string {
	return "restrict," + l.command() + " " + l.Public + " " + l.Comment
}

// command is the option; inside it only the quote is escaped (opt_dequote in
// OpenSSH's misc.c).
func (l Line) command() string {
	return `command="` + strings.ReplaceAll(l.Command, `"`, `\"`) + `"`
}

// entry is a line that was read.
type entry struct {
	public  string
	comment string
	options []string
}

// read takes a line apart. Comments, empty lines and what sshd would not
// understand either are no entries.
func read(line []byte) (entry, bool) {
	key, comment, options, _, err := ssh.ParseAuthorizedKey(line)
	if err != nil {
		return entry{}, false
	}
	return entry{strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))), comment, options}, true
}

// lets reports whether an entry lets the key in for the command and nothing
// else. An administrator may have narrowed it further.
func (l Line) lets(e entry) bool {
	if e.public != l.Public || !slices.Contains(e.options, "restrict") || !slices.Contains(e.options, l.command()) {
		return false
	}
	for _, option := range e.options {
		name, _, _ := strings.Cut(option, "=")
		switch name {
		case "restrict", "command", "from", "expiry-time":
		default:
			return false
		}
	}
	return true
}

// In reports whether a file of authorized keys lets the key in as it should.
// sshd takes the first line that has the key, so that one counts.
func (l Line) In(file []byte) bool {
	for line := range bytes.Lines(file) {
		if e, ok := read(line); ok && e.public == l.Public {
			return l.lets(e)
		}
	}
	return false
}

// Add puts the line into a file, in the place of other lines for this key.
func (l Line) Add(file []byte) []byte {
	var out []byte
	placed := false
	for line := range bytes.Lines(file) {
		e, ok := read(line)
		switch {
		case !ok || e.public != l.Public:
			out = append(out, line...)
		case !placed && l.lets(e):
			out, placed = append(out, line...), true
		case !placed:
			out, placed = append(out, l.String()+"\n"...), true
		}
	}
	if placed {
		return out
	}
	if len(out) > 0 && !bytes.HasSuffix(out, []byte("\n")) {
		out = append(out, '\n')
	}
	return append(out, l.String()+"\n"...)
}

// Remove takes away this key's lines.
func (l Line) Remove(file []byte) []byte {
	return without(file, func(e entry) bool { return e.public == l.Public })
}

// RemoveOthers takes away the lines for other keys of the same node: those
// that this one has replaced.
func (l Line) RemoveOthers(file []byte) []byte {
	return without(file, func(e entry) bool {
		return e.public != l.Public && e.comment == l.Comment && slices.Contains(e.options, l.command())
	})
}

func without(file []byte, gone func(entry) bool) []byte {
	var out []byte
	for line := range bytes.Lines(file) {
		if e, ok := read(line); !ok || !gone(e) {
			out = append(out, line...)
		}
	}
	return out
}
