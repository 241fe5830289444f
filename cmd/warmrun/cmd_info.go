package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"text/tabwriter"

	"github.com/warmrun/warmrun/walcore/cluster"
)

// versionCommand prints the version.
type versionCommand struct {
	Digest bool `hidden:"" help:"Print the SHA-256 of the binary."`
}

// Run prints one line.
func (c *versionCommand) Run(p *process) error {
	if c.Digest {
		digest, err := binaryDigest()
		if err == nil {
			_, err = fmt.Fprintln(p.out, digest)
		}
		return err
	}
	_, err := fmt.Fprintf(p.out, "warmrun %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

func binaryDigest() (string, error) {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// envCommand is 2warm's "debug".
type envCommand struct {
	JSON bool `help:"Print JSON."`
}

// Run prints the settings and exits.
func (c *envCommand) Run(_ context.Context, p *process, g *globals) error {
	s, err := p.session(*g)
	if err != nil {
		return err
	}
	if !c.JSON {
		return printEnv(p.out, s.site)
	}
	encoder := json.NewEncoder(p.out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(s.site)
}

func printEnv(out io.Writer, site *cluster.Site) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	active, err := site.ArchivingActive()
	if err != nil {
		return err
	}
	row := func(key string, value any) { fmt.Fprintf(w, "%s\t%v\n", key, value) }
	row("version", version)
	row("home", site.Home)
	row("layout", site.Layout)
	row("cluster", site.Name)
	row("this node", site.Self.Name)
	row("archiving active", active)
	row("success requires", site.Archiving.Require)
	for _, n := range site.Nodes {
		row("", "")
		row("node", fmt.Sprintf("%s (%s)", n.Name, n.Role))
		row("  host", n.Host)
		row("  PGDATA", n.PGData)
		row("  archive", n.Archive)
		row("  trigger", n.Trigger)
		row("  binary", n.Binary())
	}
	return w.Flush()
}
