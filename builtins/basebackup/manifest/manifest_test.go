package manifest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

func sample(version int) Manifest {
	m := Manifest{
		Version: version,
		Files: []File{
			{Path: "backup_label", Size: 9, ModTime: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Algorithm: CRC32C, Checksum: sum(CRC32C, "123456789")},
			{Path: "odd \"name\"\n\\<&>", Size: 0, ModTime: time.Unix(0, 0).UTC(), Algorithm: SHA256, Checksum: sum(SHA256, "")},
			{Path: "base/1/latin-\xe9", Size: 1 << 40, ModTime: time.Unix(1, 0).UTC(), Algorithm: None},
		},
		WAL: []Range{{1, 0x2000028, 0x3000000}, {2, 0x3000000, 0x5_00000138}},
	}
	if version == Version2 {
		m.SystemID = 1<<64 - 1
	}
	return m
}

func sum(a Algorithm, content string) []byte {
	h := a.New()
	h.Write([]byte(content))
	return h.Sum(nil)
}

func TestWriteAndParse(t *testing.T) {
	t.Parallel()
	for _, version := range []int{Version1, Version2} {
		want := sample(version)
		var b bytes.Buffer
		if err := Write(&b, want); err != nil {
			t.Fatal(err)
		}
		got, err := Parse(b.Bytes())
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("version %d: got %+v, %v, want %+v\n%s", version, got, err, want, b.String())
		}
	}
	var b bytes.Buffer
	empty := Manifest{Version: Version1, Files: []File{}}
	if err := Write(&b, empty); err != nil {
		t.Fatal(err)
	}
	if got, err := Parse(b.Bytes()); err != nil || !reflect.DeepEqual(got, empty) {
		t.Errorf("got %+v, %v, want an empty manifest", got, err)
	}
}

// TestLines compares with the lines that a server writes.
func TestLines(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := Write(&b, sample(Version2)); err != nil {
		t.Fatal(err)
	}
	want := `{ "PostgreSQL-Backup-Manifest-Version": 2,
"System-Identifier": 18446744073709551615,
"Files": [
{ "Path": "backup_label", "Size": 9, "Last-Modified": "2026-01-02 03:04:05 GMT", "Checksum-Algorithm": "CRC32C", "Checksum": "839206e3" },
`
	if got := b.String(); !strings.HasPrefix(got, want) {
		t.Errorf("got\n%s\nwant it to begin with\n%s", got, want)
	}
	tail := `{ "Encoded-Path": "626173652f312f6c6174696e2de9", "Size": 1099511627776, "Last-Modified": "1970-01-01 00:00:01 GMT" }
],
"WAL-Ranges": [
{ "Timeline": 1, "Start-LSN": "0/2000028", "End-LSN": "0/3000000" },
{ "Timeline": 2, "Start-LSN": "0/3000000", "End-LSN": "5/138" }
],
"Manifest-Checksum": "`
	if !strings.Contains(b.String(), tail) {
		t.Errorf("got\n%s\nwant in it\n%s", b.String(), tail)
	}
}

// TestDamage: a manifest of which any byte was changed, or an end lost, is not
// taken for one.
func TestDamage(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := Write(&b, sample(Version1)); err != nil {
		t.Fatal(err)
	}
	whole := b.Bytes()
	for i := range whole {
		content := bytes.Clone(whole)
		content[i] ^= 1
		if _, err := Parse(content); err == nil {
			t.Errorf("byte %d of %d flipped, and nobody saw it", i, len(whole))
		}
		if _, err := Parse(whole[:i]); !errors.Is(err, ErrDamaged) {
			t.Errorf("cut at %d: got %v, want ErrDamaged", i, err)
		}
	}
	if _, err := Parse(append(bytes.Clone(whole), whole...)); !errors.Is(err, ErrDamaged) {
		t.Errorf("twice the same: got %v, want ErrDamaged", err)
	}
}

// signed gives a text the checksum that a manifest ends with.
func signed(body string) []byte {
	return fmt.Appendf(nil, "%s\"Manifest-Checksum\": \"%x\"}\n", body, sha256.Sum256([]byte(body)))
}

// TestRefused: a manifest whose checksum is right can still say what must not
// be believed.
func TestRefused(t *testing.T) {
	t.Parallel()
	const when = `"Last-Modified": "2026-01-02 03:04:05 GMT"`
	for name, c := range map[string]struct{ version, file, want string }{
		"sound":            {"1", `{"Path": "a", "Size": 1, ` + when + `}`, ""},
		"out":              {"1", `{"Path": "../a", "Size": 1, ` + when + `}`, "leads out"},
		"absolute":         {"1", `{"Path": "/etc/passwd", "Size": 1, ` + when + `}`, "leads out"},
		"encoded out":      {"1", `{"Encoded-Path": "2e2e2f61", "Size": 1, ` + when + `}`, "leads out"},
		"no path":          {"1", `{"Size": 1, ` + when + `}`, "no path"},
		"two paths":        {"1", `{"Path": "a", "Encoded-Path": "61", "Size": 1, ` + when + `}`, "no path, or two"},
		"no hexadecimal":   {"1", `{"Encoded-Path": "6", "Size": 1, ` + when + `}`, "encoded as"},
		"no size":          {"1", `{"Path": "a", ` + when + `}`, "no size"},
		"negative":         {"1", `{"Path": "a", "Size": -1, ` + when + `}`, "no size"},
		"no time":          {"1", `{"Path": "a", "Size": 1}`, "a time"},
		"half a checksum":  {"1", `{"Path": "a", "Size": 1, "Checksum": "00000000", ` + when + `}`, "half of a checksum"},
		"unknown checksum": {"1", `{"Path": "a", "Size": 1, "Checksum": "00000000", "Checksum-Algorithm": "MD5", ` + when + `}`, `by "MD5"`},
		"short checksum":   {"1", `{"Path": "a", "Size": 1, "Checksum": "0000", "Checksum-Algorithm": "crc32c", ` + when + `}`, "2 bytes"},
		"twice":            {"1", `{"Path": "a", "Size": 1, ` + when + `}, {"Path": "a", "Size": 2, ` + when + `}`, "twice"},
		"unknown field":    {"1", `{"Path": "a", "Size": 1, "Owner": "root", ` + when + `}`, "unknown field"},
		"unknown version":  {"3", `{"Path": "a", "Size": 1, ` + when + `}`, "version 3"},
		"no identifier":    {"2", `{"Path": "a", "Size": 1, ` + when + `}`, "version 2"},
	} {
		body := `{ "PostgreSQL-Backup-Manifest-Version": ` + c.version + ",\n\"Files\": [" + c.file + "],\n\"WAL-Ranges\": [],\n"
		_, err := Parse(signed(body))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	var b bytes.Buffer
	if err := Write(&b, sample(Version2)); err != nil {
		f.Fatal(err)
	}
	body, _, _ := strings.Cut(b.String(), "\"Manifest-Checksum\"")
	f.Add(body)
	f.Fuzz(func(t *testing.T, body string) {
		m, err := Parse(signed(body))
		if err != nil {
			return
		}
		// What was read can be written, and is read as the same.
		var b bytes.Buffer
		if err := Write(&b, m); err != nil {
			t.Fatal(err)
		}
		again, err := Parse(b.Bytes())
		if err != nil || len(again.Files) != len(m.Files) || len(again.WAL) != len(m.WAL) {
			t.Errorf("got %+v, %v, want %+v", again, err, m)
		}
	})
}
