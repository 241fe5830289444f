package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// TestArchiveNames: what another archive may lack is told by names alone.
func TestArchiveNames(t *testing.T) {
	dir := t.TempDir()
	s := newSession(&cluster.Site{Self: cluster.Node{Archive: filepath.Join(dir, "none")}}, nil, nil)
	if names, err := archiveNames(t.Context(), s, namesOptions{}); err != nil || len(names) != 0 {
		t.Errorf("where there is no archive: %s, %v", names, err)
	}
	s.site.Self.Archive = filepath.Join(dir, "archive")
	archive, err := walcore.CreateArchive(s.site.Self.Archive)
	if err != nil {
		t.Fatal(err)
	}
	all := []walcore.FileName{"000000010000000000000005", "000000010000000000000006", "000000010000000000000006.00000028.backup", "00000002.history", "000000020000000000000006"}
	for _, name := range all {
		writeFiles(t, map[string]string{filepath.Join(s.site.Self.Archive, string(name)): "x"})
	}
	for _, test := range []struct {
		options namesOptions
		want    []walcore.FileName
	}{
		{namesOptions{}, all},
		{namesOptions{Position: "0000000000000006"}, all[1:]},
		{namesOptions{Position: "0000000000000007"}, all[3:4]},
		{namesOptions{Position: "0000000000000006", Histories: true}, all[3:4]},
	} {
		got, err := archiveNames(t.Context(), s, test.options)
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%+v: %s, %v; want %s", test.options, got, err, test.want)
		}
	}
	missing, err := notIn(archive, append(slices.Clone(all), "00000003.history"))
	if err != nil || fmt.Sprint(missing) != "[00000003.history]" {
		t.Errorf("missing: %s, %v", missing, err)
	}
}
