package engine

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"
)

// maxSourceSize bounds a runbook's text. The longest one that a person would
// write is far shorter.
const maxSourceSize = 1 << 20

// chunk is a compiled text. It is never changed, so that any number of Lua
// states can run it.
type chunk struct {
	source Source
	proto  *lua.FunctionProto
	// tables holds, for the line on which a call begins, the keys of the
	// tables that are written out as its arguments.
	tables map[int][]keyLines
}

// keyLines gives the line of each key of a table constructor. Keys of a table
// within it are there as "outer.inner".
type keyLines map[string]int

// file is what messages call the text.
func (s Source) file() string {
	if s.Path != "" {
		return s.Path
	}
	return s.Name + ".lua"
}

// compile parses and compiles a text. Errors read "file:line: what".
func compile(src Source) (c *chunk, err error) {
	defer func() {
		// The parser and the compiler of gopher-lua panic on some texts.
		if r := recover(); r != nil {
			c, err = nil, &InternalError{Func: "compiler", Where: src.file(), Value: r, Stack: debug.Stack()}
		}
	}()
	if len(src.Text) > maxSourceSize {
		return nil, fmt.Errorf("%s: longer than %d bytes", src.file(), maxSourceSize)
	}
	stmts, err := parse.Parse(strings.NewReader(plainText(src)), src.file())
	if err != nil {
		return nil, syntaxError(src, err)
	}
	walk := &rewriter{tables: map[int][]keyLines{}}
	if err := walk.block(stmts); err != nil {
		return nil, fmt.Errorf("%s:%w", src.file(), err)
	}
	proto, err := lua.Compile(stmts, src.file())
	if err != nil {
		return nil, syntaxError(src, err)
	}
	return &chunk{source: src, proto: proto, tables: walk.tables}, nil
}

// plainText is the text without the meaning of a first line for the shell.
func plainText(src Source) string {
	if strings.HasPrefix(src.Text, "#!") {
		return "--" + src.Text
	}
	return src.Text
}

func syntaxError(src Source, err error) error {
	var syntax *parse.Error
	var comp *lua.CompileError
	switch {
	case errors.As(err, &syntax) && syntax.Pos.Line == parse.EOF:
		lines := strings.Count(strings.TrimRight(src.Text, "\n"), "\n") + 1
		return fmt.Errorf("%s:%d: %s: the file ends in the middle of something, perhaps a missing end or }",
			src.file(), lines, syntax.Message)
	case errors.As(err, &syntax):
		return fmt.Errorf("%s:%d: %s near %q", src.file(), syntax.Pos.Line, syntax.Message, syntax.Token)
	case errors.As(err, &comp):
		return fmt.Errorf("%s:%d: %s", src.file(), comp.Line, comp.Message)
	}
	return fmt.Errorf("%s: %w", src.file(), err)
}

// line looks up a key of a table argument of the call that begins on callLine.
func (c *chunk) line(callLine int, key string) int {
	for _, lines := range c.tables[callLine] {
		if line, ok := lines[key]; ok {
			return line
		}
	}
	return callLine
}

func linesOf(table *ast.TableExpr) keyLines {
	lines := keyLines{}
	item := 0
	for _, field := range table.Fields {
		name, line := "", 0
		switch key := field.Key.(type) {
		case nil:
			item++
			name, line = fmt.Sprintf("[%d]", item), field.Value.Line()
		case *ast.StringExpr:
			name, line = key.Value, key.Line()
		default:
			continue
		}
		lines[name] = line
		inner, ok := field.Value.(*ast.TableExpr)
		if !ok {
			continue
		}
		for sub, subLine := range linesOf(inner) {
			lines[name+"."+sub] = subLine
		}
	}
	return lines
}
