package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"sort"
	"strings"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/runbooks"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// findSource finds a runbook's or library's text: the site's own first, then
// the shipped one.
func findSource(site *cluster.Site, name, dir string) (engine.Source, error) {
	if name == "" || strings.ContainsAny(name, "/\\.") {
		return engine.Source{}, fmt.Errorf("%q is not the name of a runbook", name)
	}
	shipped, shippedErr := runbooks.Files.ReadFile(filepath.ToSlash(filepath.Join(dir, name+".lua")))
	if site != nil {
		path := filepath.Join(site.Global("runbooks"), dir, name+".lua")
		text, err := os.ReadFile(path)
		if err == nil {
			return engine.Source{Name: name, Path: path, Text: string(text), Shadows: shippedErr == nil}, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return engine.Source{}, err
		}
	}
	if shippedErr != nil {
		return engine.Source{}, hint.Wrap(fmt.Errorf("there is no runbook %q", name), "warmrun --help lists them all")
	}
	return engine.Source{Name: name, Path: name + ".lua", Text: string(shipped), Shipped: true}, nil
}

// testMark ends the names of files that test a runbook.
const testMark = "_test"

// runbookNames lists the shipped runbooks and the site's own.
func runbookNames(site *cluster.Site) ([]string, error) {
	found := map[string]bool{}
	shipped, err := fs.Glob(runbooks.Files, "*.lua")
	if err != nil {
		return nil, err
	}
	own := []string{}
	if site != nil {
		if own, err = filepath.Glob(filepath.Join(site.Global("runbooks"), "*.lua")); err != nil {
			return nil, err
		}
	}
	for _, path := range append(shipped, own...) {
		if name := strings.TrimSuffix(filepath.Base(path), ".lua"); !strings.HasSuffix(name, testMark) {
			found[name] = true
		}
	}
	names := make([]string, 0, len(found))
	for name := range found {
		names = append(names, name)
	}
	sort.Strings(names)
	return names, nil
}

// loadRunbook loads a runbook with everything that it may call.
func loadRunbook(ctx context.Context, s *session, name string) (*engine.Runbook, error) {
	source, err := findSource(s.site, name, "")
	if err != nil {
		return nil, err
	}
	book, err := engine.Load(ctx, source, s.host())
	if err != nil {
		return nil, err
	}
	return book, checkFlags(book)
}

// host is what runbooks of this session can see and call.
func (s *session) host() engine.Host {
	vars := map[string]any{"node": nil, "partner": nil, "dr": nil}
	if s.site != nil {
		vars["node"] = string(s.site.Self.Name)
		if partner, ok := s.site.Partner(); ok {
			vars["partner"] = string(partner.Name)
		}
		if dr, ok := s.site.DR(); ok {
			vars["dr"] = string(dr.Name)
		}
	}
	return engine.Host{
		Modules: modules(s),
		Opaques: []engine.Opaque{lsnType()},
		Out:     s.out,
		Vars:    vars,
		VarDocs: map[string]string{
			"node":    "the name of the node that the runbook runs on",
			"partner": "the name of the other node of the pair",
			"dr":      "the name of the DR node",
		},
		Confirm:    s.confirm(),
		Library:    func(name string) (engine.Source, error) { return findSource(s.site, name, "lib") },
		Extensions: func(name string) ([]engine.Source, error) { return findExtensions(s.site, name) },
		Secret:     func(name string) (engine.Secret, error) { return readSecret(s.site, name) },
		Node: func(name string) (any, error) {
			node, err := s.site.Node(cluster.NodeName(name))
			return string(node.Name), err
		},
	}
}

// lsnType is how runbooks hold an LSN: a Lua number has too few bits for one.
func lsnType() engine.Opaque {
	return engine.Opaque{
		Name: "lsn", Type: reflect.TypeFor[walcore.LSN](),
		Parse: func(text string) (any, error) { return walcore.ParseLSN(text) },
		Compare: func(a, b any) int {
			switch x, y := a.(walcore.LSN), b.(walcore.LSN); {
			case x < y:
				return -1
			case x > y:
				return 1
			}
			return 0
		},
		Sub: func(a, b any) (float64, error) {
			return float64(int64(a.(walcore.LSN) - b.(walcore.LSN))), nil
		},
	}
}
