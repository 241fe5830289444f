package rehearsal

import "strings"

// scenario is the cluster that a runbook needs, and where it is typed.
type scenario struct {
	cluster stage
	// prepare comes once, before; the cluster is kept as it is behind it.
	prepare []act
	// before comes in every row, when clients write already.
	before []act
	// driver is the node that the runbook is run on.
	driver string
	// args are given where the operator has not given the same flags. In them {dir}
	// is the driver's directory, and {answer} what the last question in prepare gave.
	args []string
	// after comes in every row when the nodes have been judged, so that their rows
	// can be: what the runbook has stopped goes on.
	after []act
}

// stage is how far a cluster has been set up.
type stage int

// The stages; each has what the one before it has.
const (
	alone      stage = iota // db1 is a primary that nobody else knows of
	installed               // the program and the site's files are on all nodes
	configured              // db2 expects a base copy
	pair                    // db2 is a standby
	full                    // dr is one, too
)

// steps are what leads to each stage from the one before it.
var steps = map[stage][]act{
	installed:  {{node: "db1", line: "distrib"}},
	configured: {{node: "db2", line: "configStandby"}},
	pair:       {{node: "db1", line: "copyToStandby --start"}},
	full:       {{node: "dr", line: "configStandby"}, {node: "db1", line: "copyToDR --start"}, {node: "db2", line: "rsyncDR"}},
}

// act is one thing that happens to the cluster: a command, a question, or a crash.
type act struct {
	node string
	line string // of warmrun
	sql  string // asked of the server; with neither, that dies
	// killed is where the command is killed and its run given up.
	killed *Boundary
}

func (a act) String() string {
	switch {
	case a.sql != "":
		return a.node + ": " + a.sql
	case a.line == "":
		return a.node + ": kill -9 of the server"
	case a.killed != nil:
		return a.node + "$ warmrun " + a.line + " (killed in step " + a.killed.Step + ", and given up)"
	}
	return a.node + "$ warmrun " + a.line
}

// scenarios is the table of the shipped runbooks.
var scenarios = map[string]scenario{
	"distrib":       {cluster: alone, driver: "db1"},
	"configStandby": {cluster: installed, driver: "db2"},
	"copyToStandby": {cluster: configured, driver: "db1", args: []string{"--start"}},
	"copyToDR":      {cluster: pair, prepare: []act{{node: "dr", line: "configStandby"}}, driver: "db1", args: []string{"--start"}},
	"rsyncDR":       {cluster: full, driver: "db2"},

	"flushPrimary": {cluster: full, driver: "db1", args: []string{"--drain=0s"}},
	"startPrimary": {cluster: full, before: []act{givenUp}, driver: "db1"},
	"triggerStandby": {cluster: full, before: []act{{node: "db1", line: "flushPrimary --drain 0s --yes"}}, driver: "db2",
		args: []string{"--archiving"}},
	"switchover": {cluster: full, driver: "db1", args: []string{"--drain=0s"}},
	"failover":   {cluster: full, before: []act{died}, driver: "db2"},
	"switchback": {cluster: full, prepare: takenOver, driver: "db2", args: []string{"--drain=0s", "--erase"}},
	"rejoin":     {cluster: full, prepare: diverged, driver: "db1"},
	"lowerFence": {cluster: full, before: []act{givenUp}, driver: "db1"},

	"restartPrimary": {cluster: full, driver: "db1", args: []string{"--drain=0s"}},
	"stopStandby":    {cluster: full, driver: "db2", after: []act{{node: "db2", line: "startStandby"}}},
	"startStandby":   {cluster: full, before: []act{{node: "db2", line: "stopStandby"}}, driver: "db2"},
	"stopSite":       {cluster: full, driver: "db1", args: []string{"--drain=0s"}, after: []act{{node: "db1", line: "startSite"}}},
	"startSite":      {cluster: full, before: []act{{node: "db1", line: "stopSite --drain 0s"}}, driver: "db1"},

	"delayReplay":  {cluster: full, driver: "db2"},
	"pauseReplay":  {cluster: full, driver: "db2", after: []act{{node: "db2", line: "resumeReplay"}}},
	"resumeReplay": {cluster: full, before: []act{{node: "db2", line: "pauseReplay"}}, driver: "db2", after: []act{{node: "db2", line: "resumeReplay"}}},

	"backup":    {cluster: full, driver: "dr"},
	"drill":     {cluster: full, prepare: kept, driver: "dr"},
	"peek":      {cluster: full, prepare: kept, driver: "dr", args: []string{"--before={answer}"}},
	"restoreTo": {cluster: full, prepare: kept, driver: "dr", args: []string{"--dir={dir}/restored", "--time={answer}"}},
}

var (
	died = act{node: "db1"}
	// givenUp has stopped the primary, and left its fence.
	givenUp = act{node: "db1", line: "switchover --drain 0s --yes", killed: &Boundary{Runbook: "switchover", Step: "fence", At: Ended}}
	// takenOver leaves the old primary as it died.
	takenOver = []act{died, {node: "db2", line: "failover --yes"}}
	// diverged leaves it with a transaction that the new one has not.
	diverged = []act{{node: "db2", line: "pauseReplay"}, {node: "db1", sql: "SELECT pg_logical_emit_message(true, '', '')::text"}, died, {node: "db2", line: "failover --fast --yes"}}
	// kept is a base copy and a time behind it: the transaction that asks for it
	// ends later, and the WAL with that reaches the node with the second copy.
	kept = []act{
		{node: "dr", line: "backup"},
		{node: "db1", sql: `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') FROM txid_current()`},
		{node: "dr", line: "backup"},
	}
)

// scenarioOf is the table's, or for a site's own runbook a whole cluster with the
// node that has the part which the runbook runs on.
func scenarioOf(book Book) scenario {
	if s, ok := scenarios[book.Name]; ok {
		return s
	}
	driver := "db1"
	switch book.RunsOn {
	case "standby":
		driver = "db2"
	case "dr":
		driver = "dr"
	}
	return scenario{cluster: full, driver: driver}
}

// command is what is typed: the scenario's flags, filled in, give way to the
// operator's.
func (s scenario) command(book Book, given []string, fill *strings.Replacer) []string {
	words := []string{book.Name}
	for _, flag := range s.args {
		if !book.has(flag) || hasFlag(given, flag) {
			continue
		}
		words = append(words, fill.Replace(flag))
	}
	return append(append(words, given...), "--yes")
}

func flagName(word string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(word, "--"), "no-"), "=")
	return name
}

func hasFlag(words []string, flag string) bool {
	for _, word := range words {
		if flagName(word) == flagName(flag) {
			return true
		}
	}
	return false
}
