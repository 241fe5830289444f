package health

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// metrics are the figures of a cluster.
func (j *judge) metrics() []Metric {
	var all []Metric
	for _, n := range j.c.Nodes {
		add := func(name, unit, help string, value float64) {
			if unit == "s" {
				value = math.Round(value*10) / 10
			}
			all = append(all, Metric{Name: name, Node: n.Node, Unit: unit, Help: help, Value: value})
		}
		up := 0.0
		if !n.silent() {
			up = 1
		}
		add("up", "", "Whether the node answers.", up)
		if n.LagBytes != nil {
			all = append(all, Metric{Name: "lag_bytes", Node: n.Node, Unit: "B", Help: "WAL that the primary has written and the node has not replayed, or received where it runs no server.",
				Value: float64(*n.LagBytes), Warning: float64(j.LagWarning), Critical: float64(j.LagCritical)})
		}
		if age, known := n.heartbeat(); known && !n.writes() {
			add("heartbeat_seconds", "s", "How long ago the newest file came into the node's archive.", age.Seconds())
		}
		if n.writes() && n.Unknown["backlog"] == "" {
			all = append(all, Metric{Name: "backlog_segments", Node: n.Node, Help: "Segments that wait in pg_wal to be archived.", Value: float64(n.Backlog), Warning: backlogWarning, Critical: backlogCritical})
		}
		if n.Facts != nil {
			for _, d := range n.Facts.Disks {
				add(d.What+"_free_bytes", "B", "Free space on the file system with the "+d.What+".", float64(d.Free))
			}
			if b := n.Facts.Backup; b != nil {
				add("backup_age_seconds", "s", "Age of the newest base copy that the node's archive knows of.", n.At.Sub(b.At).Seconds())
			}
		}
	}
	if o := j.c.Outage; o != nil {
		for _, figure := range []struct {
			name, help string
			value      *float64
		}{
			{"loss_seconds", "Age of what would be lost with the primary's host, at most.", o.LostSeconds},
			{"promotion_seconds", "How long a promotion would take, about.", o.PromotionSeconds},
		} {
			if figure.value != nil {
				all = append(all, Metric{Name: figure.name, Unit: "s", Help: figure.help, Value: *figure.value})
			}
		}
		if o.LostBytes != nil {
			all = append(all, Metric{Name: "loss_bytes", Unit: "B", Help: "WAL that would be lost with the primary's host.", Value: float64(*o.LostBytes)})
		}
	}
	return all
}

// Plugin prints a check as a Nagios plugin does: the state with performance data
// in the first line, then a line for each verdict, the bad ones first. The exit
// status belongs to Level.
func (u Checkup) Plugin(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "WARMRUN %s - %s%s\n", u.Level, bare(u.Summary), u.performance())
	for _, v := range u.sorted() {
		fmt.Fprintf(&b, "%-8s  %-7s  %s: %s", v.Level, v.Node, v.Check, bare(v.Text))
		if v.Next != "" {
			fmt.Fprintf(&b, "; next: %s", bare(v.Next))
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// sorted are the verdicts, the worst first, else in the order of the nodes.
func (u Checkup) sorted() []Verdict {
	sorted := slices.Clone(u.Verdicts)
	slices.SortStableFunc(sorted, func(a, b Verdict) int {
		switch {
		case a.Level.worse(b.Level):
			return -1
		case b.Level.worse(a.Level):
			return 1
		}
		return 0
	})
	return sorted
}

// bare is a text on one line without the bar that begins performance data.
func bare(text string) string {
	return strings.NewReplacer("|", "/", "\n", "; ").Replace(text)
}

// performance is the performance data: 'label'=value[unit];warning;critical;minimum
// (Monitoring Plugins Development Guidelines).
func (u Checkup) performance() string {
	var parts []string
	for _, m := range u.Metrics {
		label := m.Name
		if m.Node != "" {
			label = string(m.Node) + "_" + m.Name
		}
		limits := ";;;0"
		if m.Warning > 0 {
			limits = fmt.Sprintf(";%s;%s;0", decimal(m.Warning), decimal(m.Critical))
		}
		parts = append(parts, fmt.Sprintf("'%s'=%s%s%s", label, decimal(m.Value), m.Unit, limits))
	}
	if len(parts) == 0 {
		return ""
	}
	return " | " + strings.Join(parts, " ")
}

func decimal(value float64) string { return strconv.FormatFloat(value, 'f', -1, 64) }

// Prometheus prints a check in the text format that Prometheus reads, for the
// textfile collector of its node exporter.
func (u Checkup) Prometheus(w io.Writer) error {
	var b strings.Builder
	family(&b, "warmrun_check", "The worst verdict of each check: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.")
	for _, v := range u.worstOfEach() {
		fmt.Fprintf(&b, "warmrun_check{node=%q,check=%q} %d\n", string(v.Node), v.Check, int(v.Level))
	}
	var names []string
	for _, m := range u.Metrics {
		if !slices.Contains(names, m.Name) {
			names = append(names, m.Name)
		}
	}
	for _, name := range names {
		first := true
		for _, m := range u.Metrics {
			if m.Name != name {
				continue
			}
			if first {
				family(&b, "warmrun_"+name, m.Help)
				first = false
			}
			label := ""
			if m.Node != "" {
				label = fmt.Sprintf("{node=%q}", string(m.Node))
			}
			fmt.Fprintf(&b, "warmrun_%s%s %s\n", name, label, decimal(m.Value))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func family(b *strings.Builder, name, help string) {
	fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name)
}

// worstOfEach is one verdict for each node and check: a series may be there only
// once.
func (u Checkup) worstOfEach() []Verdict {
	var kept []Verdict
	for _, v := range u.Verdicts {
		i := slices.IndexFunc(kept, func(k Verdict) bool { return k.Node == v.Node && k.Check == v.Check })
		switch {
		case i < 0:
			kept = append(kept, v)
		case v.Level.worse(kept[i].Level):
			kept[i] = v
		}
	}
	return kept
}
