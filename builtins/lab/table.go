package lab

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/warmrun/warmrun/builtins/lab/ledger"
)

// tableRow is one line of the table at the demo's end.
type tableRow struct {
	name     string
	took     time.Duration
	gap      time.Duration // longest time between two acknowledged writes
	expected int64
	found    map[string]int64 // by node; a node that was not looked at is absent
}

// verify compares the rows on nodes with what the ledger says must be there,
// and adds the row to the table.
func (d *demo) verify(ctx context.Context, row tableRow, must ledger.Snapshot, nodes []string) error {
	row.expected, row.found = must.Acknowledged.Len(), map[string]int64{}
	label := fmt.Sprintf("compare %s rows with the ledger", thousands(row.expected))
	_, err := d.step(label, func(io.Writer) error {
		for _, node := range nodes {
			rows, err := ledger.Rows(ctx, d.target(node))
			if err != nil {
				return fmt.Errorf("%s: %w", node, err)
			}
			verdict := must.Compare(rows)
			row.found[node] = verdict.Found
			if len(verdict.Missing) > 0 {
				d.missing = append(d.missing, fmt.Errorf("after %s %s lacks rows %s", row.name, node, verdict.Missing))
			}
			if len(verdict.Strange) > 0 {
				d.missing = append(d.missing, fmt.Errorf("after %s %s has rows that nobody wrote: %s", row.name, node, verdict.Strange))
			}
		}
		return nil
	})
	d.rows = append(d.rows, row)
	return err
}

// table prints what happened, and how many of the rows that clients were told
// are safe are on each node.
func (d *demo) table() {
	const format = "%-26s %8s %8s %8s %8s %8s %8s"
	d.print("\n%s\n", d.styled("1", strings.TrimRight(fmt.Sprintf(format, "", "", "write", "rows", "found", "found", "found"), " ")))
	d.print("%s\n", d.styled("1", fmt.Sprintf(format, "", "took", "gap", "expected", "on db1", "on db2", "on dr")))
	d.print("%s\n", strings.Repeat(d.mark("─", "-"), columns))
	for _, row := range d.rows {
		cells := []any{row.name, seconds(row.took), "", thousands(row.expected)}
		if row.gap > 0 {
			cells[2] = seconds(row.gap)
		}
		for _, n := range d.lab.Nodes {
			cell := "-"
			if found, ok := row.found[n.Name]; ok {
				cell = thousands(found)
			}
			cells = append(cells, cell)
		}
		d.print("%s\n", strings.TrimRight(fmt.Sprintf(format, cells...), " "))
	}
	d.print("\n%s\n", wrap("The write gap is the longest time in which no client's write was acknowledged.", columns))
	if d.lost > 0 {
		d.print("%s\n", wrap(fmt.Sprintf("%s more rows, which had not been shipped when both hosts went, are lost with them, as dr announced before its promotion.", thousands(d.lost)), columns))
	}
	if len(d.missing) > 0 {
		d.print("%s\n\n", d.styled("31", "ROWS ARE MISSING THAT MUST BE THERE."))
		return
	}
	d.print("%s\n\n", d.styled("32", "Every acknowledged row that must be on a node is there."))
}
