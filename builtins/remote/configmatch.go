package remote

import (
	"context"
	"fmt"
	"os/exec"
	"strings"

	"github.com/kevinburke/ssh_config"
)

// match evaluates the criteria of a Match line: all of them must hold. One
// that is not known here does not hold, and the user is told.
func (l *lookup) match(ctx context.Context, value, where string) bool {
	words := splitWords(value)
	matched := len(words) > 0
	for len(words) > 0 {
		name, argument, hasArgument := strings.Cut(words[0], "=")
		words = words[1:]
		name, negated := strings.CutPrefix(strings.ToLower(name), "!")
		if takesArgument(name) && !hasArgument {
			if len(words) == 0 {
				l.options.Warn(fmt.Sprintf("%s: Match %s lacks an argument, the block is left out", where, name))
				return false
			}
			argument, words = words[0], words[1:]
		}
		holds, known := l.criterion(ctx, name, argument, matched)
		if !known {
			l.options.Warn(fmt.Sprintf("%s: Match %s is not supported here, the block is left out", where, name))
			return false
		}
		matched = matched && holds != negated
	}
	return matched
}

func takesArgument(criterion string) bool {
	switch criterion {
	case "all", "final", "canonical":
		return false
	}
	return true
}

// criterion evaluates one of them. A command is run only where everything
// before it holds, as ssh does.
func (l *lookup) criterion(ctx context.Context, name, argument string, sofar bool) (holds, known bool) {
	switch name {
	case "all":
		return true, true
	case "final":
		l.wantFinal = true
		return l.final, true
	case "canonical":
		return false, true
	case "host":
		return matchList(argument, l.hostName()), true
	case "originalhost":
		return matchList(argument, l.alias), true
	case "user":
		return matchList(argument, l.remoteUser()), true
	case "localuser":
		return matchList(argument, l.local), true
	case "exec":
		if !sofar {
			return false, true
		}
		command := exec.CommandContext(ctx, "/bin/sh", "-c", l.tokens("").expand(argument))
		return command.Run() == nil, true
	}
	return false, false
}

// remoteUser is who to log in as, as far as is known by now.
func (l *lookup) remoteUser() string {
	switch {
	case l.user != "":
		return l.user
	case l.get("user") != "":
		return l.get("user")
	}
	return l.local
}

// matchList matches a list of patterns, separated by commas.
func matchList(list, s string) bool {
	var host ssh_config.Host
	for _, text := range strings.Split(strings.ToLower(list), ",") {
		if pattern, err := ssh_config.NewPattern(text); err == nil {
			host.Patterns = append(host.Patterns, pattern)
		}
	}
	return host.Matches(strings.ToLower(s))
}
