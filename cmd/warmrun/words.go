package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/warmrun/warmrun/engine"
)

// planWords says in a DBA's words what each change does, for plans. {node} is
// the node it works on, {2} the second argument, {key} a key of its option
// table. {key|words} are the words for what is not known yet, {key?yes:no} is
// for true and false; a part in brackets is left out where its option is not
// set.
func planWords() map[string]string {
	return map[string]string{
		"pg_ctl.start":           "start the server on {node}",
		"pg_ctl.stop":            "stop the server on {node}[: no new connections, clients have {drain} to finish, then a fast stop]",
		"pg_ctl.restart":         "restart the server on {node}",
		"pg_ctl.reload":          "reload the configuration of {node}",
		"pg_ctl.promote":         "promote {node}",
		"psql.exec":              "run on {node}: {2}",
		"ssh.run":                "run on {node} in a shell: {2}",
		"shell.run":              "run on {node} in a shell: {2}",
		"http.post":              "post to a URL that is kept secret",
		"cron.set":               "put into the crontab on {node}, as {name}: {line|(no line)}",
		"archive.set_active":     "{active?activate:deactivate} archiving on {node}",
		"archive.switch":         "end the current WAL segment on {node}",
		"archive.drain":          "wait until {node} has archived everything[, at most {timeout}]",
		"archive.wait":           "wait until the archive on {node} has [every segment from {from|(the first one of the step before)} through ][segment {segment|(the last one of the step before)}][the history of timeline {history|(the new one)}]",
		"archive.pull":           "fetch into the archive on {node} what {from} has",
		"standby.prepare":        "make data directory and archive on {node}, clear pg_wal, remove a trigger",
		"standby.configure":      "write standby.signal and the recovery settings on {node}: it can start only as a standby",
		"standby.trigger":        "write the trigger file on {node}",
		"standby.promote":        "promote {node} and wait until it accepts writes",
		"standby.clear_trigger":  "remove the trigger file on {node}",
		"standby.opened":         "see that {node} accepts writes, and on which timeline",
		"standby.shutdown_point": "read where the WAL of {node} ends: its shutdown checkpoint",
		"standby.prove_replay":   "prove that {node} has replayed everything up to {lsn|that end}",
		"standby.replayed":       "see how far {node} has replayed",
		"standby.forked":         "see where the new timeline of {node} left the old one",
		"standby.follows":        "wait until {node} has replayed up to {lsn|there}",
		"standby.flush":          "ship the WAL of {node} through its shutdown checkpoint to {to}, and nothing beyond",
		"standby.ready_to_flush": "open the connection from {node} to {to} that the last WAL goes over",
		"runs.certify":           "write the certificate of this run: LSNs, hashes, times, and how long nobody could write",
		"standby.hash_end":       "read the last segment up to {end_lsn|its end} on {node}",
		"standby.moments":        "read when the server on {node} was stopped and promoted",
		"standby.keep_wal":       "copy WAL that only {node} has to local/kept there",
		"standby.clear_wal":      "take segments that are not on the primary's history out of pg_wal on {node}; WAL in them goes to local/kept first",
		"standby.rewind":         "run pg_rewind on {node}, from {primary}",
		"standby.slot":           "{drop?drop:make} the replication slot of {standby} on {node}, where the site has slots",
		"standby.salvage":        "ship what {node} had flushed and not archived to {to}",
		"standby.recovery_end":   "see where a promotion would open {node}",
		"standby.replay_archive": "wait until {node} has replayed its archive",
		"standby.start_primary":  "remove standby.signal on {node} and start it as a primary",
		"standby.bring_back":     "start {node} as a primary again, once it is proved that {partner} was not promoted",
		"copy.push":              "copy {source} on {node} to {to}:{target}",
		"copy.pull":              "copy {source} on {from} to {target} on {node}",
		"copy.logs":              "save the server log files of {node} on {to}",
		"copy.base":              "take a base copy of {node} onto {to}[ over {streams} streams]",
		"copy.verify":            "compare the copy on {node} with its backup manifest",
		"backup.sweep":           "remove base copies on {node} that were not completed",
		"backup.begin":           "begin a base copy of {source} on {node}, and keep the WAL that it will need",
		"backup.take":            "take a base copy of {node} that {to} keeps[ over {streams} streams]",
		"backup.complete":        "see that the archive on {node} has all WAL that the base copy needs, and note that it is complete",
		"backup.verify":          "compare the base copy {id|(just made)} on {node} with its backup manifest",
		"backup.discard":         "remove the base copy {id|(just begun)} on {node}",
		"backup.expire":          "remove base copies on {node} that are not to be kept any longer",
		"scratch.make":           "copy a base copy on {node}[ to {dir}] and configure a server that keeps to itself",
		"scratch.start":          "start that server on {node} and wait until its recovery has come to its end",
		"scratch.stay":           "note that the server on {node} is there to be used",
		"scratch.query":          "run on that server on {node}: {sql}",
		"scratch.psql":           "open psql on that server on {node}, and wait until it is left",
		"scratch.remove":         "stop that server on {node} and remove all of it",
		"scratch.sweep":          "remove what is left on {node} of a {kind} that was killed",
		"scratch.examine":        "run pg_amcheck and the queries in global/drill on that server on {node}",
		"drill.note":             "note on {node} how the drill went",
		"relay.run":              "relay the archive of {node} to {to} and check it for gaps",
		"relay.push":             "relay the archive of {node} to {to}",
		"relay.try":              "relay the archive of {node} to {to}, if it can be reached",
		"trust.add":              "let the key of {comment} ship WAL to {node}",
		"trust.remove":           "no longer let in the key of {comment} on {node}",
		"trust.remove_others":    "no longer let in the keys of {comment} on {node} that were replaced",
		"rivals.fence":           "see that a stopped old primary can start only as a standby, and have the site's fencing hook switch off what cannot be asked",
		"rivals.salvage":         "fetch to {node} what a dead primary had flushed and not archived",
		"rivals.collect":         "fetch to {node} what other archives have and it lacks",
		"fence.raise":            "write the fence into every archive: timeline {timeline|(the old one)} ends at {lsn|the LSN found then}",
		"fence.enclose":          "write the fence into every archive, behind all WAL that they have",
		"fence.lift":             "take down a fence on the timeline of {node}, once it is proved on all nodes that nobody was promoted",
		"fence.lower":            "take the fence out of every archive",
		"fence.take_back":        "take the fences on the timeline of {node} out of every archive",
		"fence.set":              "write the fence into the archive on {node}: timeline {timeline|(the old one)} ends at {lsn|the LSN found then}",
		"fence.clear":            "take the fence out of the archive on {node}",
		"cluster.install_here":   "install this program in the home directory of {node}",
		"cluster.distribute":     "copy this program and global/ to {node}",
		"cluster.adopt":          "take the files that distrib has brought into use on {node}",
	}
}

