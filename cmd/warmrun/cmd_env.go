package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/warmrun/warmrun/builtins/pgctl"
	"github.com/warmrun/warmrun/runbooks"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/packed"
)

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
		return s.environment().print(p.out)
	}
	encoder := json.NewEncoder(p.out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(s.environment())
}

// environment is what this node's commands work with. What cannot be found out
// is missing, and Unknown says why.
type environment struct {
	Version   string           `json:"version"`
	Home      string           `json:"home"`
	Layout    cluster.Layout   `json:"layout"`
	Cluster   string           `json:"cluster,omitempty"`
	Node      cluster.NodeName `json:"node"`
	Role      cluster.Role     `json:"role"`
	OtherNode cluster.NodeName `json:"othernode,omitempty"`
	DRNode    cluster.NodeName `json:"drnode,omitempty"`

	PGData          string          `json:"pgdata"`
	Archive         string          `json:"archive"`
	Trigger         string          `json:"trigger"`
	ArchivingActive bool            `json:"archiving_active"`
	Require         cluster.Require `json:"archive_require"`
	Compress        packed.Form     `json:"archive_compress"`
	KeepBackups     int             `json:"keep_backups"`
	MaxSize         cluster.Size    `json:"max_size,omitempty"`
	FencingHook     string          `json:"fencing_command,omitempty"`
	// Runbooks are the site's own, Overrides those that take the place of a
	// shipped one.
	Runbooks  []string `json:"runbooks,omitempty"`
	Overrides []string `json:"overrides,omitempty"`

	ServerVersion string `json:"server_version,omitempty"`
	ConfigFile    string `json:"config_file,omitempty"`
	BinDir        string `json:"bin_dir,omitempty"`
	// Programs are those of PostgreSQL's that were found in BinDir.
	Programs []string `json:"programs,omitempty"`
	// The commands as they belong into postgresql.conf and the recovery
	// settings of this node.
	ArchiveCommand string `json:"archive_command"`
	RestoreCommand string `json:"restore_command,omitempty"`

	Nodes   []cluster.Node    `json:"nodes"`
	Unknown map[string]string `json:"unknown,omitempty"`
}

func (s *session) environment() environment {
	site := s.site
	e := environment{
		Version: version, Home: site.Home, Layout: site.Layout, Cluster: site.Name, Node: site.Self.Name, Role: site.Self.Role,
		PGData: site.Self.PGData, Archive: site.Self.Archive, Trigger: site.Self.Trigger, Require: site.Archiving.Require,
		KeepBackups: site.Archiving.KeepBackups, MaxSize: site.Archiving.MaxSize, FencingHook: site.Fencing.Command,
		ArchiveCommand: s.archiveCommand(), Nodes: site.Nodes, Unknown: map[string]string{},
	}
	if e.Compress = site.Archiving.Compress; !e.Compress.Packs() {
		e.Compress = packed.Plain
	}
	if partner, ok := site.Partner(); ok {
		e.OtherNode = partner.Name
	}
	if dr, ok := site.DR(); ok {
		e.DRNode = dr.Name
	}
	var err error
	e.ArchivingActive, err = site.ArchivingActive()
	e.note("archiving_active", err)
	recovery, err := s.self().RecoveryTemplate()
	e.RestoreCommand = recovery.RestoreCommand
	e.note("restore_command", err)
	e.lookAtServer(s.server())
	e.note("runbooks", e.lookAtRunbooks(site))
	return e
}

// lookAtRunbooks tells the site's own runbooks from those that shadow a shipped
// one.
func (e *environment) lookAtRunbooks(site *cluster.Site) error {
	names, err := ownRunbooks(site.Global("runbooks"))
	for _, name := range names {
		if strings.HasPrefix(name, basesDir+"/") || strings.HasPrefix(name, typesDir+"/") {
			continue
		}
		if _, err := fs.Stat(runbooks.Files, filepath.ToSlash(name)); err == nil {
			e.Overrides = append(e.Overrides, name)
			continue
		}
		e.Runbooks = append(e.Runbooks, name)
	}
	return err
}

func (e *environment) note(key string, err error) {
	if err != nil {
		e.Unknown[key] = err.Error()
	}
}

// lookAtServer finds out what there is of PostgreSQL on this node.
func (e *environment) lookAtServer(server pgctl.Server) {
	major, err := server.Version()
	if errors.Is(err, fs.ErrNotExist) {
		err = errors.New("there is no data directory yet")
	}
	e.note("server_version", err)
	if err != nil {
		return
	}
	e.ServerVersion = major.String()
	e.ConfigFile, err = server.ConfigPath()
	e.note("config_file", err)
	e.BinDir, err = pgctl.FindBinDir(major, server.BinDir)
	e.note("bin_dir", err)
	if err != nil {
		return
	}
	for _, name := range []string{"postgres", "pg_ctl", "initdb", "psql", "pg_rewind", "pg_verifybackup", "pg_controldata"} {
		if _, err := os.Stat(filepath.Join(e.BinDir, name)); err == nil {
			e.Programs = append(e.Programs, name)
		}
	}
}

// print shows it for people, this node first.
func (e environment) print(out io.Writer) error {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	row := func(title, key string, value any) {
		text := fmt.Sprint(value)
		if reason := e.Unknown[key]; reason != "" {
			text = "unknown: " + reason
		}
		if text != "" {
			fmt.Fprintf(w, "%s\t%s\n", title, text)
		}
	}
	row("version", "", e.Version)
	row("home", "", e.Home)
	row("layout", "", e.Layout)
	row("cluster", "", e.Cluster)
	row("this node", "", fmt.Sprintf("%s (%s)", e.Node, e.Role))
	row("othernode", "", e.OtherNode)
	row("drnode", "", e.DRNode)
	row("PGDATA", "", e.PGData)
	row("archive", "", e.Archive)
	row("trigger", "", e.Trigger)
	row("archiving_active", "archiving_active", yesNo(e.ArchivingActive))
	row("success requires", "", e.Require)
	row("compressed at rest", "", e.Compress)
	row("keep_backups", "", e.KeepBackups)
	row("max_size", "", sizeOr(e.MaxSize, "no limit"))
	row("fencing hook", "", cmp.Or(e.FencingHook, "none"))
	row("overridden", "runbooks", strings.Join(e.Overrides, " "))
	row("own runbooks", "", strings.Join(e.Runbooks, " "))
	row("server version", "server_version", e.ServerVersion)
	row("configuration", "config_file", e.ConfigFile)
	row("programs", "bin_dir", strings.TrimSpace(e.BinDir+"  "+strings.Join(e.Programs, " ")))
	row("archive_command", "", e.ArchiveCommand)
	row("restore_command", "restore_command", e.RestoreCommand)
	for _, n := range e.Nodes {
		fmt.Fprintf(w, "\t\nnode\t%s (%s)\n", n.Name, n.Role)
		row("  host", "", n.Host)
		row("  PGDATA", "", n.PGData)
		row("  archive", "", n.Archive)
		row("  trigger", "", n.Trigger)
		row("  binary", "", n.Binary())
		row("  compress", "", cmp.Or(n.Compress, cluster.CompressS2))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(out, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

func sizeOr(size cluster.Size, none string) string {
	if size == 0 {
		return none
	}
	return size.String()
}

func yesNo(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}
