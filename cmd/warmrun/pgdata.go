package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// checkData refuses a command that names another data directory than the one
// that it would work on: with cluster.toml that is the one given there, and
// whoever has set PGDATA for another cluster means that other one. word is the
// command. The error is a usage error.
func checkData(around cluster.Surroundings, site *cluster.Site, word string) error {
	if site.Layout != cluster.LayoutTOML {
		return nil // what is named is what the site works on
	}
	self := site.Self
	named, from, next := namedData(around, self, word)
	if named == "" || sameData(named, self.PGData) {
		return nil
	}
	return usageError{hint.Wrap(fmt.Errorf("%s %s, and the data directory of %s is %s (%s)", from, named, self.Name, self.PGData, site.Global("cluster.toml")),
		"%s; for another cluster name its home with --home", next)}
}

// namedData is the data directory that counts for a command, who names it, and
// what to do where it is the wrong one; empty where nobody does.
//
// A server runs its commands in its data directory, and its environment may
// say anything: Debian's PGDATA can be the directory of the configuration. It
// may restore from this archive whatever server it is, and the agent has
// nothing to do with a data directory.
func namedData(around cluster.Surroundings, self cluster.Node, word string) (dir, from, next string) {
	switch {
	case around.PGData != "" && (word == "call" || word == "agent"):
		return around.PGData, "the node that calls names", "the cluster.toml of the two nodes differ: correct one of them, and run warmrun distrib there"
	case around.PGData != "":
		return around.PGData, "--pgdata names", fmt.Sprintf("leave --pgdata out, or give %s", self.PGData)
	}
	switch word {
	case "restore", "pg_standby", "fetch", "agent":
		return "", "", ""
	case "archive":
		if _, err := os.Stat(filepath.Join(around.WorkDir, "PG_VERSION")); err == nil {
			return around.WorkDir, "the server that runs this works in", "give that server an archive_command of its own, or archive_mode = off"
		}
	}
	return around.Getenv("PGDATA"), "$PGDATA names", fmt.Sprintf("unset PGDATA, or set it to %s", self.PGData)
}

// otherHome is a warning where the home in use is not the one that cluster.toml
// names for this node: what other nodes call, and the archive and the trigger
// file that follow from it, lie in that one.
func otherHome(site *cluster.Site) string {
	self := site.Self
	if site.Layout != cluster.LayoutTOML || sameData(site.Home, self.Home) {
		return ""
	}
	return fmt.Sprintf("the home in use is %s, and by cluster.toml that of %s is %s, where the other nodes look for it; write home = %q below %s there and run warmrun distrib, or use --home %s",
		site.Home, self.Name, self.Home, site.Home, self.Name, self.Home)
}

// typed reports whether a person has called a command, and not a server or
// another node.
func typed(word string) bool {
	switch word {
	case "archive", "restore", "pg_standby", "fetch", "shipper", "agent":
		return false
	}
	return slices.Contains(nativeNames(), word) || !isNative(word)
}

// sameData reports whether two paths lead to the same directory, also one that
// is not there yet.
func sameData(a, b string) bool {
	if absolute, err := filepath.Abs(a); err == nil && absolute == filepath.Clean(b) {
		return true
	}
	first, errFirst := os.Stat(a)
	second, errSecond := os.Stat(b)
	return errFirst == nil && errSecond == nil && os.SameFile(first, second)
}
