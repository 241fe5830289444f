package basebackup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/warmrun/warmrun/builtins/basebackup/manifest"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
)

// VerifyRequest says which copy Verify checks, and who hears of it.
type VerifyRequest struct {
	// Dir is the data directory of a base copy from which no server has been
	// started: a server changes its files.
	Dir string
	// Ignore lists patterns (filesync.Match) of what in Dir is no part of the
	// copy, such as an archive inside it. What pg_verifybackup ignores is
	// always ignored: the contents of pg_wal, postgresql.auto.conf and the files
	// that make a server a standby; also recovery.conf.
	Ignore []string
	// Workers is how many files are read side by side; 0 is one for each CPU.
	Workers int
	// Progress is called after each file, by one goroutine; it may be nil.
	Progress func(VerifyProgress)
}

// VerifyProgress is how far a check has come.
type VerifyProgress struct {
	Files      int
	TotalFiles int
	Bytes      int64
	TotalBytes int64
}

// VerifyReport is what a check found.
type VerifyReport struct {
	Dir      string `json:"dir"`
	Version  int    `json:"manifest_version"`
	SystemID uint64 `json:"system_identifier,string"` // of pg_control; 0 if it cannot be read
	Files    int    `json:"files"`                    // in the manifest
	Bytes    int64  `json:"bytes"`                    // of those files
	// WAL is what an archive must have before a server can be started.
	WAL []manifest.Range `json:"wal"`
	// Findings are in the order of their paths. None: the copy is as it was
	// made.
	Findings []Finding `json:"findings"`
}

// Problem is what is wrong with a file of a copy.
type Problem string

// The problems that are found.
const (
	Missing    Problem = "missing"    // in the manifest and not in the directory
	Extra      Problem = "extra"      // in the directory and not in the manifest
	Changed    Problem = "changed"    // of another size or content, or no regular file
	Unreadable Problem = "unreadable" // it may be anything
	Foreign    Problem = "foreign"    // of another cluster than the manifest
)

// Finding is one file that is not as the manifest says.
type Finding struct {
	Problem Problem `json:"problem"`
	Path    string  `json:"path"` // below the data directory
	Detail  string  `json:"detail,omitempty"`
}

// String is the finding in one line.
func (f Finding) String() string {
	if f.Detail == "" {
		return fmt.Sprintf("%s: %s", f.Path, f.Problem)
	}
	return fmt.Sprintf("%s: %s: %s", f.Path, f.Problem, f.Detail)
}

// ErrNoManifest says that there is nothing to compare a directory with.
var ErrNoManifest = errors.New("there is no backup manifest")

// Verify compares a base copy with its manifest, as pg_verifybackup does, for
// copies of every server version and also for backups that pg_basebackup made.
// It reads every byte of the copy, changes nothing, and looks at no WAL.
//
// What is wrong with the copy is in the report. An error is an ErrNoManifest, a
// manifest.ErrDamaged, or says that the directory cannot be read.
func Verify(ctx context.Context, r VerifyRequest) (VerifyReport, error) {
	m, err := readManifest(r.Dir)
	if err != nil {
		return VerifyReport{}, err
	}
	v := &verification{VerifyRequest: r, listed: map[string]manifest.File{}, seen: map[string]bool{}}
	v.report = VerifyReport{Dir: r.Dir, Version: m.Version, WAL: m.WAL, Findings: []Finding{}}
	for _, f := range m.Files {
		v.listed[f.Path] = f
		v.report.Files++
		v.report.Bytes += f.Size
	}
	v.checkCluster(m)
	if err := v.walk(ctx, ".", r.Dir); err != nil {
		return VerifyReport{}, err
	}
	for name := range v.listed {
		if !v.seen[name] && !v.ignored(name, false) {
			v.find(Missing, name, "")
		}
	}
	if err := v.read(ctx); err != nil {
		return VerifyReport{}, err
	}
	slices.SortFunc(v.report.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Problem, b.Problem))
	})
	return v.report, nil
}

func readManifest(dir string) (manifest.Manifest, error) {
	path := filepath.Join(dir, manifest.Name)
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(dir); err != nil {
			return manifest.Manifest{}, err
		}
		return manifest.Manifest{}, hint.Wrap(fmt.Errorf("%s: %w", dir, ErrNoManifest),
			"a base copy that was not completed has none: run the copy again, it goes on from what is there")
	}
	if err != nil {
		return manifest.Manifest{}, err
	}
	m, err := manifest.Parse(content)
	if err != nil {
		return manifest.Manifest{}, hint.Wrap(fmt.Errorf("%s: %w", path, err),
			"without its manifest a copy cannot be verified; run the copy again, it sends only what differs")
	}
	return m, nil
}

// verification is one run of Verify.
type verification struct {
	VerifyRequest
	listed map[string]manifest.File
	seen   map[string]bool
	jobs   []fileJob
	report VerifyReport
}

func (v *verification) find(p Problem, name, format string, args ...any) {
	v.report.Findings = append(v.report.Findings, Finding{p, name, fmt.Sprintf(format, args...)})
}

// checkCluster compares the cluster of a manifest with that of the directory.
func (v *verification) checkCluster(m manifest.Manifest) {
	control, err := walcore.ReadControlFile(v.Dir)
	if err != nil {
		return // a file that is missing or changed is found as every other
	}
	v.report.SystemID = control.SystemID
	if m.Version >= manifest.Version2 && m.SystemID != control.SystemID {
		v.find(Foreign, controlFile, "it has system identifier %d, the manifest %d", control.SystemID, m.SystemID)
	}
}
