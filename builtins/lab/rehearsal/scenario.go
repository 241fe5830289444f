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
	// args are given where the operator has not given the same flags.
	args []string
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

// act is one thing that happens to the cluster: a command, or a crash.
type act struct {
	node string
	line string // of warmrun; empty: the server dies
	// killed is where the command is killed and its run given up.
	killed *Boundary
}

func (a act) String() string {
	switch {
	case a.line == "":
		return a.node + ": kill -9 of the server"
	case a.killed != nil:
		return a.node + "$ warmrun " + a.line + " (killed in step " + a.killed.Step + ", and given up)"
	}
	return a.node + "$ warmrun " + a.line
}

// scenarios is the table of those runbooks that need more than their part says.
var scenarios = map[string]scenario{
	"distrib":       {cluster: alone, driver: "db1"},
	"configStandby": {cluster: installed, driver: "db2"},
	"copyToStandby": {cluster: configured, driver: "db1", args: []string{"--start"}},
	"copyToDR":      {cluster: pair, prepare: []act{{node: "dr", line: "configStandby"}}, driver: "db1", args: []string{"--start"}},
	"rsyncDR":       {cluster: full, driver: "db2"},
	"flushPrimary":  {cluster: full, driver: "db1", args: []string{"--drain=0s"}},
	"startPrimary":  {cluster: full, before: []act{flushed}, driver: "db1"},
	"triggerStandby": {cluster: full, before: []act{flushed}, driver: "db2",
		args: []string{"--archiving"}},
	"switchover": {cluster: full, driver: "db1", args: []string{"--drain=0s"}},
	"failover":   {cluster: full, before: []act{{node: "db1"}}, driver: "db2"},
	"switchback": {cluster: full, prepare: []act{{node: "db1"}, {node: "db2", line: "failover --yes"}}, driver: "db2",
		args: []string{"--drain=0s", "--erase"}},
	"lowerFence": {cluster: full, before: []act{
		{node: "db1", line: "switchover --drain 0s --yes", killed: &Boundary{Runbook: "switchover", Step: "fence", At: Ended}},
	}, driver: "db1"},
}

var flushed = act{node: "db1", line: "flushPrimary --drain 0s --yes"}

// scenarioOf is the table's, or for any other runbook a whole cluster with the
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

// command is what is typed: the scenario's flags give way to the operator's.
func (s scenario) command(book Book, given []string) []string {
	words := []string{book.Name}
	for _, flag := range s.args {
		if !book.has(flag) || hasFlag(given, flag) {
			continue
		}
		words = append(words, flag)
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