// describer puts calls of an operation into words; nil where there are none
// for it, and the engine then shows the call itself.
func describer(full string) func(args []any) string {
	template, ok := templates()[full]
	if !ok {
		return nil
	}
	return func(args []any) string { return describeCall(template, args) }
}

// templates are the planWords, made once: every runbook that is loaded asks for
// all of them.
var templates = sync.OnceValue(planWords)

// notKnown stands for a value that a plan cannot know.
const notKnown = "\x00"

func describeCall(template string, args []any) string {
	values := map[string]string{"node": "this node"}
	if len(args) > 0 {
		values["node"] = wordFor(args[0])
	}
	if len(args) > 1 {
		values["2"] = wordFor(args[1])
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

// wordFor is an argument that is no option table, on one line.
func wordFor(arg any) string {
	if _, depends := arg.(engine.Unknown); depends {
		return notKnown
	}
	return strings.Join(strings.Fields(fmt.Sprint(arg)), " ")
}

// addOptions takes the options that are set: those of an option struct, or of
// a map where a plan does not know all of them.
func addOptions(values map[string]string, options any) {
	if known, ok := options.(map[string]any); ok {
		plain := map[string]any{}
		for key, value := range known {
			if _, depends := value.(engine.Unknown); depends {
				values[key] = notKnown
				continue
			}
			plain[key] = value
		}
		options = plain
	}
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
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(text, "{")
		key, after, closed := strings.Cut(rest, "}")
		if !found || !closed {
			out.WriteString(text)
			return out.String()
		}
		key, otherwise, _ := strings.Cut(key, "|")
		key, choice, isChoice := strings.Cut(key, "?")
		value, ok := values[key]
		switch yes, no, _ := strings.Cut(choice, ":"); {
		case isChoice && value == "true":
			value = yes
		case isChoice:
			value = no
		case !ok && optional:
			return ""
		case ok && value != notKnown:
		case otherwise != "":
			value = otherwise
		default:
			value = "(as found then)"
		}
		out.WriteString(before + value)
		text = after
	}
}

// durationOr prints the options that are durations, which JSON has in
// nanoseconds, as they are written: "60s" and "10m", not "10m0s".
func durationOr(key string, v float64) string {
	switch key {
	case "drain", "timeout":
		text := time.Duration(v).String()
		if strings.HasSuffix(text, "m0s") {
			text = strings.TrimSuffix(text, "0s")
		}
		if strings.HasSuffix(text, "h0m") {
			text = strings.TrimSuffix(text, "0m")
		}
		return text
	}
	return fmt.Sprint(v)
}
