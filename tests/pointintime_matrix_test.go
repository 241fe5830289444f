//go:build matrix

package tests

import (
	"strconv"
	"testing"
)

// TestMatrixPointInTime recovers to points in time, looks at the past and drills
// on every supported major of PostgreSQL, as a prebuilt server that
// fetch-postgres.sh downloads (make matrix).
func TestMatrixPointInTime(t *testing.T) {
	for major := 10; major <= 18; major++ {
		t.Run(strconv.Itoa(major), func(t *testing.T) { recoverOn(t, major) })
	}
}
