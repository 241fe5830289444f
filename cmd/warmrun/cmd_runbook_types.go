package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/warmrun/warmrun/engine"
)

// runbookTypesCommand writes what editors and linters need to know.
type runbookTypesCommand struct {
	Dir string `arg:"" optional:"" help:"Where the runbooks are (default: the site's global/runbooks)."`
}

// Run writes annotations for the Lua language server, its configuration, that of
// luacheck, and the reference as a page.
func (c *runbookTypesCommand) Run(_ context.Context, p *process, g *globals) error {
	dir := c.Dir
	if dir == "" {
		s, err := p.session(*g)
		if err != nil {
			return err
		}
		defer s.Close()
		dir = s.site.Global("runbooks")
	}
	files, err := typeFiles()
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := writeDurably(filepath.Join(dir, f.name), f.text); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(p.out, filepath.Join(dir, f.name)); err != nil {
			return err
		}
	}
	return nil
}

// typeFile is a file that is made from the registry of operations.
type typeFile struct{ name, text string }

// typesDir is beside the runbooks; what is in it is no runbook.
const typesDir = "types"

func typeFiles() ([]typeFile, error) {
	reference, err := registry()
	if err != nil {
		return nil, err
	}
	return []typeFile{
		{typesDir + "/warmrun.lua", reference.LuaLS()},
		{".luarc.json", reference.Luarc()},
		{".luacheckrc", reference.Luacheck()},
		{"REFERENCE.md", reference.Markdown()},
	}, nil
}

// registry is everything that runbooks can call.
func registry() (engine.Reference, error) {
	return newSession(nil, nil, nil).host(setting{}).Reference()
}
