package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/runbooks"
	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// origin says whose a runbook is.
type origin string

const (
	originShipped  origin = "shipped"
	originSite     origin = "site"     // the site's own, there is no shipped one
	originOverride origin = "override" // the site's own in the place of a shipped one
)

// basesDir holds, beside the site's runbooks, the shipped texts that its
// overrides were made from, so that a later change of the shipped one is seen
// and can be taken in.
const basesDir = ".shipped"

// variant is one runbook in all the forms that there are of it. Texts that do
// not exist are empty.
type variant struct {
	name          string
	path          string // of the site's own, whether it exists or not
	own, shipped  string
	base          string // the shipped text that the site's own was made from
	extensions    []engine.Source
	hasOwn, known bool // known: base is there
}

// lookAt finds every form of a runbook; without a site there is the shipped one
// alone.
func lookAt(site *cluster.Site, name string) (variant, error) {
	v := variant{name: name}
	source, err := findSource(site, name, "")
	if err != nil {
		return v, err
	}
	if shipped, err := runbooks.Files.ReadFile(name + ".lua"); err == nil {
		v.shipped = string(shipped)
	}
	if site == nil {
		return v, nil
	}
	v.path = filepath.Join(site.Global("runbooks"), name+".lua")
	if !source.Shipped {
		v.own, v.hasOwn = source.Text, true
	}
	base, err := os.ReadFile(v.basePath(site))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return v, err
	}
	v.base, v.known = string(base), err == nil
	v.extensions, err = findExtensions(site, name)
	return v, err
}

func (v variant) basePath(site *cluster.Site) string {
	return filepath.Join(site.Global("runbooks"), basesDir, v.name+".lua")
}

func (v variant) origin() origin {
	switch {
	case !v.hasOwn:
		return originShipped
	case v.shipped == "":
		return originSite
	}
	return originOverride
}

// moved reports whether the shipped text has changed since the site's own was
// made from it.
func (v variant) moved() bool {
	return v.origin() == originOverride && v.known && v.base != v.shipped
}

// movedWarning is what a run of an override says when the shipped text has
// changed under it; empty where it has not.
func movedWarning(site *cluster.Site, name string) (string, error) {
	v, err := lookAt(site, name)
	if err != nil || !v.moved() {
		return "", err
	}
	return fmt.Sprintf("warning: the shipped %s has changed since %s was made from it: warmrun runbook diff %[1]s shows both changes, warmrun runbook edit --merge %[1]s takes them together", name, v.path), nil
}

// findExtensions finds the files of a site that extend a runbook, in the order
// of their names.
func findExtensions(site *cluster.Site, name string) ([]engine.Source, error) {
	if site == nil {
		return nil, nil
	}
	paths, err := filepath.Glob(filepath.Join(site.Global("runbooks"), name+".d", "*.lua"))
	if err != nil {
		return nil, err
	}
	var found []engine.Source
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		found = append(found, engine.Source{Name: name + ".d/" + strings.TrimSuffix(filepath.Base(path), ".lua"), Path: path, Text: string(text)})
	}
	return found, nil
}

// override makes the site's own text of a shipped runbook, and keeps what it
// was made from.
func (v variant) override(site *cluster.Site, text string) error {
	if v.shipped != "" {
		if err := writeDurably(v.basePath(site), v.shipped); err != nil {
			return err
		}
	}
	return writeDurably(v.path, text)
}

func writeDurably(path, text string) error {
	if err := atomicfile.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return atomicfile.WriteFile(path, []byte(text), 0o644)
}

// revertedMark ends the name of an override that was taken out of use.
const revertedMark = ".reverted"

// revert takes the site's own text out of use; it stays beside, under another
// name, which it gives.
func (v variant) revert(site *cluster.Site) (kept string, err error) {
	if v.origin() != originOverride {
		err := fmt.Errorf("%s is not overridden", v.name)
		if v.origin() == originSite {
			return "", hint.Wrap(err, "it is the site's own, and nothing was shipped that could take its place; to remove it: rm %s", v.path)
		}
		return "", hint.Wrap(err, "the shipped one is in use")
	}
	kept = v.path + revertedMark
	if err := os.Rename(v.path, kept); err != nil {
		return "", err
	}
	return kept, v.forgetBase(site)
}

// forgetBase removes the note of what an override was made from.
func (v variant) forgetBase(site *cluster.Site) error {
	if err := os.Remove(v.basePath(site)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(v.path))
}
