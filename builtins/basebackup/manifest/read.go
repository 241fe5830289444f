package manifest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"time"

	"github.com/warmrun/warmrun/walcore"
)

// ErrDamaged says that a manifest is not what was written.
var ErrDamaged = errors.New("the backup manifest is damaged")

// document is a manifest as JSON.
type document struct {
	Version  int         `json:"PostgreSQL-Backup-Manifest-Version"`
	SystemID *uint64     `json:"System-Identifier"`
	Files    []fileEntry `json:"Files"`
	WAL      []walEntry  `json:"WAL-Ranges"`
	Checksum string      `json:"Manifest-Checksum"`
}

type fileEntry struct {
	Path      *string `json:"Path"`
	Encoded   *string `json:"Encoded-Path"`
	Size      *int64  `json:"Size"`
	Modified  string  `json:"Last-Modified"`
	Algorithm *string `json:"Checksum-Algorithm"`
	Checksum  *string `json:"Checksum"`
}

type walEntry struct {
	Timeline uint32      `json:"Timeline"`
	Start    walcore.LSN `json:"Start-LSN"`
	End      walcore.LSN `json:"End-LSN"`
}

// Parse reads a manifest, also one that PostgreSQL wrote. It trusts nothing
// that its checksum does not cover, and no path that leads out of the data
// directory. The error is an ErrDamaged unless the version is unknown.
func Parse(content []byte) (Manifest, error) {
	var d document
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		return Manifest{}, damaged("%v", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Manifest{}, damaged("more follows after its end")
	}
	if err := checkSum(content, d.Checksum); err != nil {
		return Manifest{}, err
	}
	m := Manifest{Version: d.Version, Files: make([]File, 0, len(d.Files))}
	switch {
	case d.Version == Version2 && d.SystemID != nil:
		m.SystemID = *d.SystemID
	case d.Version != Version1 || d.SystemID != nil:
		return Manifest{}, fmt.Errorf("version %d of the backup manifest's format is not known", d.Version)
	}
	seen := make(map[string]bool, len(d.Files))
	for _, e := range d.Files {
		f, err := e.file()
		if err != nil {
			return Manifest{}, err
		}
		if seen[f.Path] {
			return Manifest{}, damaged("it lists %q twice", f.Path)
		}
		seen[f.Path] = true
		m.Files = append(m.Files, f)
	}
	for _, w := range d.WAL {
		m.WAL = append(m.WAL, Range{walcore.Timeline(w.Timeline), w.Start, w.End})
	}
	return m, nil
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// checkSum compares the checksum in the last line with that of all lines
// before it.
func checkSum(content []byte, stated string) error {
	body, ended := bytes.CutSuffix(content, []byte("\n"))
	if !ended {
		return damaged("its last line has no end")
	}
	body = body[:bytes.LastIndexByte(body, '\n')+1]
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != stated {
		return damaged("its checksum is %x, but it says %q", sum, stated)
	}
	return nil
}

func (e fileEntry) file() (File, error) {
	name, err := e.name()
	if err != nil {
		return File{}, err
	}
	if e.Size == nil || *e.Size < 0 {
		return File{}, damaged("%q has no size", name)
	}
	f := File{Path: name, Size: *e.Size, Algorithm: None}
	if f.ModTime, err = time.Parse(timeLayout, e.Modified); err != nil {
		return File{}, damaged("%q has a time %q", name, e.Modified)
	}
	if e.Algorithm == nil && e.Checksum == nil {
		return f, nil
	}
	if e.Algorithm == nil || e.Checksum == nil {
		return File{}, damaged("%q has only half of a checksum", name)
	}
	known := false
	if f.Algorithm, known = parseAlgorithm(*e.Algorithm); !known {
		return File{}, damaged("%q has a checksum by %q", name, *e.Algorithm)
	}
	if f.Checksum, err = hex.DecodeString(*e.Checksum); err != nil {
		return File{}, damaged("%q has a checksum %q", name, *e.Checksum)
	}
	if h := f.Algorithm.New(); h != nil && h.Size() != len(f.Checksum) {
		return File{}, damaged("%q has a checksum of %d bytes", name, len(f.Checksum))
	}
	return f, nil
}

func (e fileEntry) name() (string, error) {
	name := ""
	switch {
	case e.Path != nil && e.Encoded == nil:
		name = *e.Path
	case e.Path == nil && e.Encoded != nil:
		raw, err := hex.DecodeString(*e.Encoded)
		if err != nil {
			return "", damaged("a path is encoded as %q", *e.Encoded)
		}
		name = string(raw)
	default:
		return "", damaged("a file has no path, or two")
	}
	if !filepath.IsLocal(name) || path.Clean(name) != name || name == "." {
		return "", damaged("path %q leads out of the data directory or is not in its shortest form", name)
	}
	return name, nil
}
