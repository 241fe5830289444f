package remote

import "strings"

// Quote makes one line of a POSIX shell out of the arguments: the shell sees
// each of them exactly as given.
func Quote(args ...string) string {
	quoted := make([]string, len(args))
	for i, arg := range args {
		quoted[i] = quoteOne(arg)
	}
	return strings.Join(quoted, " ")
}

const plainCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:,+@%"

func quoteOne(arg string) string {
	// The = is not plain: in the first word it would make an assignment.
	if arg != "" && strings.Trim(arg, plainCharacters) == "" {
		return arg
	}
	return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
}
