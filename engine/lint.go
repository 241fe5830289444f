package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"
)

// Finding is one mistake that can be seen in the text of a runbook without
// running it.
type Finding struct {
	File string `json:"file"`
	// Line is 0 where only the file is known.
	Line int    `json:"line"`
	Text string `json:"text"`
}

// String is "file:line: text", as compilers print it.
func (f Finding) String() string {
	if f.Line == 0 {
		return f.File + ": " + f.Text
	}
	return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Text)
}

// Lint reads the text of a runbook with its extensions and the libraries that
// it requires, and reports what would be an error when it is loaded or when a
// step is run: unknown names, misspelt functions, options, parameters, steps
// and fields, arguments of the wrong number or type, changes in checks, LSNs
// compared with something else. It also reports steps that change something
// and say nothing about undoing it. What it cannot know it lets pass. The
// findings are in the order of files and lines; no step and no check is run.
func Lint(ctx context.Context, src Source, host Host) []Finding {
	l := &lint{host: host, libs: map[string]*lintLib{}}
	rb, err := Load(ctx, src, host)
	if err != nil {
		l.failed(src, err)
	}
	texts := []Source{src}
	if rb != nil {
		l.book, texts = rb, rb.Sources()
	}
	if err := l.read(src, texts); err != nil {
		l.failed(src, err)
		return l.findings
	}
	return l.sorted()
}

// read reads all texts of a runbook.
func (l *lint) read(src Source, texts []Source) (err error) {
	b := &book{limits: usualLimits, host: l.host, main: &chunk{source: src}, libs: map[string]*chunk{}, sigs: map[string]*signature{}, values: valueTypes(l.host)}
	if l.v, err = newVM(b, false); err != nil {
		return err
	}
	for _, text := range texts {
		if text.Library {
			l.library(text.Name)
			continue
		}
		l.file(text)
	}
	return nil
}

// MayPassNoReturn reports whether a run of the runbook may pass the line of no
// return: a step says so, or its text, with what it requires and what extends it,
// names a function that is marked NoReturn, or one that runs another runbook.
func (r *Runbook) MayPassNoReturn() bool {
	if slices.ContainsFunc(r.Steps, func(s StepInfo) bool { return s.Irreversible }) {
		return true
	}
	l := &lint{host: r.book.host, book: r, libs: map[string]*lintLib{}}
	return l.read(r.book.main.source, r.Sources()) != nil || l.mayPass
}

// lint is the work on one runbook: its files share what libraries do and what
// steps return.
type lint struct {
	host     Host
	v        *vm
	book     *Runbook // nil where it cannot be loaded
	libs     map[string]*lintLib
	results  map[string]luaType // what steps return, as far as it is known
	findings []Finding
	mayPass  bool // something is named that may pass the line of no return
}

// lintLib is what a library's functions do, by their names.
type lintLib struct {
	funcs map[string]*lintFunc
}

// failed takes over the error of the load, which begins with its place.
func (l *lint) failed(src Source, err error) {
	text := err.Error()
	f := Finding{File: src.file(), Text: text}
	file, rest, found := strings.Cut(text, ":")
	if number, said, ok := strings.Cut(rest, ": "); found && ok {
		if line, err := strconv.Atoi(number); err == nil {
			f = Finding{File: file, Line: line, Text: said}
		}
	}
	l.findings = append(l.findings, f)
}

// sorted gives every finding once.
func (l *lint) sorted() []Finding {
	order := map[string]int{}
	for _, f := range l.findings {
		if _, seen := order[f.File]; !seen {
			order[f.File] = len(order)
		}
	}
	slices.SortStableFunc(l.findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(order[a.File], order[b.File]), cmp.Compare(a.Line, b.Line))
	})
	return slices.Compact(l.findings)
}

// file reads one text.
func (l *lint) file(src Source) *lintFile {
	f := &lintFile{lint: l, src: src, assigned: map[string]bool{}, exports: map[string]*lintFunc{}, fn: &lintFunc{place: loading}}
	stmts, ok := parseFor(src)
	if !ok {
		return f // the load has said why
	}
	f.noteAssigned(stmts)
	f.open()
	f.block(stmts)
	f.close()
	for _, judge := range f.later {
		judge()
	}
	return f
}

// parseFor parses a text that compile has read or complained about.
func parseFor(src Source) (stmts []ast.Stmt, ok bool) {
	defer func() {
		if recover() != nil {
			stmts, ok = nil, false
		}
	}()
	stmts, err := parse.Parse(strings.NewReader(plainText(src)), src.file())
	return stmts, err == nil
}

// library reads a library once. One that cannot be found was complained about
// by the load.
func (l *lint) library(name string) *lintLib {
	if lib, ok := l.libs[name]; ok {
		return lib
	}
	l.libs[name] = nil
	if l.host.Library == nil {
		return nil
	}
	src, err := l.host.Library(name)
	if err != nil {
		return nil
	}
	f := l.file(src)
	l.libs[name] = &lintLib{funcs: f.exports}
	return l.libs[name]
}
