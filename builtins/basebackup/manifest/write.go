package manifest

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"slices"
	"unicode/utf8"
)

// timeLayout is how a manifest has times, always in GMT.
const timeLayout = "2006-01-02 15:04:05 GMT"

// Write writes a manifest line for line as the server does.
func Write(w io.Writer, m Manifest) error { return WriteFiles(w, m, slices.Values(m.Files)) }

// WriteFiles writes a manifest of other files than those that are in it.
func WriteFiles(w io.Writer, m Manifest, files iter.Seq[File]) error {
	sum := sha256.New()
	out := &writer{w: bufio.NewWriter(io.MultiWriter(w, sum))}
	out.printf("{ \"PostgreSQL-Backup-Manifest-Version\": %d,\n", m.Version)
	if m.Version >= Version2 {
		out.printf("\"System-Identifier\": %d,\n", m.SystemID)
	}
	out.printf("\"Files\": [")
	before := ""
	for f := range files {
		out.printf("%s\n", before)
		out.file(f)
		before = ","
	}
	out.printf("\n],\n\"WAL-Ranges\": [\n")
	for i, r := range m.WAL {
		if i > 0 {
			out.printf(",\n")
		}
		out.printf(`{ "Timeline": %d, "Start-LSN": "%s", "End-LSN": "%s" }`, uint32(r.Timeline), r.Start, r.End)
	}
	out.printf("\n],\n")
	if err := out.flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\"Manifest-Checksum\": \"%x\"}\n", sum.Sum(nil))
	return err
}

// writer keeps the first error.
type writer struct {
	w   *bufio.Writer
	err error
}

func (w *writer) printf(format string, args ...any) {
	if w.err == nil {
		_, w.err = fmt.Fprintf(w.w, format, args...)
	}
}

func (w *writer) flush() error {
	if w.err == nil {
		w.err = w.w.Flush()
	}
	return w.err
}

func (w *writer) file(f File) {
	w.printf("{ %s, \"Size\": %d, \"Last-Modified\": \"%s\"", w.path(f.Path), f.Size, f.ModTime.UTC().Format(timeLayout))
	if f.Algorithm != None {
		w.printf(`, "Checksum-Algorithm": "%s", "Checksum": "%x"`, f.Algorithm, f.Checksum)
	}
	w.printf(" }")
}

// path is a path as JSON can have it: a manifest is UTF-8, which a file's name
// need not be.
func (w *writer) path(name string) string {
	if !utf8.ValidString(name) {
		return `"Encoded-Path": "` + hex.EncodeToString([]byte(name)) + `"`
	}
	text, err := json.Marshal(name)
	if err != nil {
		w.err = err
	}
	return `"Path": ` + string(text)
}
