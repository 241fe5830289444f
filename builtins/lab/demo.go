package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/warmrun/warmrun/builtins/lab/ledger"
)

// DemoOptions say how the demo is shown.
type DemoOptions struct {
	Options
	// Verbose shows what every command prints.
	Verbose bool
	// Terminal: Out is one, so that lines can be drawn again.
	Terminal bool
	// Color and Unicode: what Out can show.
	Color, Unicode bool
}

// How long one command of the demo may take, and how long a node may take to
// catch up after it.
const (
	commandPatience = 3 * time.Minute
	catchUpPatience = time.Minute
)

// demo is one telling of the story.
type demo struct {
	*screen
	lab    *Lab
	ledger *ledger.Ledger
	load   *ledger.Load
	rows   []tableRow
	// missing names every row that must be on a node and is not.
	missing []error
	// lost is how many acknowledged rows went with both nodes of the pair.
	lost int64
}

// Demo makes a lab and lives the life of a cluster in it, from an empty machine
// to the promotion of the disaster recovery node, with clients writing all the
// while. It runs the program as its user would, and fails when a command fails
// or a row is missing that must be there. The lab is gone when it returns, also
// when ctx ended.
func Demo(ctx context.Context, o DemoOptions) (err error) {
	if o.Out == nil {
		o.Out = io.Discard
	}
	d := &demo{screen: &screen{out: o.Out, terminal: o.Terminal, verbose: o.Verbose, unicode: o.Unicode, color: o.Color}}
	ctx, stop := Outlive(ctx)
	defer stop()
	if o.Dir == "" {
		// One of its own: somebody's lab may be up.
		o.Dir = OwnDir(ctx, demoPrefix)
	}
	start := time.Now()
	if err := d.up(ctx, o.Options); err != nil {
		return err
	}
	defer func() {
		_, closeErr := d.step("take the lab down", func(io.Writer) error { return d.lab.Close(ctx) })
		if err = errors.Join(err, closeErr); err == nil {
			d.print("\nAll of it took %s. %s is gone, and no process is left.\n", seconds(time.Since(start)), d.lab.Dir)
		}
	}()
	err = d.story(ctx)
	if ctx.Err() != nil {
		// What failed then, failed for that reason.
		return fmt.Errorf("the demo was interrupted: %w", ctx.Err())
	}
	if err != nil {
		d.logs()
	}
	return err
}

// Outlive is for a process that has servers to stop: a terminal that is closed
// ends its ctx, as Ctrl-C does, and output that nobody reads any more ("| head")
// does not end it at all. stop ends that.
func Outlive(ctx context.Context) (_ context.Context, stop func()) {
	ctx, cancel := signal.NotifyContext(ctx, syscall.SIGHUP)
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	return ctx, func() {
		signal.Stop(broken)
		cancel()
	}
}

// demoPrefix begins the name of a demo's directory; its process id ends it.
const demoPrefix = "warmrun-demo-"

// OwnDir is the directory for a lab that goes with this process: a prefix and its
// process id. What processes that were killed have left under that prefix is
// removed first.
func OwnDir(ctx context.Context, prefix string) string {
	own := filepath.Join(os.TempDir(), prefix+strconv.Itoa(os.Getpid()))
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	if err != nil {
		return own // the pattern is well formed
	}
	for _, dir := range dirs {
		s, err := readState(dir)
		if err != nil {
			continue // another user's, or no lab at all
		}
		if process, err := s.Process.find(); err == nil && process == nil {
			// What cannot be removed does not stand in the way of a new one.
			_ = remove(ctx, s)
		}
	}
	return own
}

