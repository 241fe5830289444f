package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// twoTrees are a small tree and the same once more.
func twoTrees(t *testing.T) (*tree, string) {
	t.Helper()
	root, copied := filepath.Join(t.TempDir(), "root"), filepath.Join(t.TempDir(), "copy")
	if err := os.MkdirAll(root, 0o700); err != nil {
		t.Fatal(err)
	}
	made, err := randomTree(root, group{3, 20_000}, group{1, 3 * pageSize}, group{1, 0})
	if err != nil {
		t.Fatal(err)
	}
	if want := int64(3*20_000 + 3*pageSize); made.bytes != want {
		t.Fatalf("the tree has %d bytes, want %d", made.bytes, want)
	}
	if err := os.CopyFS(copied, os.DirFS(root)); err != nil {
		t.Fatal(err)
	}
	return made, copied
}

// TestVerify: whatever a copy has otherwise is found.
func TestVerify(t *testing.T) {
	made, copied := twoTrees(t)
	if err := made.verify(copied); err != nil {
		t.Fatalf("an equal copy: %v", err)
	}
	for _, test := range []struct {
		what, want string
		damage     func(dir string) error
	}{
		{"a flipped byte", "differ", func(dir string) error { return flip(filepath.Join(dir, "000001"), 19_999) }},
		{"a short file", "differ", func(dir string) error { return os.Truncate(filepath.Join(dir, "000002"), 19_999) }},
		{"a file more", "is not in", func(dir string) error { return os.WriteFile(filepath.Join(dir, "more"), nil, 0o600) }},
		{"a file less", "is missing", func(dir string) error { return os.Remove(filepath.Join(dir, "000004")) }},
		{"a link", "of another kind", func(dir string) error {
			path := filepath.Join(dir, "000000")
			if err := os.Remove(path); err != nil {
				return err
			}
			return os.Symlink("000001", path)
		}},
	} {
		made, copied := twoTrees(t)
		if err := test.damage(filepath.Join(copied, "000")); err != nil {
			t.Fatal(err)
		}
		if err := made.verify(copied); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: the error is %v, want one with %q", test.what, err, test.want)
		}
	}
}

// TestChangedPages: 12 pages in all, of which two differ and the last one of a
// file was not there.
func TestChangedPages(t *testing.T) {
	made, copied := twoTrees(t)
	dir := filepath.Join(copied, "000")
	for _, at := range []int64{0, pageSize + 1, pageSize + 2} {
		if err := flip(filepath.Join(dir, "000000"), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Truncate(filepath.Join(dir, "000003"), 2*pageSize); err != nil {
		t.Fatal(err)
	}
	got, err := made.changed(copied)
	if want := 100 * 3.0 / 12; err != nil || got != want {
		t.Errorf("changed %v %%, %v; want %v %%", got, err, want)
	}
}

func flip(path string, at int64) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	data[at] ^= 1
	return os.WriteFile(path, data, 0o600)
}
