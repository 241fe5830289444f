//go:build matrix

package basebackup

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// TestMatrix makes base copies of every supported major of PostgreSQL, as a
// prebuilt server that tests/fetch-postgres.sh downloads:
//
//	go test -tags matrix -run TestMatrix ./builtins/basebackup
func TestMatrix(t *testing.T) {
	for major := 10; major <= 18; major++ {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			fetch := exec.Command("../../tests/fetch-postgres.sh", strconv.Itoa(major))
			fetch.Stderr = os.Stderr
			out, err := fetch.Output()
			if err != nil {
				t.Fatalf("fetch PostgreSQL %d: %v", major, err)
			}
			testCopyUnderLoad(t, newSite(t, strings.TrimSpace(string(out)), major))
		})
	}
}
