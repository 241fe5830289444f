package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/warmrun/warmrun/builtins/lab"
)

// labCommand is the throw-away cluster.
type labCommand struct {
	Up     labUpCommand     `cmd:"" help:"Make three nodes on loopback addresses and leave them running."`
	Status labStatusCommand `cmd:"" help:"Show the lab's nodes and how to use them."`
	Down   labDownCommand   `cmd:"" help:"Stop the lab and remove all of it."`
	Demo   labDemoCommand   `cmd:"" help:"Live the whole life of a cluster with real servers and real rows, and clean up."`
	Serve  labServeCommand  `cmd:"" hidden:"" help:"Hold a lab until told to stop."`
}

// labPlace says where the lab is and whose.
type labPlace struct {
	Dir   string `help:"The lab's directory (default: a directory of this user's in the system's temporary one)." placeholder:"DIR"`
	User  string `help:"Started by root: the ordinary user that the servers run as." placeholder:"NAME"`
	PGBin string `name:"pg-bin" help:"The directory with pg_ctl and postgres (default: the newest installed)." placeholder:"DIR"`
}

func (c labPlace) options(out io.Writer) lab.Options {
	return lab.Options{Dir: c.Dir, PGBin: c.PGBin, Out: out}
}

// labUpCommand leaves a lab in the background.
type labUpCommand struct {
	labPlace
}

// Run returns when the primary accepts connections.
func (c *labUpCommand) Run(ctx context.Context, p *process) error {
	if err := lab.Demote(c.User); err != nil {
		return err
	}
	args := []string{"lab", "serve"}
	if c.Dir != "" {
		args = append(args, "--dir", c.Dir)
	}
	if c.PGBin != "" {
		args = append(args, "--pg-bin", c.PGBin)
	}
	report, err := lab.Start(ctx, c.options(p.out), args...)
	if err != nil {
		return err
	}
	if err := printLab(p.out, report); err != nil {
		return err
	}
	return printNext(p.out, report)
}

// printNext says how to type a command on each node, in the order in which a
// cluster is set up.
func printNext(out io.Writer, report lab.Report) error {
	var b strings.Builder
	b.WriteString("\nGo on with:\n")
	for i, command := range []string{"distrib", "configStandby", "configStandby"} {
		n := report.Nodes[i]
		fmt.Fprintf(&b, "  %s --home %s %s\n", n.Binary(), n.Home, command)
	}
	first := report.Nodes[0]
	fmt.Fprintf(&b, "  %s --home %s copyToStandby --start\n", first.Binary(), first.Home)
	fmt.Fprintf(&b, "SQL, as %s:\n  psql -h %s -p %d postgres\n", report.User, first.SocketDir, first.Port)
	_, err := io.WriteString(out, b.String())
	return err
}

// labServeCommand is the background process of labUpCommand.
type labServeCommand struct {
	labPlace
}

// Run holds the lab until it is told to stop.
func (c *labServeCommand) Run(ctx context.Context, p *process) error {
	return lab.Serve(ctx, c.options(p.out))
}

// labStatusCommand shows a lab.
type labStatusCommand struct {
	labPlace
	JSON bool `help:"Print JSON."`
}

// Run prints one line per node.
func (c *labStatusCommand) Run(ctx context.Context, p *process) error {
	if err := lab.Demote(c.User); err != nil {
		return err
	}
	report, err := lab.Status(ctx, c.Dir)
	if err != nil {
		return err
	}
	if !c.JSON {
		return printLab(p.out, report)
	}
	encoder := json.NewEncoder(p.out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(report)
}

func printLab(out io.Writer, report lab.Report) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "node\tssh\tserver\tport\tsockets\twarmrun home")
	for i, n := range report.Nodes {
		ssh := "closed"
		if report.Servers[i].SSH {
			ssh = fmt.Sprintf("%s:%d", n.Address, n.SSHPort)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", n.Name, ssh, report.Servers[i].Server, n.Port, n.SocketDir, n.Home)
	}
	return w.Flush()
}

// labDownCommand removes a lab.
type labDownCommand struct {
	labPlace
}

// Run stops only what the lab itself started.
func (c *labDownCommand) Run(ctx context.Context, p *process) error {
	if err := lab.Demote(c.User); err != nil {
		return err
	}
	if err := lab.Down(ctx, c.Dir); err != nil {
		return err
	}
	_, err := fmt.Fprintln(p.out, "The lab is gone.")
	return err
}

// labDemoCommand tells the whole story.
type labDemoCommand struct {
	labPlace
	Verbose bool `short:"v" help:"Show what every command prints."`
}

// Run fails when a command fails or a row is missing.
func (c *labDemoCommand) Run(ctx context.Context, p *process) error {
	if err := lab.Demote(c.User); err != nil {
		return err
	}
	terminal := isTerminal(p.out)
	return lab.Demo(ctx, lab.DemoOptions{
		Options: c.options(p.out), Verbose: c.Verbose, Terminal: terminal,
		Color:   terminal && os.Getenv("NO_COLOR") == "",
		Unicode: strings.Contains(strings.ToUpper(os.Getenv("LC_ALL")+os.Getenv("LC_CTYPE")+os.Getenv("LANG")), "UTF-8"),
	})
}
