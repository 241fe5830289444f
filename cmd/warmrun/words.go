package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// planWords says in a DBA's words what each change does, for plans. {node} is
// the node it works on, {key} a key of its option table; a part in brackets is
// left out where its option is not set.
func planWords() map[string]string {
	return map[string]string{
		"pg_ctl.start":           "start the server on {node}",
		"pg_ctl.stop":            "stop the server on {node}[: new connections are refused, clients have {drain} to finish, then a fast stop]",
		"pg_ctl.restart":         "restart the server on {node}",
		"pg_ctl.reload":          "reload the configuration of {node}",
		"pg_ctl.promote":         "promote {node}",
		"archive.set_active":     "archiving_active on {node}: {active}",
		"archive.switch":         "end the current WAL segment on {node}",
		"archive.drain":          "wait until {node} has archived everything[, at most {timeout}]",
		"archive.wait":           "wait until the archive on {node} has [segment {segment}][the history of timeline {history}]",
		"archive.pull":           "fetch into the archive on {node} what {from} has",
		"standby.prepare":        "make data directory and archive on {node}, clear pg_wal, remove a trigger",
		"standby.configure":      "write standby.signal and the recovery settings on {node}: it can start only as a standby",
		"standby.trigger":        "write the trigger file on {node}",
		"standby.promote":        "promote {node} and wait until it accepts writes",
		"standby.clear_trigger":  "remove the trigger file on {node}",
		"standby.prove_replay":   "prove that {node} has replayed everything up to {lsn}",
		"standby.follows":        "wait until {node} has replayed {lsn}",
		"standby.flush":          "ship the WAL of {node} through its shutdown checkpoint to {to}, and nothing beyond",
		"standby.salvage":        "ship what {node} had flushed and not archived to {to}",
		"standby.replay_archive": "wait until {node} has replayed its archive",
		"standby.start_primary":  "remove standby.signal on {node} and start it as a primary",
		"standby.bring_back":     "start {node} as a primary again, once it is proved that {partner} was not promoted",
		"copy.push":              "copy {source} on {node} to {to}:{target}",
		"copy.logs":              "save the server log files of {node} on {to}",
		"base.copy":              "take a base copy of {node} onto {to} over {streams} streams",
		"relay.run":              "relay the archive of {node} to {to} and check it for gaps",
		"relay.push":             "relay the archive of {node} to {to}",
		"relay.try":              "relay the archive of {node} to {to} where it can be reached",
		"rivals.fence":           "make every stopped old primary able to start only as a standby",
		"rivals.salvage":         "fetch to {node} what a dead primary had flushed and not archived",
		"rivals.collect":         "fetch to {node} what other archives have and it lacks",
		"fence.raise":            "write the fence into every archive: timeline {timeline} ends at {lsn}",
		"fence.lower":            "take the fence out of every archive",
		"cluster.install_here":   "install this program in the home directory of {node}",
		"cluster.distribute":     "copy this program and global/ to {node}",
	}
}

// describer puts calls of an operation into words; nil where there are none
// for it, and the engine then shows the call itself.
func describer(full string) func(args []any) string {
	template, ok := planWords()[full]
	if !ok {
		return nil
	}
	return func(args []any) string { return describeCall(template, args) }
}

func describeCall(template string, args []any) string {
	values := map[string]string{"node": "this node"}
	if len(args) > 0 {
		values["node"] = fmt.Sprint(args[0])
	}
	if len(args) > 1 {
		addOptions(values, args[len(args)-1])
	}
	var out strings.Builder
	for template != "" {
		before, rest, found := strings.Cut(template, "[")
		out.WriteString(fill(before, values, false))
		if !found {
			break
		}
		optional, after, _ := strings.Cut(rest, "]")
		out.WriteString(fill(optional, values, true))
		template = after
	}
	return out.String()
}

// addOptions takes the options that are set from an option struct.
func addOptions(values map[string]string, options any) {
	raw, err := json.Marshal(options)
	if err != nil {
		return
	}
	var fields map[string]any
	if json.Unmarshal(raw, &fields) != nil {
		return
	}
	for key, value := range fields {
		switch v := value.(type) {
		case string:
			if v != "" && v != "0/0" {
				values[key] = v
			}
		case float64:
			if v != 0 {
				values[key] = durationOr(key, v)
			}
		default:
			values[key] = fmt.Sprint(v)
		}
	}
}

// fill replaces the placeholders; with optional set, text with one that has no
// value is dropped.
func fill(text string, values map[string]string, optional bool) string {
	for {
		start := strings.Index(text, "{")
		end := strings.Index(text, "}")
		if start < 0 || end < start {
			return text
		}
		value, ok := values[text[start+1:end]]
		if !ok && optional {
			return ""
		}
		if !ok {
			value = "(as found then)"
		}
		text = text[:start] + value + text[end+1:]
	}
}

// durationOr prints the options that are durations, which JSON has in
// nanoseconds.
func durationOr(key string, v float64) string {
	switch key {
	case "drain", "timeout":
		return time.Duration(v).String()
	}
	return fmt.Sprint(v)
}
