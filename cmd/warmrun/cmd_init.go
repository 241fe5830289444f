package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// initCommand makes a site of a server.
type initCommand struct {
	Name      string `help:"What this node is called (default: the host's name up to the first dot)." placeholder:"NAME"`
	Host      string `help:"How the other nodes reach this one (default: the host's name)." placeholder:"HOST"`
	Standby   string `help:"The other node of the pair, and where it differs from its name and from this node, its host and its data directory: db2=db2.example.com:/srv/pg/data." placeholder:"NAME[=HOST][:PGDATA]"`
	DR        string `name:"dr" help:"The disaster recovery node, in the same form (default: none)." placeholder:"NAME[=HOST][:PGDATA]"`
	Plan      bool   `help:"Show what would be done, and do nothing." aliases:"dry-run"`
	Overwrite bool   `help:"Write cluster.toml anew where there is one that says something else; the old one is kept beside it."`
}

// Help is what the flags do not say.
func (c *initCommand) Help() string {
	return `Run it on the primary, as the user that owns the server, with PGDATA set or --pgdata. It asks on a terminal for what the flags leave out, and fails at once where there is none. It makes the home directory, writes global/cluster.toml and local/node, tries ssh to the other nodes, and sets archive_mode, archive_command and archive_timeout with ALTER SYSTEM, or in postgresql.auto.conf while the server is stopped. It restarts nothing. What is as it should be already stays untouched, so it can be run again.`
}

// Run does what is to be done, one line for each part.
func (c *initCommand) Run(ctx context.Context, p *process, g *globals) error {
	around := p.surroundings(*g)
	if around.DataDir() == "" {
		return usageError{hint.Wrap(errors.New("which data directory this node has is not known"), "give --pgdata DIR, or set PGDATA")}
	}
	if err := becomeOwner(around); err != nil {
		return err
	}
	i := &initiation{out: p.out, plan: c.Plan, overwrite: c.Overwrite, yes: g.Yes, around: around}
	if err := i.findHome(); err != nil {
		return err
	}
	site, err := c.site(p, i)
	if err != nil {
		return err
	}
	i.s = newSession(site, p.out, p.err)
	i.s.connectTimeout = statusConnect
	defer i.s.Close()
	return i.run(ctx)
}

// site is what the flags and the answers make, or what cluster.toml says where
// no node was named.
func (c *initCommand) site(p *process, i *initiation) (*cluster.Site, error) {
	path := filepath.Join(i.home, "global", "cluster.toml")
	_, err := os.Stat(path)
	if err == nil && c.Standby == "" && c.DR == "" {
		return c.siteThere(i, path)
	}
	if err := c.ask(p, i); err != nil {
		return nil, err
	}
	self := cluster.Node{Name: cluster.NodeName(c.Name), Host: c.Host, Role: cluster.RolePair, PGData: i.pgdata}
	nodes := []cluster.Node{self, namedNode(c.Standby, cluster.RolePair, i.pgdata)}
	if c.DR != "" {
		nodes = append(nodes, namedNode(c.DR, cluster.RoleDR, i.pgdata))
	}
	if filepath.Join(filepath.Dir(i.pgdata), "warmrun") != i.home {
		for n := range nodes {
			nodes[n].Home = i.home
		}
	}
	i.text = clusterTOML(nodes)
	site, err := cluster.Parse(i.home, []byte(i.text), self.Name, i.around)
	if err != nil {
		return nil, usageError{err}
	}
	return site, nil
}

// siteThere is the site as cluster.toml has it.
func (c *initCommand) siteThere(i *initiation, path string) (*cluster.Site, error) {
	if c.Name == "" {
		around := i.around
		around.Home = i.home
		return cluster.Load(around)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return cluster.Parse(i.home, text, cluster.NodeName(c.Name), i.around)
}

// namedNode reads NAME[=HOST][:PGDATA].
func namedNode(text string, role cluster.Role, pgdata string) cluster.Node {
	name, rest, _ := strings.Cut(text, "=")
	if rest == "" {
		name, rest, _ = strings.Cut(text, ":/")
		if rest != "" {
			rest = ":/" + rest
		}
	}
	host, dir, found := strings.Cut(rest, ":/")
	n := cluster.Node{Name: cluster.NodeName(name), Host: host, Role: role, PGData: pgdata}
	if found {
		n.PGData = "/" + dir
	}
	if n.Host == "" {
		n.Host = name
	}
	return n
}

// ask completes the flags on a terminal.
func (c *initCommand) ask(p *process, i *initiation) error {
	short, _, _ := strings.Cut(i.around.Hostname, ".")
	if isTerminal(os.Stdin) {
		return c.askFor(os.Stdin, p.err, short, i.around.Hostname)
	}
	if c.Standby == "" {
		return usageError{hint.Wrap(errors.New("there is no terminal to ask on, and --standby is missing"),
			"give --standby NAME[=HOST][:PGDATA], and where they differ from %s, --name and --host; with a disaster recovery node --dr as well", i.around.Hostname)}
	}
	c.Name, c.Host = orWord(c.Name, short), orWord(c.Host, i.around.Hostname)
	return nil
}

func (c *initCommand) askFor(from io.Reader, to io.Writer, short, hostname string) error {
	in := bufio.NewReader(from)
	for _, question := range []struct {
		answer      *string
		text, usual string
		optional    bool
	}{
		{&c.Name, "Name of this node", short, false},
		{&c.Host, "Host by which the other nodes reach it", hostname, false},
		{&c.Standby, "The standby, as NAME[=HOST][:PGDATA]", "", false},
		{&c.DR, "The disaster recovery node in the same form, empty for none", "", true},
	} {
		for *question.answer == "" {
			usual := ""
			if question.usual != "" {
				usual = " [" + question.usual + "]"
			}
			fmt.Fprintf(to, "%s%s: ", question.text, usual)
			line, err := in.ReadString('\n')
			if err != nil {
				return fmt.Errorf("read the answer: %w", err)
			}
			*question.answer = orWord(strings.TrimSpace(line), question.usual)
			if question.optional {
				break
			}
		}
	}
	return nil
}

func orWord(word, otherwise string) string {
	if word == "" {
		return otherwise
	}
	return word
}

// clusterTOML is the text of a new cluster.toml.
func clusterTOML(nodes []cluster.Node) string {
	var b strings.Builder
	b.WriteString("# Written by warmrun init. The README lists all keys; warmrun distrib brings\n# changes to the other nodes.\n")
	for _, n := range nodes {
		fmt.Fprintf(&b, "\n[[node]]\nname   = %q\nhost   = %q\npgdata = %q\n", string(n.Name), n.Host, n.PGData)
		if n.Home != "" {
			fmt.Fprintf(&b, "home   = %q\n", n.Home)
		}
		if n.Role == cluster.RoleDR {
			b.WriteString("role   = \"dr\"\n")
		}
	}
	return b.String()
}
