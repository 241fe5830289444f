package health

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"
)

// Render prints the status for people: the sentence, a table with a column for
// each node, what is wrong, what to do next, and what could not be found out
// and why. Where the table is wider than columns, each node gets a block of
// lines instead; 0 is no limit.
func (c ClusterStatus) Render(w io.Writer, columns int) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", c.Sentence)
	if c.Outage != nil {
		fmt.Fprintf(&b, "%s\n", c.Outage)
	}
	b.WriteString("\n")
	lines := c.lines()
	table, err := c.table(lines)
	if err != nil {
		return err
	}
	if columns > 0 && widest(table) > columns {
		table = c.blocks(lines)
	}
	b.WriteString(table)
	c.remarks(&b)
	_, err = io.WriteString(w, b.String())
	return err
}

// remarks are what does not go into a table.
func (c ClusterStatus) remarks(b *strings.Builder) {
	for _, part := range []struct {
		prefix string
		lines  []string
	}{{"problem: ", c.Problems}, {"", c.unknowns()}, {"hint: ", c.Hints}} {
		if len(part.lines) > 0 {
			b.WriteString("\n")
		}
		for _, line := range part.lines {
			fmt.Fprintf(b, "%s%s\n", part.prefix, line)
		}
	}
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
		{"last received", []string{"last_received"}, receivedCell},
		{"compressed", nil, func(n NodeStatus) string { return string(n.ArchiveCompress) }},
		{"last replayed", []string{"last_replayed"}, func(n NodeStatus) string { return string(n.LastReplayed) }},
		{"lag", []string{"lag_bytes"}, lagCell},
		{"waits for", []string{"wanted"}, wantedCell},
		{"waits since", nil, sinceCell},
		{"relayed to DR", []string{"relayed"}, func(n NodeStatus) string { return string(n.Relayed) }},
		{"fence", []string{"fence"}, fenceCell},
		{"replay delay", nil, delayCell},
		{"base copies", []string{"base_copies"}, copiesCell},
		{"last drill", []string{"drill"}, drillCell},
	}
}

// line is a row filled in: one cell for each node.
type line struct {
	title string
	cells []string
}

// lines are the rows that say something of any node.
func (c ClusterStatus) lines() []line {
	var lines []line
	for _, r := range rows() {
		l := line{title: r.title}
		for _, n := range c.Nodes {
			cell := r.cell(n)
			if cell == "" && slices.ContainsFunc(r.fields, func(f string) bool { return n.Unknown[f] != "" }) {
				cell = "?"
			}
			l.cells = append(l.cells, cell)
		}
		if slices.ContainsFunc(l.cells, func(cell string) bool { return cell != "" }) {
			lines = append(lines, l)
		}
	}
	return lines
}

// table shows the nodes side by side.
func (c ClusterStatus) table(lines []line) (string, error) {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.StripEscape)
	for _, n := range c.Nodes {
		fmt.Fprintf(t, "\t%s", n.Node)
	}
	fmt.Fprintln(t)
	for _, l := range lines {
		fmt.Fprint(t, l.title)
		for _, cell := range l.cells {
			if cell == "" {
				cell = "-"
			}
			fmt.Fprintf(t, "\t%s", cell)
		}
		fmt.Fprintln(t)
	}
	err := t.Flush()
	return b.String(), err
}

func widest(text string) int {
	most := 0
	for line := range strings.Lines(text) {
		most = max(most, utf8.RuneCountInString(strings.TrimRight(line, " \n")))
	}
	return most
}

// blocks shows one node below the other.
func (c ClusterStatus) blocks(lines []line) string {
	width := 0
	for _, l := range lines {
		width = max(width, len(l.title))
	}
	var b strings.Builder
	for i, n := range c.Nodes {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "%s\n", n.Node)
		for _, l := range lines {
			if l.cells[i] != "" {
				fmt.Fprintf(&b, "  %-*s  %s\n", width, l.title, l.cells[i])
			}
		}
	}
	return b.String()
}

// silent reports whether there is no word from the node itself.
func (n NodeStatus) silent() bool {
	return n.Role == RoleUnreachable || n.Role == RoleNotInstalled || n.Role == RoleFailing
}

func serverCell(n NodeStatus) string {
	var parts []string
	if n.ServerVersion != "" {
		parts = append(parts, n.ServerVersion)
	}
	switch {
	case n.silent() || n.Role == RoleNoData:
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
	case n.silent() || n.Role == RoleNoData || n.Unknown["archiving_active"] != "":
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

// receivedCell leaves out what a primary received while it was a standby.
func receivedCell(n NodeStatus) string {
	if n.writes() {
		return ""
	}
	return string(n.LastReceived)
}

func lagCell(n NodeStatus) string {
	if n.Diverged != "" {
		return "diverged"
	}
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

// sinceCell is when the server first asked in vain after it was served last.
func sinceCell(n NodeStatus) string {
	if n.Wanted == "" || n.WantedSince.IsZero() {
		return ""
	}
	return clock(n.WantedSince)
}

func fenceCell(n NodeStatus) string {
	if n.Fence.Epoch == 0 {
		return ""
	}
	if len(n.Fence.Cuts) == 0 {
		return fmt.Sprintf("epoch %d, no cuts", n.Fence.Epoch)
	}
	last := n.Fence.Cuts[len(n.Fence.Cuts)-1]
	return fmt.Sprintf("epoch %d: timeline %d ends at %s", n.Fence.Epoch, uint32(last.Timeline), last.LSN)
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
			if n.silent() {
				own = append(own, fmt.Sprintf("%s: %s: %s", n.Node, n.Role, reason))
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
