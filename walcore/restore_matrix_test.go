//go:build matrix

package walcore

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestRestoreMatrix runs TestRestoreOnServers on a server that still reads
// recovery.conf, on the first with recovery_prefetch, and on the newest.
func TestRestoreMatrix(t *testing.T) {
	for _, major := range []string{"10", "15", "18"} {
		t.Run(major, func(t *testing.T) {
			fetch := exec.Command("../tests/fetch-postgres.sh", major)
			fetch.Stderr = os.Stderr
			out, err := fetch.Output()
			if err != nil {
				t.Fatalf("fetch PostgreSQL %s: %v", major, err)
			}
			restoreOnServers(t, usePostgres(t, strings.TrimSpace(string(out))))
		})
	}
}
