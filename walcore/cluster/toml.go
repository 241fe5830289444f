package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/warmrun/warmrun/walcore/hint"
)

// document is cluster.toml as it is written.
type document struct {
	Cluster struct {
		Name string `toml:"name"`
	} `toml:"cluster"`
	Archive   Archiving `toml:"archive"`
	Backup    Keeping   `toml:"backup"`
	Streaming Streaming `toml:"streaming"`
	Fencing   Fencing   `toml:"fencing"`
	Nodes     []Node    `toml:"node"`
}

func loadTOML(site *Site, data []byte, self NodeName, s Surroundings) error {
	path := site.Global("cluster.toml")
	doc := document{Archive: Archiving{Require: RequireStandby}}
	decoder := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields()
	if err := decoder.Decode(&doc); err != nil {
		return explainTOML(path, err)
	}
	if err := doc.Archive.check(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := doc.Backup.check(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := doc.Streaming.check(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := doc.Fencing.check(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	site.Name, site.Archiving, site.Keeping = doc.Cluster.Name, doc.Archive, doc.Backup
	site.Streaming, site.Fencing = doc.Streaming, doc.Fencing
	drs := 0
	for i := range doc.Nodes {
		if err := complete(&doc.Nodes[i], doc.Nodes[:i]); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if doc.Nodes[i].Role == RoleDR {
			drs++
		}
	}
	if pair := len(doc.Nodes) - drs; pair > 2 || drs > 1 {
		return hint.Wrap(fmt.Errorf("%s: %d nodes of the pair and %d DR nodes", path, pair, drs),
			"a cluster has at most two nodes with role \"pair\" and one with role \"dr\"")
	}
	site.Nodes = doc.Nodes
	return chooseSelf(site, self, s)
}

// minMaxSize is the least that archive.max_size may be: what is below it was
// meant in another unit.
const minMaxSize = 64 << 20

// check looks at the archive section.
func (a Archiving) check() error {
	switch a.Require {
	case RequireStandby, RequireAll, RequireAny:
	default:
		return hint.Wrap(fmt.Errorf("archive.require is %q", a.Require), "it must be standby, all or any")
	}
	if a.Compress.Check() != nil {
		return hint.Wrap(fmt.Errorf("archive.compress is %q", string(a.Compress)), "it must be none, zstd or lz4")
	}
	if a.KeepBackups < 0 {
		return hint.Wrap(fmt.Errorf("archive.keep_backups is %d", a.KeepBackups), "it is how many backups keep their WAL, 0 for none")
	}
	if a.MaxSize != 0 && a.MaxSize < minMaxSize {
		return hint.Wrap(fmt.Errorf("archive.max_size is %s, and the least is %s", a.MaxSize, Size(minMaxSize)), "write it with its unit, such as \"200GB\"; leave it out for no limit")
	}
	return nil
}

// check looks at the backup section.
func (k Keeping) check() error {
	if k.Keep < 0 {
		return hint.Wrap(fmt.Errorf("backup.keep is %d", k.Keep), "it is how many base copies stay, 0 for all")
	}
	return k.KeepFor.checked("backup.keep_for")
}

// complete checks one node and fills in what follows from the rest.
func complete(n *Node, before []Node) error {
	if n.Name == "" {
		return hint.Wrap(errors.New("a [[node]] has no name"), "every [[node]] needs name, host and pgdata")
	}
	for _, b := range before {
		if b.Name == n.Name {
			return fmt.Errorf("two nodes are named %q", n.Name)
		}
	}
	switch n.Role {
	case "":
		n.Role = RolePair
	case RolePair, RoleDR:
	default:
		return hint.Wrap(fmt.Errorf("node %s: role is %q", n.Name, n.Role), "it must be pair or dr")
	}
	switch n.Compress {
	case "", CompressNone, CompressS2, CompressZstd:
	default:
		return hint.Wrap(fmt.Errorf("node %s: compress is %q", n.Name, n.Compress), "it must be none, s2 or zstd")
	}
	if err := n.Delay.checked(fmt.Sprintf("node %s: delay", n.Name)); err != nil {
		return err
	}
	if !filepath.IsAbs(n.PGData) {
		return hint.Wrap(fmt.Errorf("node %s: pgdata is %q", n.Name, n.PGData), "give the absolute path of the data directory on that node")
	}
	if n.Host == "" {
		n.Host = string(n.Name)
	}
	if n.Home == "" {
		n.Home = filepath.Join(filepath.Dir(filepath.Clean(n.PGData)), "warmrun")
	}
	if n.Archive == "" {
		n.Archive = filepath.Join(n.Home, "archive")
	}
	if n.Trigger == "" {
		n.Trigger = filepath.Join(n.Home, "local", "trigger")
	}
	n.completeOwn()
	for _, p := range []struct{ key, path string }{{"home", n.Home}, {"archive", n.Archive}, {"trigger", n.Trigger}, {"backups", n.Backups}, {"scratch", n.Scratch}} {
		if !filepath.IsAbs(p.path) {
			return fmt.Errorf("node %s: %s is %q, not an absolute path", n.Name, p.key, p.path)
		}
	}
	return nil
}

// completeOwn fills in where a node keeps base copies and scratch servers.
func (n *Node) completeOwn() {
	if n.Backups == "" {
		n.Backups = filepath.Join(n.Home, "backups")
	}
	if n.Scratch == "" {
		n.Scratch = filepath.Join(n.Home, "scratch")
	}
}

// chooseSelf finds out which of the nodes this one is: local/node says so,
// else the host name or the home directory matches exactly one.
func chooseSelf(site *Site, name NodeName, s Surroundings) error {
	if name != "" {
		self, err := site.Node(name)
		if err != nil {
			return fmt.Errorf("%s: %w", site.Local("node"), err)
		}
		site.Self = self
		return nil
	}
	for _, matches := range []func(Node) bool{
		func(n Node) bool { return s.Hostname != "" && (string(n.Name) == s.Hostname || n.Host == s.Hostname) },
		func(n Node) bool { return n.Home == site.Home },
	} {
		var found []Node
		for _, n := range site.Nodes {
			if matches(n) {
				found = append(found, n)
			}
		}
		if len(found) == 1 {
			site.Self = found[0]
			return nil
		}
	}
	return hint.Wrap(fmt.Errorf("%s does not tell which node this is", site.Global("cluster.toml")),
		"write this node's name into %s", site.Local("node"))
}

// tomlKeys lists the keys that a table may have, with those of the tables in
// it, as a message names them: "node.ssh.port".
func tomlKeys(table reflect.Type, above string) []string {
	var keys []string
	for i := range table.NumField() {
		field := table.Field(i)
		key, inner := above+field.Tag.Get("toml"), field.Type
		if inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			keys = append(keys, tomlKeys(inner, key+".")...)
			continue
		}
		keys = append(keys, key)
	}
	return keys
}

// explainTOML turns a decoder's error into one line that names the place.
func explainTOML(path string, err error) error {
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) && len(strict.Errors) > 0 {
		first := strict.Errors[0]
		row, _ := first.Position()
		key := strings.Join(first.Key(), ".")
		err := fmt.Errorf("%s:%d: unknown key %q", path, row, key)
		if nearest := hint.Nearest(key, tomlKeys(reflect.TypeFor[document](), "")); nearest != "" {
			return hint.Wrap(err, "did you mean %s? nothing has been changed", nearest)
		}
		return hint.Wrap(err, "see the README for the keys of cluster.toml; check the spelling")
	}
	var decode *toml.DecodeError
	if errors.As(err, &decode) {
		row, column := decode.Position()
		return hint.Wrap(fmt.Errorf("%s:%d:%d: %s", path, row, column, explainValue(decode)), "correct the line; nothing has been changed")
	}
	return fmt.Errorf("%s: %w", path, err)
}
