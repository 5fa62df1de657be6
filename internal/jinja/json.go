// SPDX-License-Identifier: MIT

package jinja

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// FromJSON reads a JSON value: an object is a [*Dict] with its keys in order, an array a [*List].
func FromJSON(data []byte) (Value, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	v, err := decode(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	return v, nil
}

func decode(d *json.Decoder, depth int) (Value, error) {
	if depth > maxValue {
		return nil, fmt.Errorf("JSON is nested more than %d deep", maxValue)
	}
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Number:
		if n, err := strconv.ParseInt(t.String(), 10, 64); err == nil {
			return n, nil
		}
		f, err := t.Float64()
		return f, err
	case json.Delim:
		if t == '[' {
			return decodeList(d, depth)
		}
		return decodeDict(d, depth)
	}
	return t, nil // string, bool or nil
}

func decodeList(d *json.Decoder, depth int) (Value, error) {
	l := NewList()
	for d.More() {
		v, err := decode(d, depth+1)
		if err != nil {
			return nil, err
		}
		l.items = append(l.items, v)
	}
	_, err := d.Token()
	return l, err
}

func decodeDict(d *json.Decoder, depth int) (Value, error) {
	m := NewDict()
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		v, err := decode(d, depth+1)
		if err != nil {
			return nil, err
		}
		m.Set(key.(string), v)
	}
	_, err := d.Token()
	return m, err
}

// jsonStyle is what Python's json.dumps is told, and where it writes.
type jsonStyle struct {
	ascii, sorted bool
	multiline     bool
	indent        string // of one level
	comma, colon  string
	out           *strings.Builder
}

// toJSON is the filter tojson as transformers defines it: json.dumps, with nothing escaped for HTML.
func toJSON(r *run, v Value, a *arguments) Value {
	p := a.bind(r, "tojson", "ensure_ascii", "indent", "separators", "sort_keys")
	style := &jsonStyle{ascii: truth(p.or(0, false)), sorted: truth(p.or(3, false)), comma: ", ", colon: ": ", out: &strings.Builder{}}
	switch indent := p.or(1, nil).(type) {
	case nil:
	case string:
		style.multiline, style.indent = true, indent
	default:
		n := p.int(1, 0)
		style.multiline, style.indent = true, strings.Repeat(" ", int(max(0, min(n, 100))))
	}
	if style.multiline {
		style.comma = ","
	}
	if l, ok := p.or(2, nil).(*List); ok && len(l.items) == 2 {
		style.comma, style.colon = str(l.items[0]), str(l.items[1])
	}
	style.append(r, v, 0)
	r.charge(style.out.Len())
	return style.out.String()
}

func (s *jsonStyle) append(r *run, v Value, depth int) {
	r.step(1)
	if depth > maxValue {
		r.fail("values are nested more than %d deep", maxValue)
	}
	if s.out.Len() > maxOutput {
		r.fail("the output exceeds %d bytes", maxOutput)
	}
	switch v := v.(type) {
	case nil:
		s.out.WriteString("null")
	case bool:
		s.out.WriteString(strconv.FormatBool(v))
	case int64:
		s.out.WriteString(strconv.FormatInt(v, 10))
	case float64:
		f := formatFloat(v)
		if word, ok := map[string]string{"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[f]; ok {
			f = word
		}
		s.out.WriteString(f)
	case string:
		s.quote(v)
	case *List:
		if v.kind == isLazy {
			r.fail("Object of type generator is not JSON serializable")
		}
		s.block('[', ']', len(v.items), depth, func(i int) { s.append(r, v.items[i], depth+1) })
	case *Dict:
		order := make([]int, len(v.keys))
		for i := range order {
			order[i] = i
		}
		if s.sorted {
			slices.SortFunc(order, func(i, j int) int { return r.order("<", v.keys[i], v.keys[j]) })
		}
		s.block('{', '}', len(v.keys), depth, func(i int) {
			s.key(r, v.keys[order[i]])
			s.out.WriteString(s.colon)
			s.append(r, v.values[order[i]], depth+1)
		})
	default:
		r.fail("Object of type %s is not JSON serializable", typeName(v))
	}
}

// key writes a key, which JSON wants to be a string.
func (s *jsonStyle) key(r *run, k Value) {
	switch k := k.(type) {
	case string:
		s.quote(k)
	case *List:
		r.fail("keys must be str, int, float, bool or None, not %s", typeName(k))
	default:
		s.out.WriteByte('"')
		s.append(r, k, 0)
		s.out.WriteByte('"')
	}
}

func (s *jsonStyle) block(open, closing byte, n, depth int, item func(i int)) {
	s.out.WriteByte(open)
	for i := range n {
		if i > 0 {
			s.out.WriteString(s.comma)
		}
		s.newline(depth + 1)
		item(i)
	}
	if n > 0 {
		s.newline(depth)
	}
	s.out.WriteByte(closing)
}

func (s *jsonStyle) newline(depth int) {
	if s.multiline {
		s.out.WriteByte('\n')
		s.out.WriteString(strings.Repeat(s.indent, depth))
	}
}

func (s *jsonStyle) quote(text string) {
	s.out.WriteByte('"')
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			s.out.WriteByte('\\')
			s.out.WriteRune(c)
		case c == '\n':
			s.out.WriteString(`\n`)
		case c == '\r':
			s.out.WriteString(`\r`)
		case c == '\t':
			s.out.WriteString(`\t`)
		case c == '\f':
			s.out.WriteString(`\f`)
		case c == '\b':
			s.out.WriteString(`\b`)
		case c < 0x20 || s.ascii && c > 0x7f && c < 0x10000:
			fmt.Fprintf(s.out, `\u%04x`, c)
		case s.ascii && c >= 0x10000:
			fmt.Fprintf(s.out, `\u%04x\u%04x`, 0xd800+(c-0x10000)>>10, 0xdc00+(c-0x10000)&0x3ff)
		default:
			s.out.WriteRune(c)
		}
	}
	s.out.WriteByte('"')
}
