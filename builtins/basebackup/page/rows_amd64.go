package page

import "sync"

// hasAVX2 is whether the processor has AVX2, and the system keeps its registers.
// It is asked when that first matters: in a virtual machine the question is dear.
var hasAVX2 = sync.OnceValue(detectAVX2)

// mixRows takes rows into the sums of all columns.
func mixRows(sums *[columns]uint32, rows []byte) {
	if !hasAVX2() || len(rows) < rowSize {
		mixStripes(sums, rows)
		return
	}
	mixAVX2(sums, &rows[0], len(rows)/rowSize)
}

// mixAVX2 is mixStripes for at least one row, with all columns at once.
//
//go:noescape
func mixAVX2(sums *[columns]uint32, rows *byte, n int)

func detectAVX2() bool
