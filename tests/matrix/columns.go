package main

// column is one thing that warmrun does on each version, and the test that shows it.
type column struct {
	head    string
	about   string // for the list below the table
	pkg     string // below the module
	test    string // with a subtest for each major
	part    string // of that subtest; empty means all of it
	passed  string // what a cell says; empty means yes
	systems string // the same for the system's version, which has all programs; empty means passed
}

const (
	clusters = "tests"
	lives    = "TestMajors"
)

// columns is the table's columns. The first three are tests of servers alone, the
// others the parts of one cluster's life, in their order.
var columns = []column{
	{head: "WAL", pkg: "walcore", test: "TestWALOnMajors",
		about: "`pg_control`, records, segments and the end of WAL are read as the server writes them, after a stop, a crash and a promotion"},
	{head: "restore", pkg: "walcore", test: "TestRestoreOnMajors",
		about: "`restore` on real servers: nudged and waiting, with hot standby on and off, `recovery_prefetch` as shipped, damaged segments, archives that are away, both kinds of trigger"},
	{head: "base copy", pkg: "builtins/basebackup", test: "TestCopyOnMajors", systems: "yes, `pg_verifybackup`",
		about: "under load, with two tablespaces and `pg_wal` behind a link, twice; verified, started as a standby, promoted"},
	{head: "standby", pkg: clusters, test: lives, part: "standby",
		about: "archiving over ssh, `copyToStandby` and `copyToDR` with `--verify` and a tablespace, restoring on both, the relay"},
	{head: "watch", pkg: clusters, test: lives, part: "watch",
		about: "`status`, `check` and `why` when all is well, when replay is paused, and when it waits for a query"},
	{head: "point in time", pkg: clusters, test: lives, part: "point in time",
		about: "`backup`, and `restoreTo` a time, an LSN, a transaction, a restore point; targets that cannot be reached are refused"},
	{head: "peek, drill", pkg: clusters, test: lives, part: "peek and drill", systems: "yes, `pg_amcheck`",
		about: "`peek --before`, `drill`"},
	{head: "pause, delay", pkg: clusters, test: lives, part: "pause and delay",
		about: "`pauseReplay`, `resumeReplay`, `delayReplay`"},
	{head: "by hand", pkg: clusters, test: lives, part: "flush and trigger",
		about: "`flushPrimary`, `triggerStandby --archiving`, and the old primary follows when it is started"},
	{head: "switchover", pkg: clusters, test: lives, part: "switchover",
		about: "there and back by log shipping alone, each with its proof and certificate"},
	{head: "hot standby off", pkg: clusters, test: lives, part: "without hot standby",
		about: "a switchover onto a standby that answers no queries"},
	{head: "streaming", pkg: clusters, test: lives, part: "streaming",
		about: "with slots, the DR node from the standby, two switchovers, no relay"},
	{head: "failover", pkg: clusters, test: lives, part: "failover",
		about: "the primary's server killed, nothing lost, and it rejoins by a start"},
	{head: "rejoin", pkg: clusters, test: lives, part: "rejoin", passed: "by copy", systems: "by `pg_rewind`",
		about: "a primary whose host was gone comes back and goes on writing; its own WAL is kept"},
	{head: "DR", pkg: clusters, test: lives, part: "disaster recovery",
		about: "both hosts of the pair gone, the DR node takes over"},
}

// cell is what the table says where the test has passed.
func (c column) cell(system bool) string {
	switch {
	case system && c.systems != "":
		return c.systems
	case c.passed != "":
		return c.passed
	}
	return "yes"
}
