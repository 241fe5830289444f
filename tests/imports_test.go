// Package tests holds what can only be seen from outside: the rules of the
// house, and whole clusters on real servers.
package tests

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/warmrun/warmrun"

// Third-party modules, by the import path they are known by.
const (
	xSys        = "golang.org/x/sys"
	xSync       = "golang.org/x/sync"
	xTerm       = "golang.org/x/term"
	xSSH        = "golang.org/x/crypto/ssh"
	compression = "github.com/klauspost/compress"
	lz4         = "github.com/pierrec/lz4/v4"
	blake3      = "github.com/zeebo/blake3"
	xxhash      = "github.com/cespare/xxhash/v2"
)

// rule says what the packages of one part of the house may import. A name
// stands for the package and everything below it.
type rule struct {
	part  string   // import path below the module
	ours  []string // parts of ours; the part itself is always allowed
	third []string
}

// rules is the import table. The first rule whose part holds a package counts,
// so narrower parts come first. walcore/hint, which attaches advice to errors,
// is open to all.
var rules = []rule{
	{part: "walcore/cluster", ours: []string{"walcore"}, third: []string{"github.com/pelletier/go-toml/v2"}},
	{part: "walcore", third: []string{xSys, "github.com/fsnotify/fsnotify", compression, lz4, blake3, xxhash}},
	{part: "engine/journal", ours: []string{"walcore/atomicfile"}, third: []string{xSys}},
	{part: "engine", ours: []string{"walcore/atomicfile"},
		third: []string{"github.com/yuin/gopher-lua", "layeh.com/gopher-luar"}},
	{part: "builtins/remote", ours: []string{"walcore/cluster", "walcore/procstat"},
		third: []string{xSSH, xSys, xTerm, "github.com/kevinburke/ssh_config", "github.com/skeema/knownhosts"}},
	{part: "builtins/filesync", ours: []string{"walcore/atomicfile", "walcore/procstat"}, third: []string{xSys, xSync, compression, blake3, xxhash}},
	{part: "builtins/psql", ours: []string{"=walcore", "walcore/cluster", "walcore/atomicfile"}, third: []string{xSys, "github.com/jackc/pgx/v5"}},
	{part: "builtins/pgctl", ours: []string{"=walcore", "walcore/cluster", "walcore/atomicfile", "walcore/procstat"}, third: []string{xSys}},
	{part: "builtins/basebackup", ours: []string{"walcore", "builtins/filesync", "builtins/psql", "builtins/pgctl", "builtins/remote"}},
	{part: "builtins/backups", ours: []string{"walcore", "builtins/basebackup", "builtins/filesync"}},
	{part: "builtins/scratch", ours: []string{"walcore", "builtins/backups", "builtins/psql", "builtins/pgctl"}},
	{part: "builtins/health", ours: []string{"walcore", "builtins/filesync", "builtins/psql", "builtins/pgctl", "builtins/remote"}},
	{part: "builtins/standby", ours: []string{"walcore", "builtins/psql", "builtins/pgctl"}},
	{part: "builtins/trust", ours: []string{"walcore/atomicfile"}, third: []string{xSSH}},
	{part: "builtins/lab", ours: []string{"walcore/cluster", "walcore/atomicfile", "walcore/procstat", "builtins/pgctl", "builtins/remote", "builtins/psql"},
		third: []string{xSSH}},
	{part: "runbooks"},
	{part: "cmd", ours: []string{"walcore", "engine", "builtins", "runbooks"},
		third: []string{"github.com/alecthomas/kong", "github.com/cheggaaa/pb/v3", "github.com/rogpeppe/go-internal/diff", xSys, xTerm}},
	{part: "tests/bench", ours: []string{"walcore", "builtins"}, third: []string{xSys, compression}},
	{part: "tests", ours: []string{"walcore", "engine", "builtins", "runbooks"},
		third: []string{xSys, xSync, xSSH, compression, "github.com/jackc/pgx/v5"}},
}

// never lists what not even a test file may do, because it would turn the
// house upside down.
var never = []struct{ part, imports, why string }{
	{"walcore", "engine", "walcore knows no Lua"},
	{"walcore", "builtins", "walcore is below the builtins"},
	{"engine", "builtins", "cmd/warmrun alone brings the engine and the builtins together"},
	{"builtins", "engine", "cmd/warmrun alone brings the engine and the builtins together"},
	{"", "cmd", "nothing imports the program"},
	{"cmd", "tests", "the program does not hold its tests"},
}

