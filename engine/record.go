package engine

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"unicode/utf8"
)

// A value that JSON has no form for is written as an object with one key, which
// begins with this: {"$lsn": "0/3000028"}, {"$bytes": "..."} in base64, and
// {"$": {...}} around a table that has itself such a key.
const exactMark = "$"

// EncodeEvent is an event as one line of JSON, with its value exact: opaque
// values and whole numbers come back from DecodeEvent as they were.
func (r *Runbook) EncodeEvent(e Event) ([]byte, error) {
	value, err := r.book.exact(e.Value)
	if err != nil {
		return nil, fmt.Errorf("the result of step %s: %w", e.Step, err)
	}
	e.Value = value
	return json.Marshal(e)
}

// DecodeEvent reads what EncodeEvent has written.
func (r *Runbook) DecodeEvent(line []byte) (Event, error) {
	decoder := json.NewDecoder(strings.NewReader(string(line)))
	decoder.UseNumber()
	var e Event
	if err := decoder.Decode(&e); err != nil {
		return e, err
	}
	value, err := r.book.inexact(e.Value)
	if err != nil {
		return e, fmt.Errorf("the result of step %s: %w", e.Step, err)
	}
	e.Value = value
	return e, nil
}

// exact gives a value the form in which JSON keeps all of it.
func (b *book) exact(value any) (any, error) {
	switch x := value.(type) {
	case nil, bool, int64, float64:
		return x, nil
	case string:
		if !utf8.ValidString(x) {
			return map[string]any{exactMark + "bytes": base64.StdEncoding.EncodeToString([]byte(x))}, nil
		}
		return x, nil
	case []any:
		list := make([]any, len(x))
		for i, item := range x {
			var err error
			if list[i], err = b.exact(item); err != nil {
				return nil, err
			}
		}
		return list, nil
	case map[string]any:
		return b.exactTable(x)
	}
	for _, o := range b.host.Opaques {
		if o.Type == reflect.TypeOf(value) && o.Parse != nil {
			return map[string]any{exactMark + o.Name: textOf(value)}, nil
		}
	}
	return nil, fmt.Errorf("a %T cannot be kept", value)
}

func (b *book) exactTable(table map[string]any) (any, error) {
	out, marked := make(map[string]any, len(table)), false
	for key, item := range table {
		kept, err := b.exact(item)
		if err != nil {
			return nil, within(key, err)
		}
		out[key] = kept
		marked = marked || strings.HasPrefix(key, exactMark)
	}
	if marked {
		return map[string]any{exactMark: out}, nil
	}
	return out, nil
}

// inexact is exact backwards.
func (b *book) inexact(value any) (any, error) {
	switch x := value.(type) {
	case json.Number:
		if n, err := x.Int64(); err == nil && n <= 1<<53 && n >= -(1<<53) {
			return n, nil
		}
		n, err := x.Float64()
		if err == nil && math.IsInf(n, 0) {
			err = fmt.Errorf("%s is no number", x)
		}
		return n, err
	case []any:
		for i := range x {
			var err error
			if x[i], err = b.inexact(x[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for key, item := range x {
			if name, marked := strings.CutPrefix(key, exactMark); marked && len(x) == 1 {
				return b.unmark(name, item)
			}
		}
		return b.inexactTable(x)
	}
	return value, nil
}

func (b *book) inexactTable(table map[string]any) (any, error) {
	for key, item := range table {
		plain, err := b.inexact(item)
		if err != nil {
			return nil, within(key, err)
		}
		table[key] = plain
	}
	return table, nil
}

func (b *book) unmark(name string, item any) (any, error) {
	if table, ok := item.(map[string]any); ok && name == "" {
		return b.inexactTable(table)
	}
	text, ok := item.(string)
	if !ok {
		return nil, fmt.Errorf("%s%s stands before %v, which is no text", exactMark, name, item)
	}
	if name == "bytes" {
		bytes, err := base64.StdEncoding.DecodeString(text)
		return string(bytes), err
	}
	for _, o := range b.host.Opaques {
		if o.Name == name && o.Parse != nil {
			return o.Parse(text)
		}
	}
	return nil, fmt.Errorf("nothing is known of values of type %s", name)
}
