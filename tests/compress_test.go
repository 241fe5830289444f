package tests

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/tests/cluster"
)

// TestCompressedArchives: a whole cluster whose archives are compressed, from
// the base copies over load to a switchover and back, and a server that restores
// with the ordinary tool.
func TestCompressedArchives(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, cluster.Options{})
	path := c.DB1.Path(filepath.Join(c.DB1.Home, "global", "cluster.toml"))
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(text, "\n[archive]\ncompress = 'zstd'\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
	s := &state{T: t, Cluster: c}
	c.DB1.Must("distrib")
	c.DB2.Must("configStandby")
	c.DR.Must("configStandby")
	c.DB1.SQL("CREATE TABLE t (i int)")
	c.DB1.Must("copyToStandby", "--start")
	c.DB1.Must("copyToDR", "--start")

	c.DB1.SQL("CREATE TABLE load AS SELECT i, md5(i::text) AS m FROM generate_series(1, 200000) AS i")
	name := c.DB1.SQL("SELECT pg_walfile_name(pg_current_wal_lsn())")
	c.DB1.SQL("SELECT pg_switch_wal()::text")
	s.write(c.DB1)
	s.follows(c.DB2, c.DB1)
	s.sameAsSource(c.DB2, name)
	c.DB2.Must("rsyncDR")
	s.sameAsSource(c.DR, name)

	c.DB1.Must("switchover", "--yes")
	s.write(c.DB2)
	s.follows(c.DB1, c.DB2)
	c.DB2.Must("switchover", "--yes")
	s.write(c.DB1)
	s.follows(c.DB2, c.DB1)
	c.DB2.Must("rsyncDR")
	s.follows(c.DR, c.DB1)
	if got := c.DB2.SQL("SELECT count(*)::text FROM load"); got != "200000" {
		t.Errorf("the standby has %s rows, want 200000", got)
	}
	for _, n := range c.Nodes() {
		if out := n.Must("wal", "verify").Stdout; !strings.Contains(out, "all is well") {
			t.Errorf("%s: %s", n.Name, out)
		}
	}
	if out := c.DB1.Must("status").Stdout; !strings.Contains(out, "zstd") {
		t.Errorf("status does not show the setting:\n%s", out)
	}
}

// sameAsSource: what the ordinary tool makes of the segment in a node's archive
// is what db1 still has in its pg_wal.
func (s *state) sameAsSource(n *cluster.Node, name string) {
	s.Helper()
	source, err := os.ReadFile(s.DB1.Path(filepath.Join(s.DB1.PGData, "pg_wal", name)))
	if err != nil {
		s.Fatal(err)
	}
	got, err := exec.Command("zstd", "-dc", n.Path(filepath.Join(n.Archive(), name+".zst"))).Output()
	if err != nil || !bytes.Equal(got, source) {
		s.Errorf("%s on %s: zstd -dc gives %d bytes, %v, want the %d of pg_wal", name, n.Name, len(got), err, len(source))
	}
}
