package health

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Render prints the status for people: the sentence, a table with a column for
// each node, what is wrong, and what could not be found out and why.
func (c ClusterStatus) Render(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", c.Sentence)
	if err := c.table(&b); err != nil {
		return err
	}
	if len(c.Problems) > 0 {
		b.WriteString("\n")
	}
	for _, problem := range c.Problems {
		fmt.Fprintf(&b, "problem: %s\n", problem)
	}
	if lines := c.unknowns(); len(lines) > 0 {
		fmt.Fprintf(&b, "\n%s\n", strings.Join(lines, "\n"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// row is one line of the table.
type row struct {
	title string
	// fields are what the cell is made of: where one of them is unknown and
	// the cell is empty, it shows a question mark.
	fields []string
	cell   func(NodeStatus) string
}

func rows() []row {
	return []row{
		{"role", nil, func(n NodeStatus) string { return string(n.Role) }},
		{"server", []string{"server_version"}, serverCell},
		{"timeline", []string{"timeline"}, timelineCell},
		{"LSN", []string{"current_lsn", "replayed_lsn"}, lsnCell},
		{"archiving", []string{"archiving_active"}, archivingCell},
		{"backlog", []string{"backlog"}, backlogCell},
		{"last archived", []string{"last_archived"}, func(n NodeStatus) string { return ifWrites(n, n.LastArchived) }},
		{"last received", []string{"last_received"}, func(n NodeStatus) string { return string(n.LastReceived) }},
		{"last replayed", []string{"last_replayed"}, func(n NodeStatus) string { return string(n.LastReplayed) }},
		{"lag", []string{"lag_bytes"}, lagCell},
		{"waits for", []string{"wanted"}, wantedCell},
		{"relayed to DR", []string{"relayed"}, func(n NodeStatus) string { return string(n.Relayed) }},
		{"fence", []string{"fence"}, fenceCell},
	}
}

// table prints the nodes side by side. A row that says nothing of any node is
// left out.
func (c ClusterStatus) table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.StripEscape)
	head := make([]string, 0, len(c.Nodes)+1)
	head = append(head, "")
	for _, n := range c.Nodes {
		head = append(head, string(n.Node))
	}
	fmt.Fprintln(t, strings.Join(head, "\t"))
	for _, r := range rows() {
		cells := []string{r.title}
		empty := true
		for _, n := range c.Nodes {
			cell := r.cell(n)
			if cell == "" && slices.ContainsFunc(r.fields, func(f string) bool { return n.Unknown[f] != "" }) {
				cell = "?"
			}
			empty = empty && cell == ""
			if cell == "" {
				cell = "-"
			}
			cells = append(cells, cell)
		}
		if !empty {
			fmt.Fprintln(t, strings.Join(cells, "\t"))
		}
	}
	return t.Flush()
}

func serverCell(n NodeStatus) string {
	var parts []string
	if n.ServerVersion != "" {
		parts = append(parts, n.ServerVersion)
	}
	switch {
	case n.Role == RoleUnreachable || n.Role == RoleNoData:
		return ""
	case n.Accepting:
		parts = append(parts, "running")
	case n.Running:
		parts = append(parts, "running, no connections")
	case n.Role == RoleStoppedPrimary && n.ControlState != "":
		// "in production" here tells of a crash.
		parts = append(parts, "not running ("+n.ControlState+")")
	default:
		parts = append(parts, "not running")
	}
	return strings.Join(parts, ", ")
}

func timelineCell(n NodeStatus) string {
	if n.Timeline == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(n.Timeline), 10)
}

func lsnCell(n NodeStatus) string {
	switch {
	case n.writes() && n.CurrentLSN != 0:
		return n.CurrentLSN.String()
	case n.ReplayedLSN != 0:
		return n.ReplayedLSN.String() + " replayed"
	}
	return ""
}

// archivingCell shows whether WAL is shipped, where there is some.
func archivingCell(n NodeStatus) string {
	switch {
	case n.Role == RoleUnreachable || n.Role == RoleNoData || n.Unknown["archiving_active"] != "":
		return ""
	case n.writes() && n.ArchiveMode == "off":
		return "archive_mode is off"
	case n.Archiving:
		return "active"
	}
	return "not active"
}

func backlogCell(n NodeStatus) string {
	if n.Unknown["backlog"] != "" || n.Backlog == 0 && !n.writes() {
		return ""
	}
	if n.Backlog == 1 {
		return "1 segment"
	}
	return fmt.Sprintf("%d segments", n.Backlog)
}

func ifWrites(n NodeStatus, s string) string {
	if !n.writes() {
		return ""
	}
	return s
}

func lagCell(n NodeStatus) string {
	var parts []string
	if n.LagBytes != nil {
		parts = append(parts, bytesOf(*n.LagBytes))
	}
	if n.LagSeconds != nil {
		parts = append(parts, duration(time.Duration(*n.LagSeconds*float64(time.Second))))
	}
	return strings.Join(parts, ", ")
}

// duration prints a time span in the one or two units that matter.
func duration(d time.Duration) string {
	d = d.Round(time.Second)
	days := d / (24 * time.Hour)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	case days == 0:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%d d %d h", days, d%(24*time.Hour)/time.Hour)
}

func wantedCell(n NodeStatus) string {
	if n.Wanted == "" {
		return ""
	}
	return string(n.Wanted)
}

func fenceCell(n NodeStatus) string {
	if n.Fence.Epoch == 0 {
		return ""
	}
	if len(n.Fence.Cuts) == 0 {
		return fmt.Sprintf("epoch %d, no cuts", n.Fence.Epoch)
	}
	last := n.Fence.Cuts[len(n.Fence.Cuts)-1]
	return fmt.Sprintf("epoch %d: %d ends at %s", n.Fence.Epoch, uint32(last.Timeline), last.LSN)
}

// unknowns lists what could not be found out, reasons that several fields
// share together.
func (c ClusterStatus) unknowns() []string {
	var lines []string
	for _, n := range c.Nodes {
		byReason := map[string][]string{}
		for field, reason := range n.Unknown {
			byReason[reason] = append(byReason[reason], field)
		}
		var own []string
		for reason, fields := range byReason {
			slices.Sort(fields)
			if n.Role == RoleUnreachable {
				own = append(own, fmt.Sprintf("%s: unreachable: %s", n.Node, reason))
				continue
			}
			names := strings.ReplaceAll(strings.Join(fields, ", "), "_", " ")
			own = append(own, fmt.Sprintf("%s: unknown: %s: %s", n.Node, names, reason))
		}
		slices.Sort(own)
		lines = append(lines, own...)
	}
	return lines
}
