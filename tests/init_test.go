package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/tests/cluster"
)

// TestInit makes a site of a server that archives nothing yet, in the order in
// which an operator would get it wrong.
func TestInit(t *testing.T) {
	t.Parallel()
	s := &state{T: t, Cluster: cluster.New(t, cluster.Options{Settings: []string{"archive_mode = off", "archive_command = ''", "archive_timeout = 0"}})}
	program := s.beforeInit()
	toml := filepath.Join(s.DB1.Home, "global", "cluster.toml")
	node := func(n *cluster.Node) string { return n.Name + "=" + n.Name + ":" + n.PGData }
	run := func(args ...string) cluster.Result {
		return s.DB1.Exec(program, append([]string{"init", "--name", "db1", "--host", "db1"}, args...)...)
	}

	s.failed(run(), 2, "there is no terminal to ask on, and --standby is missing")
	plan := run("--standby", node(s.DB2), "--dr", node(s.DR), "--plan")
	s.says(plan, "would   write "+toml+": db1 (this node), db2, dr\n", "would   set archive_mode = 'on'\n", "would   set archive_timeout = '60s'\n", "would   install "+s.DB1.Binary())
	if s.DB1.Exists(toml) || s.DB1.SQL("SELECT count(*)::text FROM pg_file_settings WHERE name LIKE 'archive%' AND sourcefile LIKE '%auto.conf'") != "0" {
		t.Errorf("%s\nhas changed something", plan)
	}

	s.DR.StopSSH()
	first := run("--standby", node(s.DB2), "--dr", node(s.DR))
	s.failed(first, 1, "ssh does not work to dr; everything else is done")
	t.Logf("%s", first)
	s.says(first, "done    write "+toml, "ok      ssh to db2 (db2)\n", "failed  ssh to dr (dr): ", "connection refused", "nothing listens on port",
		"done    set archive_command = '"+s.DB1.Binary()+" --home "+s.DB1.Home+" archive %p %f'\n", "needs a restart of the server: archive_mode = on\n", "pg_ctl -D "+s.DB1.PGData+" restart\n")
	s.DR.StartSSH()
	s.DB1.StopServer("fast")
	s.DB1.StartServer()

	again := s.DB1.Must("init")
	s.says(again, "ok      "+toml+" names db1 (this node), db2, dr\n", "ok      ssh to dr (dr)\n", "ok      archive_mode = on\n", "next: warmrun distrib; on db2: warmrun configStandby; here: warmrun copyToStandby --start\n")
	if strings.Contains(again.Stdout, "done ") || strings.Contains(again.Stdout, "restart") {
		t.Errorf("%s\nwant nothing to be left to do", again)
	}
	before, err := os.ReadFile(s.DB1.Path(toml))
	if err != nil {
		t.Fatal(err)
	}
	s.failed(run("--standby", node(s.DB2)), 1, toml+" is there, and says something else than was asked for")
	s.says(run("--standby", node(s.DB2), "--dr", node(s.DR)), "ok      "+toml)
	s.DB1.SQL("ALTER SYSTEM SET archive_command = 'cp %p /mnt/%f'")
	s.failed(s.DB1.Run("init"), 1, `archive_command is "cp %p /mnt/%f" already`)
	s.says(s.DB1.Must("init", "--yes"), "done    set archive_command = ")
	s.says(run("--standby", node(s.DB2), "--overwrite"), "done    keep the old cluster.toml as "+toml+".", "done    write "+toml+": db1 (this node), db2\n")
	s.DB1.Write(toml, string(before))

	s.DB1.Must("distrib")
	s.DB2.Must("configStandby")
	s.DB1.SQL("CREATE TABLE t (i int)")
	s.DB1.Must("copyToStandby", "--start")
	s.write(s.DB1)
	s.follows(s.DB2, s.DB1)
	// What the copy has brought along is put right: the program is elsewhere there.
	check := s.DB2.Run("check")
	s.says(check, "OK        db2      archive_command: archive_command calls warmrun")

	s.DR.Must("configStandby")
	s.DB1.Must("copyToDR")
	s.says(s.DB2.Run("check", "--verify"), "OK        dr       copy: its base copy is as its manifest says", "backup: the last base copy is ")
	changed := filepath.Join(s.DR.PGData, "PG_VERSION")
	version, err := os.ReadFile(s.DR.Path(changed))
	if err != nil {
		t.Fatal(err)
	}
	s.DR.Write(changed, string(version)+"\n")
	s.says(s.DB2.Run("check", "--verify"), "CRITICAL  dr       copy: the copy in "+s.DR.PGData+" is not as it was made: 1 finding", "warmrun verifyCopy on dr")
}

// beforeInit leaves db1 as a server without warmrun, with a program that was
// just unpacked and an account that knows the other hosts.
func (s *state) beforeInit() (program string) {
	s.Helper()
	binary, err := os.ReadFile(s.DB1.Path(s.DB1.Binary()))
	if err != nil {
		s.Fatal(err)
	}
	program = filepath.Join(s.DB1.Dir, "unpacked", "warmrun")
	s.DB1.Write(program, string(binary))
	if err := os.Chmod(s.DB1.Path(program), 0o755); err != nil {
		s.Fatal(err)
	}
	for _, gone := range []string{"bin", "local", "global/cluster.toml"} {
		if err := os.RemoveAll(s.DB1.Path(filepath.Join(s.DB1.Home, gone))); err != nil {
			s.Fatal(err)
		}
	}
	for _, n := range s.Nodes() {
		var config strings.Builder
		for _, to := range s.Nodes() {
			ssh := to.SSH()
			fmt.Fprintf(&config, "Host %s\n  HostName %s\n  Port %d\n  User %s\n  IdentityFile %s\n  UserKnownHostsFile %s\n\n",
				to.Name, to.Address, ssh.SSH.Port, ssh.SSH.User, ssh.SSH.IdentityFile, filepath.Join(filepath.Dir(filepath.Dir(n.AuthorizedKeys())), "known_hosts"))
		}
		n.Write(filepath.Join(n.Dir, ".ssh", "config"), config.String())
	}
	return program
}
