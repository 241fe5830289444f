package tests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/builtins/basebackup"
	"github.com/warmrun/warmrun/builtins/pgctl"
	"github.com/warmrun/warmrun/tests/cluster"
)

// TestCopyOfDamagedPrimary: a base copy finds the page that the disk damaged and
// names it, also to the one who types; nothing on the standby can be started
// until he says that the page is to be copied as it is.
func TestCopyOfDamagedPrimary(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, cluster.Options{})
	c.DB1.Must("distrib")
	c.DB2.Must("configStandby")
	c.DB1.SQL("CREATE TABLE accounts AS SELECT i AS id, repeat('x', 200) AS filler FROM generate_series(1, 20000) i")
	c.DB1.SQL("VACUUM accounts")
	table := c.DB1.SQL("SELECT pg_relation_filepath('accounts')")
	c.DB1.StopServer("fast")
	flipByte(t, c.DB1.Path(filepath.Join(c.DB1.PGData, table)), 3*8192+4000)
	c.DB1.StartServer()

	r := c.DB1.Run("copyToStandby", "--start")
	for _, want := range []string{"block 3 of public.accounts in database postgres (" + table + ")", "--allow-bad-pages", "the backup was ended on the server"} {
		if r.Code != 1 || !strings.Contains(strings.Join(strings.Fields(r.Stderr), " "), want) {
			t.Errorf("want exit status 1 and %q:\n%s", want, r)
		}
	}
	if control := filepath.Join(c.DB2.PGData, "global/pg_control"); c.DB2.Exists(control) {
		t.Errorf("a failed copy left %s", control)
	}

	r = c.DB1.Must("copyToStandby", "--allow-bad-pages")
	if want := "WARNING: copied as it is: block 3 of public.accounts"; !strings.Contains(r.Stdout, want) {
		t.Errorf("want %q:\n%s", want, r)
	}
	report, err := basebackup.Verify(t.Context(), basebackup.VerifyRequest{
		Dir:    c.DB2.Path(c.DB2.PGData),
		Ignore: []string{"/postgresql.conf"}, // it has got what makes the node a standby
	})
	if err != nil || report.Files == 0 || len(report.Findings) > 0 {
		t.Errorf("the copy is not as its manifest says: %+v, %v", report.Findings, err)
	}
	bin, _, err := pgctl.NewestBinDir(10, "")
	if err != nil {
		t.Fatal(err)
	}
	verified := c.DB2.Exec(filepath.Join(bin, "pg_verifybackup"), "-i", "postgresql.conf", "-w", filepath.Join(c.DB2.Home, "archive"), c.DB2.PGData)
	if verified.Code != 0 || !strings.Contains(verified.Stdout, "backup successfully verified") {
		t.Errorf("%s", verified)
	}
	c.DB2.StartServer()
	c.DB2.WaitReplay(c.DB1, time.Minute)
}

// flipByte damages a file as a disk does.
func flipByte(t *testing.T, file string, offset int64) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	if _, err = f.ReadAt(b, offset); err == nil {
		b[0] ^= 0xff
		_, err = f.WriteAt(b, offset)
	}
	if closeErr := f.Close(); err != nil || closeErr != nil {
		t.Fatal(err, closeErr)
	}
}
