package pgctl

import (
	"errors"
	"fmt"
	"strings"
)

// parseLine reads one line of a configuration file by the rules of
// guc-file.l. The name is empty for a line that sets nothing.
func parseLine(line string) (name, value string, err error) {
	rest := strings.TrimLeft(line, blanks)
	if rest == "" || rest[0] == '#' {
		return "", "", nil
	}
	length := nameLength(rest)
	if length == 0 {
		return "", "", fmt.Errorf("no setting begins with %q", firstWord(rest))
	}
	name, rest = strings.ToLower(rest[:length]), strings.TrimLeft(rest[length:], blanks)
	rest = strings.TrimLeft(strings.TrimPrefix(rest, "="), blanks)
	value, rest, err = parseValue(rest)
	if err != nil {
		return "", "", fmt.Errorf("%s: %w", name, err)
	}
	if rest = strings.TrimLeft(rest, blanks); rest != "" && rest[0] != '#' {
		return "", "", fmt.Errorf("%s: unexpected %q after the value", name, firstWord(rest))
	}
	return name, value, nil
}

const blanks = " \t\r\n\f\v"

func firstWord(s string) string {
	if fields := strings.Fields(s); len(fields) > 0 {
		return fields[0]
	}
	return s
}

func isLetter(c byte) bool {
	return c == '_' || c >= 0x80 || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// nameLength is the length of the setting's name at the start of s: an
// identifier, or two or more joined by dots for an extension's setting.
func nameLength(s string) int {
	i := 0
	for {
		start := i
		for i < len(s) && (isLetter(s[i]) || i > start && isDigit(s[i])) {
			i++
		}
		if i == start {
			return 0
		}
		if i >= len(s) || s[i] != '.' {
			return i
		}
		i++
	}
}

// parseValue reads the value at the start of s.
func parseValue(s string) (value, rest string, err error) {
	if s == "" || s[0] == '#' {
		return "", "", errors.New("the value is missing")
	}
	if s[0] == '\'' {
		return parseQuoted(s)
	}
	end := strings.IndexFunc(s, func(r rune) bool {
		return r < 0x80 && !isLetter(byte(r)) && !isDigit(byte(r)) && !strings.ContainsRune("-+._:/", r)
	})
	if end < 0 {
		end = len(s)
	}
	if end == 0 {
		return "", "", fmt.Errorf("%q is no value: put it in single quotes", firstWord(s))
	}
	// A word may hold - . _ : and /, a number a sign and a unit.
	if word := s[:end]; isLetter(word[0]) && strings.ContainsRune(word, '+') || !isLetter(word[0]) && strings.ContainsAny(word, "_:/") {
		return "", "", fmt.Errorf("%q is no value: put it in single quotes", word)
	}
	return s[:end], s[end:], nil
}

// parseQuoted reads a quoted string: a quote is written twice or after a
// backslash, which also begins C's escapes (DeescapeQuotedString in
// guc-file.l).
func parseQuoted(s string) (value, rest string, err error) {
	var b strings.Builder
	for i := 1; i < len(s) && s[i] != '\n'; i++ {
		switch {
		case s[i] == '\'' && i+1 < len(s) && s[i+1] == '\'':
			b.WriteByte('\'')
			i++
		case s[i] == '\'':
			return b.String(), s[i+1:], nil
		case s[i] == '\\' && i+1 < len(s) && s[i+1] != '\n':
			c, used := unescape(s[i+1:])
			b.WriteByte(c)
			i += used
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", errors.New("the closing quote is missing")
}

// unescape reads what stands after a backslash.
func unescape(s string) (c byte, used int) {
	switch s[0] {
	case 'b':
		return '\b', 1
	case 'f':
		return '\f', 1
	case 'n':
		return '\n', 1
	case 'r':
		return '\r', 1
	case 't':
		return '\t', 1
	}
	octal := 0
	for used < 3 && used < len(s) && s[used] >= '0' && s[used] <= '7' {
		octal = octal*8 + int(s[used]-'0')
		used++
	}
	if used > 0 {
		return byte(octal), used
	}
	return s[0], 1
}

// quoteValue writes a value so that every server since 9.1 reads it back:
// quotes and backslashes doubled (escape_single_quotes_ascii in quotes.c).
// A value cannot hold a line break.
func quoteValue(value string) (string, error) {
	if strings.ContainsAny(value, "\n\r\x00") {
		return "", fmt.Errorf("the value %q holds a line break, which a configuration file cannot", value)
	}
	return "'" + strings.NewReplacer("'", "''", `\`, `\\`).Replace(value) + "'", nil
}
