package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/warmrun/warmrun/walcore/hint"
)

// loadTimeout bounds the execution of a runbook's file, which only builds a
// table.
const loadTimeout = 5 * time.Second

// book is what the Lua states of one runbook share: its texts, compiled once
// and pinned, and what reflection said about the host's functions.
type book struct {
	host   Host
	main   *chunk
	limits limits

	mu         sync.Mutex
	extensions []*chunk
	extended   bool // the host was asked for them
	libs       map[string]*chunk
	order      []string // names of libs in the order of their loading
	tried      []Source // what libs were made of, also those that failed
	sigs       map[string]*signature
	values     map[reflect.Type]bool
	// failing, where it is set, is told of every line that calls fail.
	failing func(where string)
}

// Load reads, runs and validates the file of a runbook. That has no effect on
// anything outside. Errors read "file:line: what is wrong", with the step and
// the key, and have a hint at what to do with the file. Files that it requires
// are read here too and stay as they are for every run of this Runbook.
func Load(ctx context.Context, src Source, host Host) (*Runbook, error) {
	main, err := compile(src)
	if err != nil {
		return nil, src.advise(err)
	}
	b := &book{limits: usualLimits, host: host, main: main, libs: map[string]*chunk{}, sigs: map[string]*signature{}}
	b.values = valueTypes(host)
	v, err := b.instance(ctx, false)
	if err != nil {
		return nil, b.faulty(err).advise(err)
	}
	r := v.def.book
	if src.Name != "" && src.Name != r.Name {
		return nil, src.advise(fmt.Errorf("%s:%d: the file is for runbook %s and describes %s: the names must be the same",
			src.file(), v.def.line(main, "name"), src.Name, r.Name))
	}
	r.book = b
	return &r, nil
}

// advise adds to an error what to do about the file that it is in, where it
// does not say so itself.
func (s Source) advise(err error) error {
	switch {
	case hint.Of(err) != "":
		return err
	case s.Shipped:
		return hint.Wrap(err, "nothing was run; this text came with the program: look for a file of the site's own in global/runbooks that it requires")
	case s.Shadows:
		return hint.Wrap(err, "nothing was run; correct %s, or move it away to have the %s that came with the program", s.file(), s.Name)
	}
	return hint.Wrap(err, "nothing was run; correct %s, or move it away", s.file())
}

// faulty is the text that an error of the load is about: the last one required
// that it names.
func (b *book) faulty(err error) Source {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, src := range slices.Backward(b.tried) {
		if strings.Contains(err.Error(), src.file()+":") {
			return src
		}
	}
	return b.main.source
}

// line is where the runbook's call has a key, for messages after the load.
func (d *definition) line(c *chunk, key string) int { return c.line(d.callLine, key) }

// instance is a fresh Lua state in which the runbook's file has been run.
func (b *book) instance(ctx context.Context, planning bool) (*vm, error) {
	v, err := newVM(b, planning)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, loadTimeout, fmt.Errorf("%s: still loading after %s", b.main.source.file(), loadTimeout))
	defer cancel()
	v.place = loading
	value, err := v.exec(ctx, b.main)
	if err != nil {
		return nil, b.loadError(err)
	}
	ud, ok := value.(*lua.LUserData)
	if ok {
		_, ok = ud.Value.(*definition)
	}
	if !ok || v.def == nil {
		return nil, fmt.Errorf("%s: the file must end in return runbook { ... }, and returns %s",
			b.main.source.file(), v.withArticle(value))
	}
	return v, b.extend(ctx, v)
}

// loadError makes sure that an error names the file.
func (b *book) loadError(err error) error {
	var script *scriptError
	if !errors.As(err, &script) || script.where == "" {
		return err
	}
	if file, _, found := strings.Cut(script.Error(), ":"); found && b.chunkOf(file) != nil {
		return err
	}
	return fmt.Errorf("%s: %w", script.where, err)
}

// library gives a library file, always the same text.
func (b *book) library(name string) (*chunk, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.libs[name]; c != nil {
		return c, nil
	}
	if b.host.Library == nil {
		return nil, errors.New("there is no library")
	}
	src, err := b.host.Library(name)
	if err != nil {
		return nil, err
	}
	src.Library = true
	b.tried = append(b.tried, src)
	c, err := compile(src)
	if err != nil {
		return nil, err
	}
	b.libs[name] = c
	b.order = append(b.order, name)
	return c, nil
}

// chunkOf finds a compiled text by the name that messages give it.
func (b *book) chunkOf(file string) *chunk {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.main.source.file() == file {
		return b.main
	}
	for _, c := range append(slices.Collect(maps.Values(b.libs)), b.extensions...) {
		if c.source.file() == file {
			return c
		}
	}
	return nil
}

func (b *book) signature(module string, f Func) (*signature, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := module + "." + f.Name
	if s := b.sigs[key]; s != nil {
		return s, nil
	}
	s, err := newSignature(module, f, b.values)
	if err != nil {
		return nil, err
	}
	b.sigs[key] = s
	return s, nil
}

// Sources are the runbook's own text, those of the files it has required in the
// order of their loading, and its extensions.
func (r *Runbook) Sources() []Source {
	r.book.mu.Lock()
	defer r.book.mu.Unlock()
	out := []Source{r.book.main.source}
	for _, name := range r.book.order {
		out = append(out, r.book.libs[name].source)
	}
	for _, c := range r.book.extensions {
		out = append(out, c.source)
	}
	return out
}
