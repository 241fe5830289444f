package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSize(t *testing.T) {
	tests := []struct {
		text string
		want Size // 0: refused
		back string
	}{
		{"200GB", 200 << 30, "200GB"},
		{"1TB", 1 << 40, "1TB"},
		{"2048MB", 2 << 30, "2GB"},
		{"512 MB", 512 << 20, "512MB"},
		{"1000kB", 1000 << 10, "1000kB"},
		{"16777217B", 16777217, "16777217B"},
		{"200", 0, ""},
		{"", 0, ""},
		{"GB", 0, ""},
		{"0GB", 0, ""},
		{"-1GB", 0, ""},
		{"1.5GB", 0, ""},
		{"200gb", 0, ""},
		{"200GiB", 0, ""},
		{"9999999999TB", 0, ""},
	}
	for _, tt := range tests {
		var got Size
		err := got.UnmarshalText([]byte(tt.text))
		if got != tt.want || (err == nil) != (tt.want != 0) {
			t.Errorf("%q: got %d, %v; want %d", tt.text, got, err, tt.want)
			continue
		}
		if back, err := got.MarshalText(); tt.want != 0 && (err != nil || string(back) != tt.back) {
			t.Errorf("%q: written back as %q, %v; want %q", tt.text, back, err, tt.back)
		}
	}
}

func TestRetentionKeys(t *testing.T) {
	tests := []struct {
		section string
		keep    int
		max     Size
		refused string
	}{
		{"", 0, 0, ""},
		{"keep_backups = 2\nmax_size = \"200GB\"", 2, 200 << 30, ""},
		{"keep_backups = -1", 0, 0, "archive.keep_backups is -1"},
		{"max_size = \"200\"", 0, 0, "is no size"},
		{"max_size = 200", 0, 0, "archive.max_size is 200B, and the least is 64MB"},
		{"max_size = \"1MB\"", 0, 0, "archive.max_size is 1MB, and the least is 64MB"},
	}
	for _, tt := range tests {
		site, err := loadArchive(t, tt.section)
		if tt.refused != "" {
			if err == nil || !strings.Contains(err.Error(), tt.refused) {
				t.Errorf("%q: got %v, want it refused with %q", tt.section, err, tt.refused)
			}
			continue
		}
		if err != nil || site.Archiving.KeepBackups != tt.keep || site.Archiving.MaxSize != tt.max {
			t.Errorf("%q: got %+v, %v; want %d and %d", tt.section, site, err, tt.keep, tt.max)
		}
	}
}

// loadArchive is a site with that archive section.
func loadArchive(t *testing.T, section string) (*Site, error) {
	t.Helper()
	home := t.TempDir()
	for name, text := range map[string]string{
		"global/cluster.toml": "[archive]\n" + section + "\n[[node]]\nname = \"db1\"\npgdata = \"/d\"\n",
		"local/node":          "db1\n",
	} {
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Load(Surroundings{Home: home, Getenv: func(string) string { return "" }})
}

func TestCompressKey(t *testing.T) {
	for section, want := range map[string]string{
		"": "none", "compress = \"none\"": "none", "compress = \"zstd\"": "zstd", "compress = \"lz4\"": "lz4",
	} {
		site, err := loadArchive(t, section)
		if err != nil || site.Archiving.Compress.String() != want {
			t.Errorf("%q: got %+v, %v, want %s", section, site, err, want)
		}
	}
	if _, err := loadArchive(t, "compress = \"gzip\""); err == nil || !strings.Contains(err.Error(), `archive.compress is "gzip"`) {
		t.Errorf("gzip: got %v, want it refused", err)
	}
}
