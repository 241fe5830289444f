package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// row is one contestant's result. Fields that a part does not measure are
// empty, and their columns are left out.
type row struct {
	Part string `json:"part"`
	Load string `json:"load,omitempty"`
	Who  string `json:"contestant"`
	// How the contestant was set up.
	Fsync    string `json:"fsync,omitempty"`
	Cipher   string `json:"cipher,omitempty"`
	Compress string `json:"compression,omitempty"`
	// Wire is how many bytes crossed the wire, both ways: for each segment, or
	// for a whole copy.
	Wire int64 `json:"wire_bytes,omitempty"`
	// Values are the rounds' results in Unit.
	Values   []float64 `json:"values"`
	Unit     string    `json:"unit"`
	Median   float64   `json:"median"`
	P99      float64   `json:"p99,omitempty"`
	CPU      float64   `json:"cpu_ms,omitempty"`       // median per segment, both ends
	CPUPerGB float64   `json:"cpu_s_per_gb,omitempty"` // of a copy, median, both ends
	Ratio    float64   `json:"warmrun_ratio,omitempty"`
	withP99  bool
	higher   bool // a higher value is better
	cpus     []float64
	gbCPUs   []float64
	copied   bool // a copy, not a segment
}

// us is the contestant that the others are compared with.
const us = "warmrun"

// finish works out the medians, and warmrun's ratio to every other row: the
// median over the rounds of the ratio within the round, since what disturbs a
// round disturbs all of it. Above 1, warmrun is better.
func finish(rows []row) {
	var ours *row
	for i := range rows {
		r := &rows[i]
		r.Median, r.CPU, r.CPUPerGB = median(r.Values), median(r.cpus), median(r.gbCPUs)
		if r.withP99 {
			r.P99 = percentile(r.Values, 99)
		}
		if r.Who == us {
			ours = r
		}
	}
	for i := range rows {
		r := &rows[i]
		if ours == nil || r.Who == us || r.Unit != ours.Unit {
			continue
		}
		if r.higher {
			r.Ratio = median(ratios(ours.Values, r.Values))
		} else {
			r.Ratio = median(ratios(r.Values, ours.Values))
		}
	}
}

// ratios divides round by round.
func ratios(over, under []float64) []float64 {
	var all []float64
	for k := range min(len(over), len(under)) {
		all = append(all, over[k]/under[k])
	}
	return all
}

func median(values []float64) float64 { return percentile(values, 50) }

// percentile takes the nearest rank, the middle of two for an even median.
func percentile(values []float64, percent int) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	if n := len(sorted); percent == 50 && n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	rank := int(math.Ceil(float64(percent) / 100 * float64(len(sorted))))
	return sorted[max(rank, 1)-1]
}

// print keeps the rows for the JSON file and shows them as a table.
func (b *bench) print(title string, rows []row) {
	finish(rows)
	b.rows = append(b.rows, rows...)
	b.say("\n%s", title)
	printTable(b.out, rows)
}

// column is one column of a table; a row's text is empty where it has none.
type column struct {
	head string
	left bool
	text func(row) string
}

func columns(rows []row) []column {
	unit, wire := rows[0].Unit, "wire/seg"
	if rows[0].copied {
		wire = "wire"
	}
	all := []column{
		{"", true, func(r row) string { return r.Who }},
		{"fsync", true, func(r row) string { return r.Fsync }},
		{"cipher", true, func(r row) string { return r.Cipher }},
		{"compression", true, func(r row) string { return r.Compress }},
		{wire, false, func(r row) string { return size(r.Wire) }},
		{unit, false, func(r row) string { return number(r.Median) }},
		{"p99", false, func(r row) string { return number(r.P99) }},
		{"CPU ms/seg", false, func(r row) string { return number(r.CPU) }},
		{"CPU s/GB", false, func(r row) string { return number(r.CPUPerGB) }},
		{"n", false, func(r row) string { return fmt.Sprint(len(r.Values)) }},
		{"warmrun", false, func(r row) string {
			if r.Ratio == 0 {
				return ""
			}
			return fmt.Sprintf("%.2fx", r.Ratio)
		}},
	}
	return slices.DeleteFunc(all, func(c column) bool {
		return !slices.ContainsFunc(rows, func(r row) bool { return c.text(r) != "" })
	})
}

func printTable(out io.Writer, rows []row) {
	lines := make([]strings.Builder, len(rows)+1)
	for i, c := range columns(rows) {
		cells := []string{c.head}
		for _, r := range rows {
			cells = append(cells, c.text(r))
		}
		width := 0
		for _, cell := range cells {
			width = max(width, utf8.RuneCountInString(cell))
		}
		for k, cell := range cells {
			if i > 0 {
				lines[k].WriteString("  ")
			}
			pad := strings.Repeat(" ", width-utf8.RuneCountInString(cell))
			if c.left {
				lines[k].WriteString(cell + pad)
			} else {
				lines[k].WriteString(pad + cell)
			}
		}
	}
	for i := range lines {
		fmt.Fprintln(out, strings.TrimRight(lines[i].String(), " "))
	}
}

// number has about three digits, which is more than a noisy machine gives.
func number(v float64) string {
	switch {
	case v == 0:
		return ""
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

func size(bytes int64) string {
	switch {
	case bytes == 0:
		return ""
	case bytes < 10_000:
		return fmt.Sprintf("%d B", bytes)
	case bytes < 1_000_000:
		return fmt.Sprintf("%d kB", bytes/1000)
	}
	return fmt.Sprintf("%.1f MB", float64(bytes)/1e6)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// writeJSON writes all rows so far, so that a part that fails costs no other.
func (b *bench) writeJSON() error {
	if b.json == nil {
		return nil
	}
	data, err := json.MarshalIndent(b.rows, "", "  ")
	if err != nil {
		return err
	}
	if err := b.json.Truncate(0); err != nil {
		return err
	}
	_, err = b.json.WriteAt(append(data, '\n'), 0)
	return err
}
