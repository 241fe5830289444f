package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/warmrun/warmrun/walcore/hint"
)

// Load finds the home directory and reads what it says of the site.
func Load(s Surroundings) (*Site, error) {
	home, err := Locate(s)
	if err != nil {
		return nil, err
	}
	site := &Site{Home: home, Archiving: Archiving{Require: RequireStandby}}
	name, err := readWord(site.Local("node"))
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(site.Global("cluster.toml"))
	switch {
	case err == nil:
		site.Layout = LayoutTOML
		err = loadTOML(site, data, NodeName(name), s)
	case errors.Is(err, fs.ErrPermission):
		err = hint.Wrap(err, "make it readable for the user that runs the server: archive_command and restore_command need it")
	case errors.Is(err, fs.ErrNotExist):
		site.Layout = Layout2warm
		err = load2warm(site, NodeName(name), s)
	}
	if err != nil {
		return nil, err
	}
	return site, nil
}

// Parse reads the text of a cluster.toml, of a home that need not be there yet,
// for the node called self.
func Parse(home string, text []byte, self NodeName, s Surroundings) (*Site, error) {
	site := &Site{Home: home, Layout: LayoutTOML, Archiving: Archiving{Require: RequireStandby}}
	if err := loadTOML(site, text, self, s); err != nil {
		return nil, err
	}
	return site, nil
}

// load2warm builds the site from othernode and drnode. Partner and DR node
// share this node's paths, as 2warm's scripts assumed.
func load2warm(site *Site, name NodeName, s Surroundings) error {
	other, err := readWord(site.Local("replication", "othernode"))
	if err != nil {
		return err
	}
	dr, err := readWord(site.Local("replication", "drnode"))
	if err != nil {
		return err
	}
	if name == "" {
		name = NodeName(s.Hostname)
	}
	pgdata := s.DataDir()
	if pgdata == "" {
		pgdata = dataBeside(site.Home)
	}
	node := func(name string, role Role) Node {
		n := Node{Name: NodeName(name), Host: name, Role: role, PGData: pgdata, Home: site.Home}
		if pgdata != "" {
			n.Archive = filepath.Join(pgdata, "archive")
			n.Trigger = filepath.Join(pgdata, "trigger")
		}
		n.completeOwn()
		return n
	}
	site.Self = node(string(name), RolePair)
	if dr == string(name) {
		site.Self.Role = RoleDR
	}
	site.Nodes = append(site.Nodes, site.Self)
	if other != "" && other != string(name) {
		site.Nodes = append(site.Nodes, node(other, RolePair))
	}
	if dr != "" && dr != string(name) {
		site.Nodes = append(site.Nodes, node(dr, RoleDR))
	}
	return nil
}

// dataBeside finds the only data directory next to a 2warm home, for commands
// that are typed without PGDATA set. With none or several it is empty.
func dataBeside(home string) string {
	versions, err := filepath.Glob(filepath.Join(filepath.Dir(home), "*", "PG_VERSION"))
	if err != nil || len(versions) != 1 {
		return ""
	}
	return filepath.Dir(versions[0])
}

// readWord reads a one-word file as any shell would; a missing file is the
// empty word.
func readWord(path string) (string, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	words := strings.Fields(string(data))
	if len(words) > 1 {
		return "", fmt.Errorf("%s holds more than one word: %q", path, strings.TrimSpace(string(data)))
	}
	if len(words) == 0 {
		return "", nil
	}
	return words[0], nil
}
