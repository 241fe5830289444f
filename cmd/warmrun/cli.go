package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// globals are the flags that every command has.
type globals struct {
	Home   string `help:"The site's home directory (default: $$WARMRUN_HOME, then PGDATA/../warmrun or PGDATA/../2warm, then the home that this program lies in)." placeholder:"DIR" group:"Global flags:"`
	PGData string `name:"pgdata" help:"The data directory (default: $$PGDATA, then what the site says). With cluster.toml it must be the one given there." placeholder:"DIR" group:"Global flags:"`
	Yes    bool   `short:"y" help:"Agree to every question." group:"Global flags:"`
	Within string `hidden:""`
	// Driver is the process that drives the run in Within; see session.
	Driver string `hidden:""`
	// As is the ID of a run that is part of the one in Within, and Again that it
	// may have been begun before.
	As    string `hidden:""`
	Again bool   `hidden:""`
	// PartDone and PartRepeat are the operator's word on steps of that part.
	PartDone   []string `name:"part-done" hidden:"" sep:"none"`
	PartRepeat []string `name:"part-repeat" hidden:"" sep:"none"`
	// Attended: the end of standard input is the end of the run around this one.
	Attended bool `hidden:""`
	Color    bool `hidden:""` // somebody looks at the terminal that the calling run writes to
	Events   bool `hidden:""` // a program follows the calling run
}

// grammar is the fixed part of the command line; runbooks are added to it.
type grammar struct {
	globals

	Init       initCommand       `cmd:"" group:"Commands:" help:"Make a site of this server: cluster.toml, the archive settings, ssh tried."`
	Status     statusCommand     `cmd:"" group:"Commands:" help:"Show what every node does and how far it is."`
	Check      checkCommand      `cmd:"" group:"Commands:" help:"Look at everything that is known to go wrong, as a Nagios plugin or for Prometheus."`
	Why        whyCommand        `cmd:"" group:"Commands:" help:"Explain why WAL does not flow or a node does not follow, and what mends it."`
	Run        runFileCommand    `cmd:"" group:"Commands:" help:"Run a plan that was saved with --plan --out, if all is still as it was then."`
	Runs       runsCommand       `cmd:"" group:"Commands:" help:"List the runs of runbooks, go on with one that was interrupted, or undo it."`
	Wal        walCommand        `cmd:"" group:"Commands:" help:"Look at archived WAL: list it, show a file, verify it all."`
	Copy       copyCommand       `cmd:"" group:"Commands:" help:"Copy a directory to or from another node, sending only what is missing there."`
	Verify     verifyCopyCommand `cmd:"" name:"verifyCopy" group:"Commands:" help:"Compare a base copy with its backup manifest, before its first start."`
	Backups    backupsCommand    `cmd:"" group:"Commands:" help:"List, show, verify and remove the base copies that this node keeps."`
	Env        envCommand        `cmd:"" group:"Commands:" help:"Print the environment and the settings in use."`
	Rehearse   rehearseCommand   `cmd:"" group:"Commands:" help:"Run a runbook on a throw-away cluster while a client writes; with --crash kill things at every boundary of its steps."`
	Lab        labCommand        `cmd:"" group:"Commands:" help:"A throw-away cluster of real servers on this machine."`
	Shipper    shipperCommand    `cmd:"" group:"Commands:" help:"Show or end the process that keeps the connections which WAL is shipped over."`
	Runbook    runbookCommands   `cmd:"" group:"Commands:" help:"Look at the runbooks, change the site's own, and find mistakes in them."`
	Trust      trustCommand      `cmd:"" group:"Commands:" help:"Make a key that may ship WAL to another node, and let it in there."`
	Completion completionCommand `cmd:"" group:"Commands:" help:"Print what bash or zsh needs to complete commands, flags, nodes and runbooks."`
	Version    versionCommand    `cmd:"" group:"Commands:" help:"Print the version."`

	Archive   archiveCommand   `cmd:"" group:"Called by PostgreSQL and by other nodes:" help:"Ship one WAL file: archive_command = 'warmrun archive %p %f'."`
	Restore   restoreCommand   `cmd:"" group:"Called by PostgreSQL and by other nodes:" help:"Restore one WAL file: restore_command = 'warmrun restore %f %p %r'."`
	PgStandby pgStandbyCommand `cmd:"" name:"pg_standby" passthrough:"" group:"Called by PostgreSQL and by other nodes:" help:"Restore with pg_standby's own arguments, waiting until the file is there."`
	Agent     agentCommand     `cmd:"" group:"Called by PostgreSQL and by other nodes:" help:"Receive WAL for this node's archive on standard input, over ssh."`

	Complete  completeCommand     `cmd:"" hidden:"" group:"Commands:" help:"What may stand where the cursor is, for a shell."`
	Lock      lockCommand         `cmd:"" hidden:"" group:"Commands:" help:"Hold this node's lock for a run on another node, on standard input."`
	Call      callCommand         `cmd:"" hidden:"" group:"Commands:" help:"Run one operation for another node."`
	ShipBack  shipBackCommand     `cmd:"" hidden:"" group:"Commands:" name:"ship-back" help:"Ship what the dead server here had flushed to the agent on standard input and output."`
	SyncAgent syncAgentCommand    `cmd:"" hidden:"" group:"Commands:" name:"sync-agent" help:"The far end of a copy, on standard input."`
	Guard     scratchGuardCommand `cmd:"" hidden:"" group:"Commands:" name:"scratch-guard" help:"Remove a scratch server when its maker, on standard input, has ended."`
	Fetch     fetchCommand        `cmd:"" hidden:"" group:"Commands:" help:"Fetch a WAL file from another node's archive."`
}

