package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/warmrun/warmrun/builtins/lab"
	"github.com/warmrun/warmrun/builtins/lab/rehearsal"
	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/hint"
)

// rehearseCommand runs a runbook on the lab's servers. The runbook's own flags
// are added to it when the command line is parsed.
type rehearseCommand struct {
	Runbook string   `arg:"" help:"The runbook; its own flags may follow."`
	Words   []string `arg:"" optional:"" name:"word" help:"The name of an option of the runbook without its dashes."`

	Crash bool   `help:"At every boundary of every step kill warmrun, then the ssh connections, then a server, and go on as an operator would."`
	Only  string `help:"With --crash: only the boundaries of this step." placeholder:"STEP|RUNBOOK/STEP"`
	At    string `help:"With --crash: only the boundaries before a step's first change, when it has changed things and its end is not on record, or after its end." placeholder:"before|changed|ended"`
	Kill  string `help:"With --crash: kill only this." placeholder:"warmrun|ssh|server"`
	JSON  bool   `help:"Print JSON, when all is done."`

	LabDir  string `help:"The lab's directory, made and removed (default: a new one in the system's temporary directory)." placeholder:"DIR"`
	LabUser string `help:"Started by root: the ordinary user that the servers run as." placeholder:"NAME"`
	PGBin   string `name:"pg-bin" help:"The directory with pg_ctl and postgres (default: the newest installed)." placeholder:"DIR"`

	kong.Plugins
}

// Run prints the table and the verdict; the exit code is 1 where it is bad.
func (c *rehearseCommand) Run(ctx context.Context, p *process, g *globals) error {
	if err := lab.Demote(c.LabUser); err != nil {
		return err
	}
	s, err := p.looseSession(*g)
	if err != nil {
		return err
	}
	defer s.Close()
	book, err := loadRunbook(ctx, s, s.setting(), c.Runbook)
	if err != nil {
		return err
	}
	o, err := c.options(s, book, p.out)
	if err != nil {
		return err
	}
	report, err := rehearsal.Run(ctx, o)
	if ctx.Err() != nil {
		return fmt.Errorf("the rehearsal was interrupted: %w", ctx.Err())
	}
	if err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(p.out, report)
	} else {
		_, err = fmt.Fprintf(p.out, "\n%s", report.Verdict())
	}
	if err != nil || report.Passed {
		return err
	}
	return negativeError{errors.New("the rehearsal has failed")}
}

func (c *rehearseCommand) options(s *session, book *engine.Runbook, out io.Writer) (o rehearsal.Options, err error) {
	if c.JSON {
		out = io.Discard
	}
	if !c.Crash && c.Only+c.At+c.Kill != "" {
		return o, usageError{hint.Wrap(errors.New("--only, --at and --kill choose among crashes, and none is asked for"), "give --crash with them")}
	}
	o = rehearsal.Options{
		Options: lab.Options{Dir: c.LabDir, PGBin: c.PGBin, Out: out},
		Book:    rehearsal.Book{Name: book.Name, RunsOn: book.RunsOn},
		Crash:   c.Crash, Step: c.Only, At: rehearsal.Place(c.At), Kill: rehearsal.Victim(c.Kill),
	}
	if c.At != "" && !slices.Contains(rehearsal.Places(), o.At) {
		return o, usageError{fmt.Errorf("--at %s is none of %v", c.At, rehearsal.Places())}
	}
	if c.Kill != "" && !slices.Contains(rehearsal.Victims(), o.Kill) {
		return o, usageError{fmt.Errorf("--kill %s is none of %v", c.Kill, rehearsal.Victims())}
	}
	if s.site != nil {
		o.Runbooks = s.site.Global("runbooks")
	}
	for _, step := range book.Steps {
		o.Book.Steps = append(o.Book.Steps, step.Name)
	}
	for _, param := range book.Params {
		o.Book.Flags = append(o.Book.Flags, param.Flag())
	}
	o.Args, err = c.args(book)
	return o, err
}

// args are the runbook's own flags as they were typed.
func (c *rehearseCommand) args(book *engine.Runbook) (args []string, err error) {
	flags := reflect.Indirect(reflect.ValueOf(c.Plugins[0]))
	for i, param := range book.Params {
		given := flags.FieldByName(fmt.Sprintf("Param%d", i))
		if given.IsNil() {
			continue
		}
		args = append(args, fmt.Sprintf("--%s=%v", param.Flag(), given.Elem().Interface()))
	}
	words := map[string]string{}
	for _, word := range c.Words {
		if !takeWord(book, words, word) {
			return nil, usageError{hint.Wrap(fmt.Errorf("%s does not know the word %q", book.Name, word), "see: warmrun rehearse %s --help", book.Name)}
		}
	}
	for _, param := range book.Params {
		if value, named := words[param.Name]; named {
			args = append(args, fmt.Sprintf("--%s=%s", param.Flag(), value))
		}
	}
	return args, nil
}

// rehearseWord is the name of the command.
const rehearseWord = "rehearse"

// rehearsedOr is the word that names the runbook of a command line: what comes
// after rehearse and is no flag, nor the value of one; else the command itself.
func rehearsedOr(word string, args []string) string {
	if word != rehearseWord {
		return word
	}
	for args = args[slices.Index(args, word)+1:]; len(args) > 0; args = args[1:] {
		switch arg := args[0]; {
		case slices.Contains([]string{"--only", "--at", "--kill", "--lab-dir", "--lab-user", "--pg-bin", "--home", "--pgdata"}, arg) && len(args) > 1:
			args = args[1:]
		case !strings.HasPrefix(arg, "-"):
			return arg
		}
	}
	return word
}

// add gives the command the flags of the runbook, which is the only one that was
// loaded.
func (c *rehearseCommand) add(books []*engine.Runbook) error {
	if len(books) != 1 {
		return nil // no runbook was named: the parser says so
	}
	own := reflect.TypeFor[rehearseCommand]()
	for _, param := range books[0].Params {
		for j := range own.NumField() {
			if cmp.Or(own.Field(j).Tag.Get("name"), strings.ToLower(own.Field(j).Name)) == param.Flag() {
				return hint.Wrap(fmt.Errorf("%s: parameter %s would be --%s, which rehearse has for itself", books[0].Source().Path, param.Name, param.Flag()),
					"nothing was run; give the parameter another name")
			}
		}
	}
	c.Plugins = kong.Plugins{reflect.New(reflect.StructOf(paramFields(books[0]))).Interface()}
	return nil
}