// TestImports holds the import table.
func TestImports(t *testing.T) {
	t.Parallel()
	packages := listPackages(t)
	if len(packages) < 5 {
		t.Fatalf("go list found %d packages, which cannot be all of them", len(packages))
	}
	for _, p := range packages {
		self := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		r, ok := ruleOf(self)
		if !ok {
			t.Errorf("%s: no rule of the import table covers this package; add one", self)
			continue
		}
		for _, imported := range p.Imports {
			if complaint := r.complain(imported); complaint != "" {
				t.Errorf("%s imports %s: %s", self, imported, complaint)
			}
		}
		for _, imported := range p.all() {
			if complaint := breaksNever(self, imported); complaint != "" {
				t.Errorf("%s imports %s: %s", self, imported, complaint)
			}
		}
	}
}

// TestImportTableBites makes sure that the table would notice.
func TestImportTableBites(t *testing.T) {
	for _, test := range []struct {
		part, imported string
		allowed        bool
	}{
		{"walcore", "fmt", true},
		{"walcore/ship", module + "/walcore/cluster", true},
		{"walcore/ship", module + "/walcore/storetest", false},
		{"walcore", module + "/engine", false},
		{"walcore", "github.com/pelletier/go-toml/v2", false},
		{"walcore/cluster", "github.com/pelletier/go-toml/v2", true},
		{"engine", module + "/walcore/hint", true},
		{"engine", module + "/walcore", false},
		{"engine/journal", module + "/engine", false},
		{"engine", "github.com/alecthomas/kong", false},
		{"builtins/pgctl", module + "/walcore", true},
		{"builtins/pgctl", module + "/walcore/ship", false},
		{"builtins/pgctl", "github.com/jackc/pgx/v5", false},
		{"builtins/psql", "github.com/jackc/pgx/v5/pgconn", true},
		{"builtins/lab", "golang.org/x/crypto/ssh", true},
		{"builtins/lab", "golang.org/x/crypto/sshfoo", false},
		{"builtins/remote", module + "/builtins/pgctl", false},
		{"cmd/warmrun", module + "/builtins/health", true},
		{"cmd/warmrun", module + "/tests/cluster", false},
		{"cmd/warmrun", "github.com/yuin/gopher-lua", false},
		{"tests/bench", module + "/builtins/psql", true},
		{"tests/bench", module + "/engine", false},
	} {
		r, ok := ruleOf(test.part)
		if !ok {
			t.Fatalf("no rule for %s", test.part)
		}
		if got := r.complain(test.imported) == ""; got != test.allowed {
			t.Errorf("%s imports %s: allowed %v, want %v", test.part, test.imported, got, test.allowed)
		}
	}
}

func ruleOf(part string) (rule, bool) {
	for _, r := range rules {
		if within(part, r.part) {
			return r, true
		}
	}
	return rule{}, false
}

// complain says which rule an import breaks, or nothing.
func (r rule) complain(imported string) string {
	first, _, _ := strings.Cut(imported, "/")
	part, ours := strings.CutPrefix(imported, module+"/")
	switch {
	case !ours && !strings.Contains(first, "."):
		return "" // the standard library
	case !ours:
		for _, allowed := range r.third {
			if within(imported, allowed) {
				return ""
			}
		}
		return fmt.Sprintf("the import table gives %s these modules: %s", r.part, list(r.third))
	case strings.HasSuffix(part, "test") && r.part != "tests":
		return "packages for tests are imported by test files only"
	case within(part, r.part), part == "walcore/hint":
		return ""
	}
	for _, allowed := range r.ours {
		if exact, only := strings.CutPrefix(allowed, "="); only && part == exact || !only && within(part, allowed) {
			return ""
		}
	}
	return fmt.Sprintf("the import table gives %s these parts of ours: %s", r.part, list(r.ours))
}

func breaksNever(self, imported string) string {
	part, ours := strings.CutPrefix(imported, module+"/")
	if !ours {
		return ""
	}
	for _, n := range never {
		if (n.part == "" || within(self, n.part)) && within(part, n.imports) && !within(self, n.imports) {
			return n.why
		}
	}
	return ""
}

func within(path, part string) bool {
	return path == part || strings.HasPrefix(path, part+"/")
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

type goPackage struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func (p goPackage) all() []string {
	return append(append(append([]string{}, p.Imports...), p.TestImports...), p.XTestImports...)
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	// -e: a package that does not build is the compiler's to report.
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports", module+"/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []goPackage
	decoder := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p goPackage
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		packages = append(packages, p)
	}
}
