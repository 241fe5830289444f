package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime/debug"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/runbooks"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// setting is what runbooks see of the world around them.
type setting struct {
	view runView
	// pinned are the texts that a run was started with, as "lib/follow"; nil takes
	// what the site has now.
	pinned map[string]engine.Source
}

// setting is how things stand now.
func (s *session) setting() setting {
	if s.site == nil {
		return setting{}
	}
	return setting{view: viewOf(s.site)}
}

// source finds a runbook's or library's text: the site's own first, then the
// shipped one. Of a run's pinned texts none is the site's that was not there
// when it began.
func (at setting) source(site *cluster.Site, name, dir string) (engine.Source, error) {
	if at.pinned == nil {
		return findSource(site, name, dir)
	}
	if src, ok := at.pinned[filepath.Join(dir, name)]; ok {
		return src, nil
	}
	return findSource(nil, name, dir)
}

// extensions finds what the site adds to a runbook, in the order of the files'
// names.
func (at setting) extensions(site *cluster.Site, name string) ([]engine.Source, error) {
	if at.pinned == nil {
		return findExtensions(site, name)
	}
	var found []engine.Source
	byFile := func(a, b string) int { return strings.Compare(a+".lua", b+".lua") }
	for _, key := range slices.SortedFunc(maps.Keys(at.pinned), byFile) {
		if filepath.Dir(key) == name+".d" {
			src := at.pinned[key]
			src.Name = key
			found = append(found, src)
		}
	}
	return found, nil
}

// findSource finds a text that is not pinned.
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
func loadRunbook(ctx context.Context, s *session, at setting, name string) (*engine.Runbook, error) {
	return loadWith(ctx, s, at, s.host(at), name)
}

// loadWith is loadRunbook with what the setting's runbooks may call, which is the
// same for all of them.
func loadWith(ctx context.Context, s *session, at setting, host engine.Host, name string) (*engine.Runbook, error) {
	source, err := at.source(s.site, name, "")
	if err != nil {
		return nil, err
	}
	book, err := engine.Load(ctx, source, host)
	if err != nil {
		return nil, err
	}
	return book, checkFlags(book)
}

// booksFor loads the one runbook that is called, or all of them for help.
func (p *process) booksFor(ctx context.Context, s *session, word string) ([]*engine.Runbook, error) {
	names, err := runbookNames(s.site)
	if err != nil {
		return nil, err
	}
	// The Lua states are garbage as soon as they are made, and small: to collect
	// them in between takes longer than all the rest.
	usual := debug.SetGCPercent(800)
	if slices.Contains(names, word) {
		defer debug.SetGCPercent(usual)
		book, err := loadRunbook(ctx, s, s.setting(), word)
		return []*engine.Runbook{book}, err
	}
	return p.loadAll(ctx, s, names), nil // for help or a complaint, and then the end
}

// loadAll loads runbooks at once, and names those that cannot be loaded.
func (p *process) loadAll(ctx context.Context, s *session, names []string) (books []*engine.Runbook) {
	loaded, errs := make([]*engine.Runbook, len(names)), make([]error, len(names))
	at := s.setting()
	host := s.host(at)
	var group sync.WaitGroup
	for i, name := range names {
		group.Go(func() { loaded[i], errs[i] = loadWith(ctx, s, at, host, name) })
	}
	group.Wait()
	for i, name := range names {
		if errs[i] != nil {
			fmt.Fprintf(p.err, "warmrun: runbook %s cannot be loaded: %v\n", name, errs[i])
			continue
		}
		books = append(books, loaded[i])
	}
	return books
}

// host is what runbooks of this session can see and call.
func (s *session) host(at setting) engine.Host {
	vars := map[string]any{"node": nil, "partner": nil, "dr": nil}
	for name, node := range map[string]string{"node": at.view.Node, "partner": at.view.Partner, "dr": at.view.DR} {
		if node != "" {
			vars[name] = node
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
		Library:    func(name string) (engine.Source, error) { return at.source(s.site, name, "lib") },
		Extensions: func(name string) ([]engine.Source, error) { return at.extensions(s.site, name) },
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