// errHelpShown ends the parse after help or usage was printed.
var errHelpShown = errors.New("help was shown")

// dispatch parses the command line and runs what it names.
func (p *process) dispatch(ctx context.Context) error {
	if command, g, ok := direct(p.args); ok {
		return command.Run(ctx, p, &g)
	}
	g := globalsOf(p.args)
	word := firstWord(p.args)
	var books []*engine.Runbook
	if !isNative(word) || word == rehearseWord {
		if err := becomeOwner(p.surroundings(g)); err != nil {
			return err
		}
		s, err := p.looseSession(g)
		if err != nil {
			return err
		}
		defer s.Close()
		if books, err = p.booksFor(ctx, s, rehearsedOr(word, p.args)); err != nil {
			return err
		}
	}
	return p.parseAndRun(ctx, books)
}

// newParser builds the grammar with the runbooks in it. flags are where those of
// each runbook are read into.
func (p *process) newParser(ctx context.Context, fixed *grammar, books []*engine.Runbook) (parser *kong.Kong, flags map[string]reflect.Value, err error) {
	options := []kong.Option{
		kong.Name("warmrun"),
		kong.Description("PostgreSQL warm standbys: archive, restore, copy, switch over and fail over, by runbooks you can read."),
		kong.Writers(p.out, p.err),
		kong.Exit(func(int) { panic(errHelpShown) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(p, &fixed.globals),
		kong.NamedMapper("size", kong.MapperFunc(decodeSize)),
	}
	flags = map[string]reflect.Value{}
	for _, book := range books {
		flags[book.Name] = reflect.New(flagsOf(book))
		options = append(options, kong.DynamicCommand(book.Name, book.Summary+".", "Runbooks:", flags[book.Name].Interface()))
	}
	if parser, err = kong.New(fixed, options...); err != nil {
		return nil, nil, err
	}
	parser.Model.HelpFlag.Help = "Show this help."
	return parser, flags, nil
}

// parseAndRun runs the command.
func (p *process) parseAndRun(ctx context.Context, books []*engine.Runbook) error {
	var fixed grammar
	if firstWord(p.args) == rehearseWord {
		if err := fixed.Rehearse.add(books); err != nil {
			return err
		}
	}
	parser, flags, err := p.newParser(ctx, &fixed, books)
	if err != nil {
		return err
	}
	selected, err := parse(parser, p.args)
	if errors.Is(err, errHelpShown) {
		return nil
	}
	if err != nil {
		return p.explainUsage(err, books)
	}
	for _, book := range books {
		if selected.Selected() != nil && selected.Selected().Name == book.Name {
			return p.runbookCommand(ctx, fixed.globals, book, flags[book.Name].Elem())
		}
	}
	return selected.Run()
}

// parse is kong's, with the panic that ends it after help turned into an error.
func parse(parser *kong.Kong, args []string) (selected *kong.Context, err error) {
	defer func() {
		if r := recover(); r != nil {
			if r != any(errHelpShown) {
				panic(r)
			}
			err = errHelpShown
		}
	}()
	if firstWord(args) == "" {
		args = append(args, "--help")
	}
	return parser.Parse(args)
}

// explainUsage names what is near where a command was mistyped, and else the
// place to read on.
func (p *process) explainUsage(err error, books []*engine.Runbook) error {
	word := firstWord(p.args)
	known := nativeNames()
	for _, book := range books {
		known = append(known, book.Name)
	}
	if slices.Contains(known, word) {
		return usageError{hint.Wrap(err, "see: warmrun %s --help", word)}
	}
	if !strings.HasPrefix(err.Error(), "unexpected argument "+word) {
		return usageError{hint.Wrap(err, "see: warmrun --help")}
	}
	unknown := fmt.Errorf("there is no command or runbook %q", word)
	if nearest := hint.Nearest(word, known); nearest != "" {
		return usageError{hint.Wrap(unknown, "did you mean: warmrun %s", nearest)}
	}
	return usageError{hint.Wrap(unknown, "warmrun --help lists them all")}
}

// runbookCommand runs a runbook with the flags that were given.
func (p *process) runbookCommand(ctx context.Context, g globals, book *engine.Runbook, flags reflect.Value) error {
	defer outliveReaders()()
	p.partStream(g.Events)
	words := flags.FieldByName("Words").Interface().([]string)
	if flags.FieldByName("JSON").Bool() && !flags.FieldByName("Plan").Bool() && !slices.Contains(words, "debug") {
		return p.streamed(book.Name, func(p *process) error { return p.callRunbook(ctx, g, book, flags) })
	}
	return p.callRunbook(ctx, g, book, flags)
}

func (p *process) callRunbook(ctx context.Context, g globals, book *engine.Runbook, flags reflect.Value) error {
	s, err := p.session(g)
	if err != nil {
		return err
	}
	defer s.Close()
	command := runCommand{args: map[string]string{}, plan: flags.FieldByName("Plan").Bool(), json: flags.FieldByName("JSON").Bool(), within: g.Within, driver: g.Driver, attended: g.Attended, as: g.As, again: g.Again, words: verdicts{g.PartDone, g.PartRepeat}, color: g.Color || isTerminal(p.out)}
	for i, param := range book.Params {
		if given := flags.FieldByName(fmt.Sprintf("Param%d", i)); !given.IsNil() {
			command.args[param.Name] = fmt.Sprint(given.Elem().Interface())
		}
	}
	for _, word := range flags.FieldByName("Words").Interface().([]string) {
		if word == "debug" {
			return s.environment().print(p.out)
		}
		if !takeWord(book, command.args, word) {
			return usageError{hint.Wrap(fmt.Errorf("%s does not know the word %q", book.Name, word), "see: warmrun %s --help", book.Name)}
		}
	}
	if command.out = flags.FieldByName("Out").String(); command.out != "" && !command.plan {
		return usageError{hint.Wrap(errors.New("--out saves a plan, and none is made"), "give --plan with it")}
	}
	loaded, err := loadRunbook(ctx, s, s.setting(), book.Name)
	if err != nil {
		return err
	}
	if warning, err := movedWarning(s.site, book.Name); err != nil || warning != "" {
		fmt.Fprintf(p.err, "warmrun: %s\n", cmp.Or(warning, fmt.Sprint(err)))
	}
	if flags.FieldByName("Quiet").Bool() && !command.plan && g.Within == "" {
		command.color = false
		err = p.quietly(s, func() error { return p.runRunbook(ctx, s, loaded, command) })
	} else {
		err = p.runRunbook(ctx, s, loaded, command)
	}
	if err != nil && command.within != "" && !engine.HasBegun(err) {
		fmt.Fprintln(p.err, notBegunMark)
	}
	var unsettled *engine.UnsettledError
	if command.within != "" && errors.As(err, &unsettled) {
		fmt.Fprintln(p.err, markUnsettled(unsettled))
	}
	return err
}

// quietly holds back what a run says, and tells it only where the run fails, on
// standard error.
func (p *process) quietly(s *session, run func() error) error {
	var held bytes.Buffer
	out := p.out
	p.out, s.out = &held, &held
	err := run()
	p.out = out
	if err != nil {
		_, _ = held.WriteTo(p.err) // the error itself is told after it
	}
	return err
}

// decodeSize reads a flag that is a number of bytes.
func decodeSize(c *kong.DecodeContext, target reflect.Value) error {
	var text string
	if err := c.Scan.PopValueInto("size", &text); err != nil {
		return err
	}
	bytes, err := engine.ParseSize(text)
	target.SetInt(bytes)
	return err
}

// takeWord takes a bare word for the option that it names, or for the value of
// the parameter that takes one.
func takeWord(book *engine.Runbook, args map[string]string, word string) bool {
	for _, param := range book.Params {
		if param.Flag() == word && param.Type == "boolean" {
			args[param.Name] = "true"
			return true
		}
	}
	for _, param := range book.Params {
		if _, given := args[param.Name]; param.Bare && !given {
			args[param.Name] = word
			return true
		}
	}
	return false
}

// session loads the site and opens a session on it.
func (p *process) session(g globals) (*session, error) {
	s, err := p.openSession(g)
	if err != nil {
		return nil, err
	}
	word := firstWord(p.args)
	if err := checkData(p.surroundings(g), s.site, word); err != nil {
		return nil, err
	}
	if text := otherHome(s.site); text != "" && typed(word) {
		fmt.Fprintf(p.err, "warmrun: %s\n", text)
	}
	return s, nil
}

// looseSession is session for what works on nothing, such as help: it needs no
// site, and takes no notice of a data directory that is not the site's.
func (p *process) looseSession(g globals) (*session, error) {
	s, err := p.openSession(g)
	if errors.Is(err, cluster.ErrNoHome) {
		return newSession(nil, p.out, p.err), nil
	}
	return s, err
}

func (p *process) openSession(g globals) (*session, error) {
	around := p.surroundings(g)
	if err := becomeOwner(around); err != nil {
		return nil, err
	}
	site, err := cluster.Load(around)
	if err != nil {
		return nil, err
	}
	s := newSession(site, p.out, p.err)
	s.yes, s.stopUndo, s.events = g.Yes, p.stopUndo, p.events
	return s, nil
}

// isNative reports whether a word is a command of the binary itself: such a
// call must not load any runbook.
func isNative(word string) bool {
	return commands(func(name string, _ bool) bool { return name == word }) != nil
}

// nativeNames are the commands that the help shows.
func nativeNames() []string {
	return commands(func(_ string, hidden bool) bool { return !hidden })
}

// commands are the fixed commands that a test picks.
func commands(picks func(name string, hidden bool) bool) []string {
	var names []string
	t := reflect.TypeFor[grammar]()
	for i := range t.NumField() {
		field := t.Field(i)
		if _, isCommand := field.Tag.Lookup("cmd"); !isCommand {
			continue
		}
		name := field.Tag.Get("name")
		if name == "" {
			name = strings.ToLower(field.Name)
		}
		if _, hidden := field.Tag.Lookup("hidden"); picks(name, hidden) {
			names = append(names, name)
		}
	}
	return names
}

// firstWord is the first argument that is no flag, which names the command.
func firstWord(args []string) string {
	for i := 0; i < len(args); i++ {
		switch arg := args[i]; {
		case arg == "--home" || arg == "--pgdata" || arg == "--within" || arg == "--driver" || arg == "--as":
			i++
		case !strings.HasPrefix(arg, "-"):
			return arg
		}
	}
	return ""
}

// globalsOf reads the global flags before the real parse, which needs to know
// the site's runbooks first.
func globalsOf(args []string) globals {
	var g globals
	for name, value := range map[string]*string{"--home": &g.Home, "--pgdata": &g.PGData} {
		for i, arg := range args {
			if text, ok := strings.CutPrefix(arg, name+"="); ok {
				*value = text
			} else if arg == name && i+1 < len(args) {
				*value = args[i+1]
			}
		}
	}
	return g
}
