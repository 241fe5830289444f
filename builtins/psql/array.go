package psql

import "strings"

// parseArray takes an array in text form apart, such as {1,NULL,"a b"} or
// [2:3]={1,2} (array_out in arrayfuncs.c; the delimiter of every type in
// elements is a comma). It reports false for what is none.
func parseArray(text string, element func(string) any) ([]any, bool) {
	if strings.HasPrefix(text, "[") {
		_, rest, ok := strings.Cut(text, "=")
		if !ok {
			return nil, false
		}
		text = rest
	}
	p := &arrayParser{text: text, element: element}
	values, ok := p.array()
	return values, ok && p.at == len(text)
}

type arrayParser struct {
	text    string
	at      int
	element func(string) any
}

// next is the byte to be looked at, 0 at the end.
func (p *arrayParser) next() byte {
	if p.at < len(p.text) {
		return p.text[p.at]
	}
	return 0
}

// array reads from one brace to the other.
func (p *arrayParser) array() ([]any, bool) {
	if p.next() != '{' {
		return nil, false
	}
	p.at++
	values := []any{}
	if p.next() == '}' {
		p.at++
		return values, true
	}
	for {
		value, ok := p.value()
		if !ok {
			return nil, false
		}
		values = append(values, value)
		switch p.next() {
		case ',':
			p.at++
		case '}':
			p.at++
			return values, true
		default:
			return nil, false
		}
	}
}

func (p *arrayParser) value() (any, bool) {
	switch p.next() {
	case '{':
		return p.array()
	case '"':
		return p.quoted()
	}
	end := strings.IndexAny(p.text[p.at:], ",{}\"")
	if end <= 0 {
		return nil, false
	}
	word := p.text[p.at : p.at+end]
	p.at += end
	if word == "NULL" {
		return nil, true
	}
	return p.element(word), true
}

// quoted reads a string in quotes, in which a backslash takes the next
// character as it is.
func (p *arrayParser) quoted() (any, bool) {
	var out strings.Builder
	for p.at++; p.at < len(p.text); p.at++ {
		switch p.text[p.at] {
		case '"':
			p.at++
			return p.element(out.String()), true
		case '\\':
			p.at++
		}
		if p.at < len(p.text) {
			out.WriteByte(p.text[p.at])
		}
	}
	return nil, false
}
