package basebackup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/builtins/psql"
)

// copyMode makes the test binary a process that makes one base copy. Its value
// is a copyOrder.
const copyMode = "WARMRUN_BASEBACKUP_TEST_COPY"

type copyOrder struct {
	Dir       string // of the site
	SocketDir string
	Port      int
	PGData    string
	To        string
	Spaces    map[string]string
}

// copyOnce carries out an order slowly.
func copyOnce(order string) int {
	err := func() error {
		var o copyOrder
		if err := errors.Join(os.Unsetenv(copyMode), json.Unmarshal([]byte(order), &o)); err != nil { // the far end has another mode
			return err
		}
		conn, err := psql.Connect(context.Background(), psql.Target{SocketDir: o.SocketDir, Port: o.Port, User: "postgres"})
		if err != nil {
			return err
		}
		s := &site{dir: o.Dir}
		_, err = Copy(context.Background(), Request{
			Source: Source{PGData: o.PGData, Conn: conn}, Dial: s.dial, TargetPGData: o.To, TablespaceMap: o.Spaces,
			Fast: true, MaxRate: 2 << 20,
		})
		return err
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// TestKilledCopy: a copy whose process is killed leaves no backup behind on the
// server and nothing that can be started on the target; the next one goes on.
func TestKilledCopy(t *testing.T) {
	t.Parallel()
	v := primary(t, systemSite(t))
	standby := v.server("standby")
	r := v.request(standby.data)
	order, err := json.Marshal(copyOrder{Dir: v.dir, SocketDir: v.sockets, Port: v.port, PGData: v.data, To: standby.data, Spaces: r.TablespaceMap})
	must(t, err)
	program, err := v.self()
	must(t, err)
	cmd := v.command(t.Context(), program)
	cmd.Env = append(cmd.Env, copyMode+"="+string(order))
	cmd.Stderr = os.Stderr
	must(t, cmd.Start())
	v.wait("be copied", func() bool { return exists(filepath.Join(standby.data, "base")) })
	must(t, cmd.Process.Kill())
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
		t.Fatalf("the copy ended before it was killed: %v", err)
	}
	v.wait("end the killed session", func() bool {
		return v.value("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_backup_start%' AND pid <> pg_backend_pid()") == "0"
	})
	if exists(filepath.Join(standby.data, controlFile)) || exists(filepath.Join(standby.data, "backup_manifest")) {
		t.Error("the target of a killed copy looks like a whole one")
	}

	result, err := Copy(t.Context(), r)
	must(t, err)
	checkVerified(t, v, standby, result)
	standby.follow(v)
	v.stop()
	if want := "aborting backup due to backend exiting"; !strings.Contains(v.log.String(), want) {
		t.Errorf("the server's log lacks %q:\n%s", want, v.log.String())
	}
}
