package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/tests/cluster"
	"github.com/warmrun/warmrun/walcore"
)

// transition is a command in the state that those before it have led to. Either it
// leads to another one, or it is refused with a reason, a hint and exit status 1,
// and nothing is changed.
type transition struct {
	on      string // the node
	command string
	event   event  // no command: what happens to the node
	to      string // the nodes' states afterwards
	refused string // in the error line
	hint    string // in the hint line
}

// event is what happens to a node, in words.
type event string

const (
	dies event = "the server on %s dies"
	gone event = "the host of %s is gone"
	back event = "the host of %s is back, with its server"
)

func (e event) happen(n *cluster.Node) {
	switch e {
	case dies:
		n.SQL("CREATE TABLE IF NOT EXISTS in_pg_wal_alone AS SELECT generate_series(1, 20000)")
		n.KillServer()
	case gone:
		n.Cut()
	case back:
		n.Uncut()
		n.StartServer()
	}
}

// before is the state that the table begins with.
const before = "db1 up, db2 empty, dr empty"

// TestStateTable walks a cluster through the table.
func TestStateTable(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, cluster.Options{Settings: []string{"wal_log_hints = on"}})
	c.DB1.Must("distrib")
	now := before
	if got := states(t, c); got != now {
		t.Fatalf("at first: %s, want %s", got, now)
	}
	for _, row := range stateTable() {
		n := c.Nodes()[slices.Index([]string{"db1", "db2", "dr"}, row.on)]
		ok := t.Run(row.String(), func(t *testing.T) {
			switch {
			case row.event != "":
				row.event.happen(n)
			case row.refused != "":
				refusal{row.command, n, strings.Fields(row.command), 1, row.refused}.check(t, c, row.hint)
				return
			default:
				n.Must(strings.Fields(row.command)...)
			}
			if got := states(t, c); got != row.to {
				t.Fatalf("the nodes are %s, want %s", got, row.to)
			}
			now = row.to
		})
		if !ok && row.refused == "" {
			t.FailNow()
		}
	}
}

func (r transition) String() string {
	if r.event != "" {
		return fmt.Sprintf(string(r.event), r.on)
	}
	return r.command + " on " + r.on
}

// states says what all nodes are.
func states(t *testing.T, c *cluster.Cluster) string {
	t.Helper()
	var all []string
	for _, n := range c.Nodes() {
		all = append(all, n.Name+" "+stateOf(t, n))
	}
	return strings.Join(all, ", ")
}

func stateOf(t *testing.T, n *cluster.Node) string {
	t.Helper()
	if recovering, err := n.TrySQL("SELECT pg_is_in_recovery()::text"); err == nil {
		return map[bool]string{true: "recovery", false: map[bool]string{true: "archiving", false: "up"}[active(n)]}[recovering == "true"]
	}
	control, err := n.Server().Control()
	signal := n.Exists(filepath.Join(n.PGData, "standby.signal"))
	switch {
	case err != nil && n.Exists(n.Archive()):
		return "prepared"
	case err != nil:
		return "empty"
	case signal && n.Exists(filepath.Join(n.PGData, "backup_label")):
		return "copied"
	case signal && len(inWALDir(t, n)) == 0:
		return "prepared"
	case signal && (control.State == walcore.StateShutDown || control.State == walcore.StateInProduction):
		return "fenced"
	}
	return "down"
}

// inWALDir are the WAL files in a node's pg_wal.
func inWALDir(t *testing.T, n *cluster.Node) []string {
	t.Helper()
	files, err := filepath.Glob(n.Path(filepath.Join(n.PGData, "pg_wal", "[0-9A-F]*")))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestStatesPage holds what people read to the table.
func TestStatesPage(t *testing.T) {
	text, err := os.ReadFile("../runbooks/STATES.md")
	if err != nil {
		t.Fatal(err)
	}
	if want := renderStates(stateTable()); !strings.HasSuffix(string(text), "\n\n"+want) {
		t.Errorf("runbooks/STATES.md must end with this table:\n%s", want)
	}
}

// renderStates is the table for people: what is refused for the same reason in the
// same state is one line.
func renderStates(rows []transition) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| State | Command | Result |\n|---|---|---|\n")
	at, shown := before, false
	for i := 0; i < len(rows); i++ {
		commands := []string{rows[i].typed()}
		for rows[i].refused != "" && i+1 < len(rows) && rows[i+1].on == rows[i].on && rows[i+1].refused == rows[i].refused {
			i++
			commands = append(commands, rows[i].typed())
		}
		state, result := "", "refused: "+rows[i].refused
		if !shown {
			state = at
		}
		shown = true
		if rows[i].refused == "" {
			result = "**" + rows[i].to + "**"
			if rows[i].to == at {
				result = "nothing to do"
			}
			shown = rows[i].to == at
			at = rows[i].to
		}
		where := " on " + rows[i].on
		if rows[i].event != "" {
			where = ""
		}
		fmt.Fprintf(&b, "| %s | %s%s | %s |\n", state, strings.Join(commands, ", "), where, result)
	}
	return b.String()
}

func (r transition) typed() string {
	if r.event != "" {
		return r.String()
	}
	return "`" + strings.TrimSuffix(r.command, " --yes") + "`"
}
