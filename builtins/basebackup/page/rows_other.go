//go:build !amd64

package page

// mixRows takes rows into the sums of all columns.
func mixRows(sums *[columns]uint32, rows []byte) { mixStripes(sums, rows) }
