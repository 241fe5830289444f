package pgctl

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/walcore"
)

// onDebian reports whether the machine has Debian's clusters. Elsewhere there
// is nothing to test; on Debian the programs must be there.
func onDebian(t *testing.T) bool {
	t.Helper()
	_, errProgram := exec.LookPath("pg_createcluster")
	_, errDebian := os.Stat("/etc/debian_version")
	if errProgram != nil && errDebian == nil {
		t.Fatal("pg_createcluster is missing: install the package postgresql-common")
	}
	return errProgram == nil
}

// newCluster makes a cluster with pg_createcluster: in /etc/postgresql, or
// below root where that is not empty.
func newCluster(t *testing.T, root string) Server {
	t.Helper()
	dir := testDir(t)
	if root != "" {
		t.Setenv("PG_CLUSTER_CONF_ROOT", filepath.Join(root, "etc/postgresql"))
	}
	version, name := systemVersion(t).String(), fmt.Sprintf("warmrun%d", os.Getpid())
	args := []string{"-d", filepath.Join(dir, "data"), "-s", dir, "-l", filepath.Join(dir, "cluster.log"), "-p", "5497", "--start-conf", "manual", version, name, "--", "-N"}
	if os.Geteuid() == 0 {
		args = append([]string{"-u", "postgres"}, args...)
	}
	out, err := exec.Command("pg_createcluster", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("pg_createcluster: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("pg_dropcluster", "--stop", version, name).CombinedOutput(); err != nil {
			t.Errorf("pg_dropcluster: %v: %s", err, out)
		}
	})
	return Server{PGData: filepath.Join(dir, "data"), machine: machine{root: root}}
}

func TestDebianCluster(t *testing.T) {
	if !onDebian(t) {
		return
	}
	places := map[string]string{"a user's own": tree(t, map[string]string{"proc": "-> /proc", "usr": "-> /usr", "etc/postgresql/": ""})}
	if os.Geteuid() == 0 {
		places["the system's"] = ""
	}
	for where, root := range places {
		t.Run(where, func(t *testing.T) {
			if root != "" && os.Geteuid() == 0 {
				// pg_createcluster looks at it as the server's user, too.
				for dir := root; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
					if err := os.Chmod(dir, 0o755); err != nil {
						t.Fatal(err)
					}
				}
				if out, err := exec.Command("chown", "postgres:", filepath.Join(root, "etc/postgresql")).CombinedOutput(); err != nil {
					t.Fatalf("chown: %v: %s", err, out)
				}
			}
			liveAsCluster(t, newCluster(t, root))
		})
	}
}

func liveAsCluster(t *testing.T, s Server) {
	st := status(t, s)
	if st.Owner != OwnerCluster && st.Owner != OwnerSystemd || !strings.HasPrefix(st.Cluster, systemVersion(t).String()+"/warmrun") {
		t.Fatalf("stopped: %+v", st)
	}
	config, err := s.ConfigPath()
	if err != nil || !strings.HasSuffix(config, "/etc/postgresql/"+st.Cluster+"/postgresql.conf") {
		t.Errorf("ConfigPath: %q, %v", config, err)
	}
	if got, err := s.Setting(t.Context(), "cluster_name"); err != nil || got != st.Cluster {
		t.Errorf("cluster_name is %q, %v, want %q", got, err, st.Cluster)
	}
	if err := s.Start(t.Context(), StartOptions{}); err != nil {
		t.Fatal(err)
	}
	if st := status(t, s); !st.Running || st.Ready != ReadyYes || st.Port != 5497 {
		t.Errorf("running: %+v", st)
	}
	if got := sql(t, s, "show config_file"); got != config {
		t.Errorf("config_file is %q, want %q", got, config)
	}
	stop(t, s)
	if got := state(t, s); got != walcore.StateShutDown {
		t.Errorf("control state %s", got)
	}
	if err := s.ConfigureStandby(RecoverySettings{RestoreCommand: "false"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(t.Context(), StopOptions{}, StartOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := sql(t, s, "select pg_is_in_recovery()"); got != "t" {
		t.Errorf("pg_is_in_recovery is %q", got)
	}
	if err := s.Promote(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	stop(t, s)
	appendFile(t, config, "nonsense_setting = 1\n")
	err = s.Start(t.Context(), StartOptions{})
	if err == nil || !strings.Contains(err.Error(), `unrecognized configuration parameter "nonsense_setting"`) {
		t.Errorf("a start that fails: %v", err)
	}
}
