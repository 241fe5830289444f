package pgctl

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/warmrun/warmrun/walcore/hint"
)

// placeholder is {name} in a template's value. {{ stands for a brace.
var placeholder = lazyRegexp(`\{\{|\$?\{[a-z_]+\}`)

// ParseRecoveryTemplate reads a site's global/recovery.conf, whose lines have
// recovery.conf's form:
//
//	restore_command = '{warmrun} restore %f %p %r'
//
// {name} stands for a value of vars; {{ stands for a brace, and ${name} is left
// to the shell. standby_mode is understood and left out: it follows from the
// purpose. Errors name the line.
func ParseRecoveryTemplate(text string, vars map[string]string) (RecoverySettings, error) {
	var r RecoverySettings
	conf, err := ParseConf("recovery.conf", text)
	if err != nil {
		return r, err
	}
	for _, s := range conf {
		if err := r.take(s, vars); err != nil {
			return RecoverySettings{}, fmt.Errorf("%s:%d: %s: %w", s.File, s.Line, s.Name, err)
		}
	}
	if r.RestoreCommand == "" {
		return RecoverySettings{}, hint.Wrap(errors.New("recovery.conf: no restore_command"), "a warm standby needs one, such as: restore_command = '{warmrun} restore %%f %%p %%r'")
	}
	return r, nil
}

// take puts one line of a template into its place.
func (r *RecoverySettings) take(s Setting, vars map[string]string) error {
	value, err := fillIn(s.Value, vars)
	if err != nil {
		return err
	}
	switch s.Name {
	case "include", "include_if_exists", "include_dir":
		return errors.New("a template includes no other files")
	case "standby_mode":
		if on := (Conf{s}).Bool("standby_mode", false); !on {
			return hint.Wrap(fmt.Errorf("it is %q, but the template is for standbys", s.Value), "leave the line out")
		}
	case "restore_command":
		r.RestoreCommand = value
	case "recovery_target_timeline":
		r.TargetTimeline = value
	case "primary_conninfo":
		r.PrimaryConninfo = value
	case "trigger_file", "promote_trigger_file":
		r.TriggerFile = value
	case "recovery_end_command":
		r.RecoveryEndCommand = value
	default:
		if slices.Contains(targets[:], s.Name) {
			return hint.Wrap(errors.New("a standby has no recovery target"), "leave the line out")
		}
		if r.Extra == nil {
			r.Extra = map[string]string{}
		}
		r.Extra[s.Name] = value
	}
	return nil
}

// fillIn replaces the placeholders of a value.
func fillIn(value string, vars map[string]string) (string, error) {
	var unknown string
	filled := placeholder().ReplaceAllStringFunc(value, func(match string) string {
		if match == "{{" {
			return "{"
		}
		if match[0] == '$' {
			return match
		}
		name := match[1 : len(match)-1]
		v, ok := vars[name]
		if !ok && unknown == "" {
			unknown = match
		}
		return v
	})
	if unknown == "" {
		return filled, nil
	}
	names := slices.Sorted(maps.Keys(vars))
	for i, name := range names {
		names[i] = "{" + name + "}"
	}
	return "", hint.Wrap(fmt.Errorf("unknown placeholder %s", unknown), "the placeholders are %s; write {{ for a brace", strings.Join(names, ", "))
}
