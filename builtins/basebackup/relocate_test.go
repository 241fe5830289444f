package basebackup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRelocate: the tablespaces of a copy go with its tree, and one that lies
// elsewhere would be shared by two servers.
func TestRelocate(t *testing.T) {
	const from, to = "/backups/one", "/scratch/two"
	for _, test := range []struct {
		name, link, want, says string
	}{
		{name: "beside the data directory", link: from + "/tablespaces/16400", want: to + "/tablespaces/16400"},
		{name: "within it", link: from + "/data/inner", want: to + "/data/inner"},
		{name: "elsewhere", link: "/srv/space", says: "is in /srv/space, not below " + from},
	} {
		data := t.TempDir()
		must(t, os.Mkdir(filepath.Join(data, "pg_tblspc"), 0o700))
		link := filepath.Join(data, "pg_tblspc", "16400")
		must(t, os.Symlink(test.link, link))
		must(t, os.WriteFile(filepath.Join(data, mapFile), []byte("16400 "+test.link+"\n"), 0o600))
		err := Relocate(data, from, to)
		if test.says != "" {
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%s: got %v, want %q", test.name, err, test.says)
			}
			continue
		}
		got, linkErr := os.Readlink(link)
		spcmap, mapErr := os.ReadFile(filepath.Join(data, mapFile))
		if err != nil || linkErr != nil || mapErr != nil || got != test.want || string(spcmap) != "16400 "+test.want+"\n" {
			t.Errorf("%s: got %v, the link %s and the map %q, want %s", test.name, err, got, spcmap, test.want)
		}
	}
}
