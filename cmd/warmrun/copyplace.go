package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// place is a directory on a node.
type place struct {
	node cluster.NodeName
	path string // absolute
	here bool   // the node is this one
}

func (p place) String() string {
	if p.here {
		return p.path
	}
	return string(p.node) + ":" + p.path
}

// parsePlace reads NODE:DIR, or DIR on this node. As for rsync a colon behind a
// slash belongs to the name of a file. The error is a usage error.
func parsePlace(site *cluster.Site, text string) (place, error) {
	name, path, remote := strings.Cut(text, ":")
	if !remote || strings.Contains(name, "/") {
		path, err := filepath.Abs(text)
		if text == "" {
			err = errors.New("the name of a directory is empty")
		}
		return place{node: site.Self.Name, path: path, here: true}, asUsage(err)
	}
	node, err := site.Node(cluster.NodeName(name))
	if err != nil {
		return place{}, usageError{err}
	}
	if !filepath.IsAbs(path) {
		return place{}, usageError{hint.Wrap(fmt.Errorf("%s: on another node a directory needs its whole name, from the slash on", text), "write it as %s:/DIR", name)}
	}
	return place{node: node.Name, path: filepath.Clean(path), here: site.IsSelf(node.Name)}, nil
}

// route is a copy from one directory to another, as it was typed.
type route struct {
	from, to place
	prefix   string // before the names in the output
}

// parseRoute follows rsync's rule: a source without a slash at its end is made
// a directory in the target, one with a slash is made the target itself.
func parseRoute(site *cluster.Site, source, target string) (route, error) {
	from, err := parsePlace(site, source)
	if err != nil {
		return route{}, err
	}
	to, err := parsePlace(site, target)
	if err != nil {
		return route{}, err
	}
	if !from.here && !to.here {
		return route{}, usageError{hint.Wrap(fmt.Errorf("neither %s nor %s is on this node (%s)", from, to, site.Self.Name), "run the copy on %s or on %s", from.node, to.node)}
	}
	r := route{from: from, to: to}
	if last := source[strings.LastIndexAny(source, "/:")+1:]; last != "" && last != "." && last != ".." {
		r.to.path = filepath.Join(to.path, last)
		r.prefix = last + "/"
	}
	return r, nil
}

// asUsage makes an error one of the command line.
func asUsage(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}
