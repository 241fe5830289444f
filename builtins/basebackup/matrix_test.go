//go:build matrix

package basebackup

import (
	"strconv"
	"testing"
)

// TestMatrix makes base copies of every supported major of PostgreSQL, as a
// prebuilt server that tests/fetch-postgres.sh downloads (make matrix):
//
//	go test -tags matrix -run TestMatrix ./builtins/basebackup
func TestMatrix(t *testing.T) {
	for major := 10; major <= 18; major++ {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			testCopyUnderLoad(t, fetchedSite(t, major))
		})
	}
}
