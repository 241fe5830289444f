package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestPinnedExtensions: a run finds the extensions in its journal that it finds
// in the site's directory, in the same order.
func TestPinnedExtensions(t *testing.T) {
	s := recorded(t)
	dir := s.site.Global("runbooks")
	for _, name := range []string{"10", "10-first", "10.pause", "20"} {
		writeFiles(t, map[string]string{filepath.Join(dir, "demo.d", name+".lua"): "return extension {}\n"})
	}
	own, err := siteSources(s.site)
	if err != nil {
		t.Fatal(err)
	}
	names := func(at setting) (names []string) {
		found, err := at.extensions(s.site, "demo")
		if err != nil {
			t.Fatal(err)
		}
		for _, src := range found {
			names = append(names, src.Name)
		}
		return names
	}
	got, want := names(setting{pinned: own}), names(setting{})
	if !slices.Equal(got, want) || len(want) != 4 {
		t.Errorf("the journal has %q, the site %q", got, want)
	}
	// Nothing that cannot be read is left out of a run in silence.
	if err := os.Mkdir(filepath.Join(dir, "demo.d", "30.lua"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := siteSources(s.site); err == nil {
		t.Error("an extension that cannot be read was left out")
	}
}

// TestSiteSources: what lies beside the runbooks and is none is no part of a run
// or plan.
func TestSiteSources(t *testing.T) {
	s := recorded(t)
	for _, name := range []string{"demo_test", ".#demo", "types/warmrun", ".shipped/demo", "lib/.#words"} {
		writeFiles(t, map[string]string{s.site.Global("runbooks", name+".lua"): "not a runbook\n"})
	}
	own, err := siteSources(s.site)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := slices.Sorted(maps.Keys(own)), []string{"demo", "lib/words"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
