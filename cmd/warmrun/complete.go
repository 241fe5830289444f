package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/warmrun/warmrun/engine"
)

// completionCommand prints a line for a shell's start file.
type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh" help:"bash or zsh."`
}

// Run prints it: eval "$(warmrun completion bash)".
func (c *completionCommand) Run(p *process) error {
	if c.Shell == "zsh" {
		if _, err := fmt.Fprintln(p.out, "autoload -U +X bashcompinit && bashcompinit"); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(p.out, "complete -o default -C 'warmrun complete' warmrun")
	return err
}

// completeCommand is called by a shell, which gives the line in COMP_LINE and
// the cursor in COMP_POINT.
type completeCommand struct {
	Rest []string `arg:"" optional:""`
}

// Run prints what may stand at the cursor, one on a line. Nothing is said about
// anything that is wrong: a shell would print it into the line.
func (c *completeCommand) Run(ctx context.Context, p *process) error {
	line := os.Getenv("COMP_LINE")
	if point, err := strconv.Atoi(os.Getenv("COMP_POINT")); err == nil && point >= 0 && point < len(line) {
		line = line[:point]
	}
	words := strings.Fields(line)
	if len(words) == 0 {
		return nil
	}
	if strings.HasSuffix(line, " ") {
		words = append(words, "")
	}
	before, last := words[1:len(words)-1], words[len(words)-1]
	s, err := p.looseSession(globalsOf(before))
	if err != nil {
		return nil
	}
	defer s.Close()
	quiet := &process{name: p.name, args: p.args, out: p.out, err: io.Discard}
	books, err := quiet.completable(ctx, s, firstWord(before))
	if err != nil {
		return nil
	}
	var fixed grammar
	parser, _, err := quiet.newParser(ctx, &fixed, books)
	if err != nil {
		return nil
	}
	t := &completer{s: s, books: books, node: parser.Model.Node}
	for _, word := range before {
		t.pass(word)
	}
	for _, candidate := range t.candidates(last) {
		if _, err := fmt.Fprintln(p.out, candidate); err != nil {
			return err
		}
	}
	return nil
}

// completable loads the runbook of the line, or all where there is none yet.
func (p *process) completable(ctx context.Context, s *session, word string) ([]*engine.Runbook, error) {
	if word != "" && isNative(word) {
		return nil, nil
	}
	names, err := runbookNames(s.site)
	if err != nil {
		return nil, err
	}
	var books []*engine.Runbook
	for _, name := range names {
		if word != "" && name != word {
			continue
		}
		if book, err := loadRunbook(ctx, s, s.setting(), name); err == nil { // else it cannot be called
			books = append(books, book)
		}
	}
	return books, nil
}

// completer walks along the words of a line.
type completer struct {
	s     *session
	books []*engine.Runbook
	node  *kong.Node
	flag  *kong.Flag // whose value comes next
}

// pass takes a word before the cursor.
func (t *completer) pass(word string) {
	switch {
	case t.flag != nil:
		t.flag = nil
	case strings.HasPrefix(word, "-"):
		if !strings.Contains(word, "=") {
			if flag := t.flagNamed(word); flag != nil && !flag.IsBool() {
				t.flag = flag
			}
		}
	default:
		for _, child := range t.node.Children {
			if child.Name == word {
				t.node = child
				return
			}
		}
	}
}

func (t *completer) flags() []*kong.Flag {
	return slices.Concat(t.node.AllFlags(true)...)
}

func (t *completer) flagNamed(word string) *kong.Flag {
	for _, flag := range t.flags() {
		if "--"+flag.Name == word || flag.Short != 0 && "-"+string(flag.Short) == word {
			return flag
		}
	}
	return nil
}

// candidates are what may stand in the place of the word at the cursor. A shell
// takes what follows = for a word of its own.
func (t *completer) candidates(last string) []string {
	if name, value, given := strings.Cut(last, "="); given && strings.HasPrefix(name, "--") {
		if flag := t.flagNamed(name); flag != nil {
			return beginning(value, t.values(flag.Name))
		}
		return nil
	}
	if t.flag != nil {
		return beginning(last, t.values(t.flag.Name))
	}
	var all []string
	if strings.HasPrefix(last, "-") {
		for _, flag := range t.flags() {
			all = append(all, "--"+flag.Name)
			if flag.Tag != nil && flag.Tag.Negatable != "" {
				all = append(all, "--no-"+flag.Name)
			}
		}
		return beginning(last, all)
	}
	for _, child := range t.node.Children {
		if !child.Hidden {
			all = append(all, child.Name)
		}
	}
	for _, positional := range t.node.Positional {
		all = append(all, t.positional(positional.Name)...)
	}
	return beginning(last, all)
}

// positional are the words that a command takes without a flag.
func (t *completer) positional(name string) []string {
	switch {
	case name == "node":
		return t.nodes()
	case name == "runbook" || t.node.Parent != nil && t.node.Parent.Name == "runbook" && name != "file" && name != "dir":
		names, _ := runbookNames(t.s.site) // without them there is nothing to offer
		return names
	case name == "shell":
		return []string{"bash", "zsh"}
	}
	return nil
}

// values are those of a flag: of a runbook's parameter that is a choice or a
// node.
func (t *completer) values(flag string) []string {
	for _, book := range t.books {
		for _, param := range book.Params {
			switch {
			case book.Name != t.node.Name || param.Flag() != flag:
			case param.Type == "choice":
				return param.Choices
			case param.Type == "node":
				return t.nodes()
			}
		}
	}
	return nil
}

func (t *completer) nodes() []string {
	if t.s.site == nil {
		return nil
	}
	var names []string
	for _, node := range t.s.site.Nodes {
		names = append(names, string(node.Name))
	}
	return names
}

func beginning(with string, words []string) []string {
	words = slices.DeleteFunc(slices.Clone(words), func(word string) bool { return !strings.HasPrefix(word, with) })
	slices.Sort(words)
	return slices.Compact(words)
}
