package pgctl

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Libc is the C library of this host and its version, as getconf(1) tells it,
// which comes with glibc. Empty is another library.
func Libc(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "getconf", "GNU_LIBC_VERSION").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// Preloads are the modules that a value of shared_preload_libraries names, as
// Libraries lists them. What is named by a path is left out.
func Preloads(setting string) []string {
	var names []string
	for name := range strings.SplitSeq(setting, ",") {
		name = strings.Trim(strings.TrimSpace(name), `"`)
		if name = strings.TrimPrefix(strings.TrimSuffix(name, ".so"), "$libdir/"); name != "" && !strings.Contains(name, "/") {
			names = append(names, name)
		}
	}
	return names
}

// Libraries lists the modules in the directory that $libdir stands for, without
// ".so", and names that directory. It is known by plpgsql, which every server
// has: packages put it in different places beside the programs.
func (s Server) Libraries() (dir string, names []string, err error) {
	bin, err := s.binDir()
	if err != nil {
		return "", nil, err
	}
	bin = linkedFrom(bin)
	for _, below := range []string{"lib", "lib/postgresql", "lib64", "lib64/pgsql", "lib/pgsql", "lib64/postgresql"} {
		dir := filepath.Join(filepath.Dir(bin), below)
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, entry := range entries {
			if name, ok := strings.CutSuffix(entry.Name(), ".so"); ok {
				names = append(names, name)
			}
		}
		if slices.Contains(names, "plpgsql") {
			return dir, names, nil
		}
		names = nil
	}
	return "", nil, fmt.Errorf("no directory beside %s has plpgsql.so", bin)
}