func (d *demo) up(ctx context.Context, o Options) error {
	_, err := d.step("make three nodes: db1, db2 and dr", func(detail io.Writer) error {
		o.Out = detail
		var err error
		if d.lab, err = Up(ctx, o); err != nil {
			return err
		}
		d.ledger, err = ledger.Create(filepath.Join(d.lab.Dir, "ledger"))
		if err != nil {
			return errors.Join(err, d.lab.Close(ctx))
		}
		return nil
	})
	if err != nil {
		return err
	}
	d.print("    PostgreSQL %s, each with an ssh server, below %s\n", d.lab.Version, d.lab.Dir)
	return nil
}

// story tells all chapters and prints the table.
func (d *demo) story(ctx context.Context) (err error) {
	defer func() {
		if d.load != nil {
			err = errors.Join(err, d.load.Stop())
		}
		err = errors.Join(err, d.ledger.Close())
	}()
	for _, chapter := range []func(context.Context) error{
		d.setUp, d.baseCopies, d.relay, d.switchover, d.switchback, d.failover, d.rebuild, d.disaster,
	} {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	if err := d.load.Stop(); err != nil {
		return err
	}
	d.load = nil
	d.table()
	return errors.Join(d.missing...)
}

func (d *demo) setUp(ctx context.Context) error {
	d.heading("Set up the pair and the disaster recovery node")
	return d.commands(ctx, "db1 distrib", "db2 configStandby", "dr configStandby")
}

func (d *demo) baseCopies(ctx context.Context) error {
	primary := d.target("db1")
	_, err := d.step("clients begin to write on db1", func(io.Writer) error {
		if err := ledger.CreateTable(ctx, primary); err != nil {
			return err
		}
		config := ledger.LoadConfig{Writers: 3, Batch: 10, Every: 20 * time.Millisecond}
		for _, n := range d.lab.Nodes {
			config.Targets = append(config.Targets, d.target(n.Name))
		}
		d.load = ledger.StartLoad(ctx, d.ledger, config)
		return nil
	})
	if err != nil {
		return err
	}
	return d.change(ctx, "base copies under load", "db1", []string{"db2", "dr"}, func() error {
		return d.commands(ctx, "db1 copyToStandby --start", "db1 copyToDR --start")
	})
}

func (d *demo) relay(ctx context.Context) error {
	d.heading("WAL flows")
	err := d.change(ctx, "WAL shipped and relayed", "db1", []string{"db2", "dr"}, func() error {
		return d.commands(ctx, "db2 rsyncDR")
	})
	if err != nil {
		return err
	}
	return d.quote(ctx, "primary", "db1", "status")
}

func (d *demo) switchover(ctx context.Context) error {
	d.heading("Switch over to db2, and back")
	return d.change(ctx, "switchover", "db2", []string{"db1", "dr"}, func() error {
		return d.commands(ctx, "db1 switchover --drain 2s --yes")
	})
}

func (d *demo) switchback(ctx context.Context) error {
	return d.change(ctx, "switchback", "db1", []string{"db2", "dr"}, func() error {
		return d.commands(ctx, "db1 switchback --drain 2s --yes")
	})
}

func (d *demo) failover(ctx context.Context) error {
	d.heading("The primary's server dies")
	return d.change(ctx, "failover, db1's host alive", "db2", nil, func() error {
		_, err := d.step("db1: kill -9 of the server, under load", func(io.Writer) error { return d.lab.Kill(ctx, "db1") })
		if err != nil {
			return err
		}
		return d.quote(ctx, " is lost", "db2", "failover", "--yes")
	})
}

func (d *demo) rebuild(ctx context.Context) error {
	return d.change(ctx, "db1 rebuilt as a standby", "db2", []string{"db1", "dr"}, func() error {
		return d.commands(ctx, "db1 rejoin --yes")
	})
}

// disaster loses both nodes of the pair. What the disaster recovery node had
// been sent by then must be there; what was written later is lost.
func (d *demo) disaster(ctx context.Context) error {
	d.heading("Both nodes of the pair are lost")
	resume := d.load.Pause()
	defer resume()
	if err := d.catchUp(ctx, "db2", []string{"db1", "dr"}); err != nil {
		return err
	}
	sent := d.ledger.Snapshot()
	resume()
	if err := pause(ctx, 2*time.Second); err != nil {
		return err
	}
	d.ledger.LongestGap()
	start := time.Now()
	_, err := d.step("db1 and db2: hosts gone, under load", func(io.Writer) error {
		return errors.Join(d.lab.Cut(ctx, "db1"), d.lab.Cut(ctx, "db2"))
	})
	if err != nil {
		return err
	}
	written := d.ledger.Snapshot()
	if err := d.quote(ctx, " is lost", "dr", "failover", "--accept-split", "--yes"); err != nil {
		return err
	}
	took := time.Since(start)
	if err := d.writable(ctx, "dr", written); err != nil {
		return err
	}
	gap := d.ledger.LongestGap()
	if err := d.verify(ctx, tableRow{name: "promotion of dr", took: took, gap: gap}, sent, []string{"dr"}); err != nil {
		return err
	}
	rows, err := ledger.Rows(ctx, d.target("dr"))
	d.lost = written.Compare(rows).Missing.Len()
	return err
}

// writable waits until clients write again.
func (d *demo) writable(ctx context.Context, node string, before ledger.Snapshot) error {
	_, err := d.step("clients write on "+node, func(io.Writer) error {
		ctx, cancel := context.WithTimeout(ctx, catchUpPatience)
		defer cancel()
		for d.ledger.Snapshot().Acknowledged.Minus(before.Acknowledged).Len() == 0 {
			if err := pause(ctx, 5*time.Millisecond); err != nil {
				return fmt.Errorf("no row was acknowledged: %w", err)
			}
		}
		return nil
	})
	return err
}

// change runs one change of state under load, waits for the other nodes to
// catch up, and compares the rows on all of them with the ledger.
func (d *demo) change(ctx context.Context, name, primary string, followers []string, run func() error) error {
	d.ledger.LongestGap()
	start := time.Now()
	if err := run(); err != nil {
		return err
	}
	took := time.Since(start)
	resume := d.load.Pause()
	defer resume()
	gap := d.ledger.LongestGap()
	if err := d.catchUp(ctx, primary, followers); err != nil {
		return err
	}
	return d.verify(ctx, tableRow{name: name, took: took, gap: gap}, d.ledger.Snapshot(), append([]string{primary}, followers...))
}

// catchUp ends the current segment on the primary, relays where there is a
// standby to do it, and waits until the followers have replayed all of it.
func (d *demo) catchUp(ctx context.Context, primary string, followers []string) error {
	if len(followers) == 0 {
		return nil
	}
	_, err := d.step("wait until "+strings.Join(followers, " and ")+" have replayed it all", func(detail io.Writer) error {
		ctx, cancel := context.WithTimeout(ctx, catchUpPatience)
		defer cancel()
		lsn, err := value(ctx, d.target(primary), "SELECT pg_switch_wal()::text")
		if err != nil {
			return err
		}
		for _, name := range followers {
			if name == "dr" {
				if err := d.run(ctx, detail, standbyOf(primary), "rsyncDR"); err != nil {
					return err
				}
			}
			if err := d.replayed(ctx, name, lsn); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

func standbyOf(primary string) string {
	if primary == "db1" {
		return "db2"
	}
	return "db1"
}

// replayed waits until a standby has replayed up to an LSN.
func (d *demo) replayed(ctx context.Context, name, lsn string) error {
	for {
		got, err := value(ctx, d.target(name), "SELECT (pg_last_wal_replay_lsn() >= '"+lsn+"')::text")
		if err == nil && got == "true" {
			return nil
		}
		if waitErr := pause(ctx, 20*time.Millisecond); waitErr != nil {
			return errors.Join(fmt.Errorf("%s has not replayed up to %s: %w", name, lsn, waitErr), err)
		}
	}
}
