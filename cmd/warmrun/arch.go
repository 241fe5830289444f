package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/warmrun/warmrun/builtins/remote"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// checkMachine refuses to bring this binary to a node whose processor or system
// could not run it.
func checkMachine(ctx context.Context, client *remote.Client, node cluster.Node) error {
	out, err := client.Output(ctx, "uname -sm", nil)
	if err != nil {
		return fmt.Errorf("see what machine it is: uname -sm: %w", err)
	}
	machine := strings.TrimSpace(string(out))
	if runsOn(runtime.GOOS, runtime.GOARCH, machine) {
		return nil
	}
	return hint.Wrap(fmt.Errorf("%s is a machine of another kind (uname -sm says %q), and this program was built for %s/%s", node.Name, machine, runtime.GOOS, runtime.GOARCH),
		"nothing was copied there; build warmrun for it (GOARCH=... make build) and put that into %s", node.Binary())
}

// machines are the names that uname -m has for what Go calls an architecture.
var machines = map[string][]string{
	"amd64":   {"x86_64", "amd64"},
	"386":     {"i386", "i486", "i586", "i686", "x86_64", "amd64"},
	"arm64":   {"aarch64", "arm64"},
	"arm":     {"armv6l", "armv7l", "armv8l"},
	"loong64": {"loongarch64"},
}

// runsOn reports whether a program for an architecture runs on a machine, in
// the words of uname -sm.
func runsOn(system, arch, uname string) bool {
	names := machines[arch]
	if names == nil {
		names = []string{arch} // ppc64le, s390x, riscv64 have one name
	}
	words := strings.Fields(uname)
	return len(words) == 2 && strings.EqualFold(words[0], system) && slices.Contains(names, words[1])
}
