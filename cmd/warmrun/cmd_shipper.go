package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
	"github.com/warmrun/warmrun/walcore/ship"
)

// shipperCommand looks after the process that ships WAL.
type shipperCommand struct {
	Status shipperStatusCommand `cmd:"" help:"Show the shipper's connections and what it has shipped."`
	Stop   shipperStopCommand   `cmd:"" help:"End the shipper; the next archive call starts another one."`
	Run    shipperRunCommand    `cmd:"" hidden:"" help:"Be the shipper."`
}

// idleTime is how long a shipper stays without a call. A server with
// archive_timeout set calls more often than that.
const idleTime = 10 * time.Minute

// shipperMemory is where the garbage collector begins to save memory.
const shipperMemory = 96 << 20

// shipperRunCommand is the shipper itself. archive starts it.
type shipperRunCommand struct{}

// Run serves archive calls until it has been idle, or another one is there.
func (c *shipperRunCommand) Run(ctx context.Context, p *process, g *globals) error {
	debug.SetMemoryLimit(shipperMemory)
	around := p.surroundings(*g)
	around.WorkDir = around.DataDir()
	if err := becomeOwner(around); err != nil {
		return err
	}
	home, err := cluster.Locate(around)
	if err != nil {
		return err
	}
	place, err := ship.PlaceOf(shipperDir(home), around.DataDir())
	if err != nil {
		return err
	}
	log := func(format string, args ...any) {
		fmt.Fprintf(p.err, time.Now().Format("2006-01-02 15:04:05.000 MST ")+format+"\n", args...)
	}
	remarks := ship.NewRemarks(p.err)
	err = ship.RunShipper(ctx, ship.ShipperConfig{
		Place: place, Idle: idleTime, Program: program(), Log: log, Remarks: remarks,
		Prepare: func(path string, name walcore.FileName) (ship.ArchiveRequest, error) {
			site, err := cluster.Load(around)
			if err != nil {
				return ship.ArchiveRequest{}, err
			}
			if err := checkData(cluster.Surroundings{WorkDir: around.WorkDir, Getenv: os.Getenv}, site, "archive"); err != nil {
				return ship.ArchiveRequest{}, err
			}
			s := newSession(site, io.Discard, p.err)
			return s.archiveRequest(path, name, func(node cluster.NodeName) ship.Dialer { return s.heldAgent(node, remarks) })
		},
	})
	if errors.Is(err, ship.ErrShipperRuns) {
		return nil // two calls have started one at the same time
	}
	return err
}

// shippers are the places of this home directory: that of the data directory
// which was named, or all.
func (p *process) shippers(g globals) ([]ship.Place, error) {
	around := p.surroundings(g)
	if err := becomeOwner(around); err != nil {
		return nil, err
	}
	home, err := cluster.Locate(around)
	if err != nil {
		return nil, err
	}
	if g.PGData == "" {
		return ship.Places(shipperDir(home))
	}
	place, err := ship.PlaceOf(shipperDir(home), g.PGData)
	return []ship.Place{place}, err
}

// shipperStatusCommand shows the running shippers.
type shipperStatusCommand struct {
	JSON bool `name:"json" help:"Print it for programs."`
}

// Run exits with 3 where no shipper runs; for programs it says [] then.
func (c *shipperStatusCommand) Run(ctx context.Context, p *process, g *globals) error {
	places, err := p.shippers(*g)
	if err != nil {
		return err
	}
	running := []ship.ShipperStatus{}
	for _, place := range places {
		status, err := place.Status(ctx)
		if errors.Is(err, ship.ErrNoShipper) {
			continue
		}
		if err != nil {
			return fmt.Errorf("ask the shipper of %s: %w", place.DataDir, err)
		}
		running = append(running, status)
	}
	if c.JSON {
		encoder := json.NewEncoder(p.out)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(running); err != nil || len(running) > 0 {
			return err
		}
	}
	if len(running) == 0 {
		return hint.Wrap(ship.ErrNoShipper, "the server's next archive call starts one, when archiving is active")
	}
	for _, status := range running {
		if _, err := io.WriteString(p.out, describeShipper(status, time.Now())); err != nil {
			return err
		}
	}
	return nil
}

func describeShipper(s ship.ShipperStatus, now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "shipper of %s: process %d, up %s, %d calls\n", s.DataDir, s.PID, now.Sub(s.Started).Round(time.Second), s.Calls)
	for _, l := range s.Links {
		fmt.Fprintf(&b, "  %s (%s)\n", l.Node, l.Where)
		switch {
		case !l.Connected.IsZero():
			fmt.Fprintf(&b, "    connected for %s\n", now.Sub(l.Connected).Round(time.Second))
		case l.Trouble == "":
			b.WriteString("    not connected\n")
		default:
			fmt.Fprintf(&b, "    not connected: %s\n", l.Trouble)
			if l.Again.After(now) {
				fmt.Fprintf(&b, "    tried again in %s at the earliest\n", l.Again.Sub(now).Round(time.Second))
			}
			if l.Hint != "" {
				fmt.Fprintf(&b, "    hint: %s\n", l.Hint)
			}
		}
		fmt.Fprintf(&b, "    %d files delivered (%s), %d of them before the server asked\n", l.Files, bytesText(l.Bytes), l.SentAhead)
		for _, name := range l.OnTheWay {
			fmt.Fprintf(&b, "    on its way: %s\n", name)
		}
	}
	return b.String()
}

// shipperStopCommand ends the running shippers.
type shipperStopCommand struct{}

// Run waits for the end; files on their way are delivered first.
func (c *shipperStopCommand) Run(ctx context.Context, p *process, g *globals) error {
	places, err := p.shippers(*g)
	if err != nil {
		return err
	}
	for _, place := range places {
		status, err := place.Status(ctx)
		if errors.Is(err, ship.ErrNoShipper) {
			continue
		}
		if err == nil {
			err = place.Stop(ctx)
		}
		if err == nil {
			err = place.Wait(ctx)
		}
		if err != nil {
			return fmt.Errorf("stop the shipper of %s: %w", place.DataDir, err)
		}
		fmt.Fprintf(p.out, "The shipper of %s (process %d) has ended.\n", place.DataDir, status.PID)
	}
	return nil
}
