// SPDX-License-Identifier: MIT

package jinja

import (
	"fmt"
	"strings"
	"time"
)

// functions are the global functions.
var functions = map[string]func(r *run, a *arguments) Value{
	"range":           rangeFunction,
	"namespace":       func(r *run, a *arguments) Value { return &namespace{dict(r, a)} },
	"dict":            func(r *run, a *arguments) Value { return dict(r, a) },
	"joiner":          joiner,
	"cycler":          cycler,
	"raise_exception": raise,
	"strftime_now": func(r *run, a *arguments) Value {
		s := strftime(r.now, a.bind(r, "strftime_now", "format").str(0, ""))
		r.charge(len(s))
		return s
	},
}

// raise is raise_exception(message).
func raise(r *run, a *arguments) Value {
	panic(&RaisedError{r.line, r.str(a.bind(r, "raise_exception", "message").must(0))})
}

func rangeFunction(r *run, a *arguments) Value {
	p := a.bind(r, "range", "start", "stop", "step")
	start, stop, step := int64(0), p.int(0, 0), p.int(2, 1)
	if p.must(0); p.given[1] {
		start, stop = stop, p.int(1, 0)
	}
	if step == 0 {
		r.fail("range() arg 3 must not be zero")
	}
	l := NewList()
	for i := start; step > 0 && i < stop || step < 0 && i > stop; i += step {
		if len(l.items) >= 100_000 { // the sandbox's own limit
			r.fail("range too big: the limit is 100000")
		}
		r.step(1)
		r.charge(16)
		l.items = append(l.items, i)
		if next := i + step; (next > i) != (step > 0) {
			break
		}
	}
	return l
}

// dict is dict(mapping, **entries).
func dict(r *run, a *arguments) *Dict {
	d := NewDict()
	if len(a.pos) > 1 {
		r.fail("dict expected at most 1 argument, got %d", len(a.pos))
	}
	if len(a.pos) == 1 {
		if from, ok := a.pos[0].(*Dict); ok {
			for i, k := range from.keys {
				d.put(r.hash(k), k, from.values[i])
			}
		} else {
			for _, item := range r.iterate(a.pos[0]) {
				pair := r.iterate(item)
				if len(pair) != 2 {
					r.fail("dict needs pairs, got %d items", len(pair))
				}
				d.put(r.hash(pair[0]), pair[0], pair[1])
			}
		}
	}
	for i, k := range a.named.keys {
		d.put(r.hash(k), k, a.named.values[i])
	}
	return d
}

// joiner is a function that returns its separator but for the first time.
func joiner(r *run, a *arguments) Value {
	sep := a.bind(r, "joiner", "sep").or(0, ", ")
	used := false
	return &Function{"joiner", func(*run, *arguments) Value {
		if !used {
			used = true
			return ""
		}
		return sep
	}}
}

// cycler goes round its items, one a call of next().
func cycler(r *run, a *arguments) Value {
	if len(a.pos) == 0 {
		r.fail("at least one item has to be provided")
	}
	ns := &namespace{NewDict()}
	at := 0
	set := func(i int) Value {
		at = i % len(a.pos)
		ns.attrs.Set("current", a.pos[at])
		return nil
	}
	set(0)
	ns.attrs.Set("next", &Function{"next", func(*run, *arguments) Value {
		v := a.pos[at]
		set(at + 1)
		return v
	}})
	ns.attrs.Set("reset", &Function{"reset", func(*run, *arguments) Value { return set(0) }})
	return ns
}

// attribute is loop.n.
func (l *loop) attribute(n string) (Value, bool) {
	size := int64(len(l.items))
	at := int64(l.at)
	switch n {
	case "index":
		return at + 1, true
	case "index0":
		return at, true
	case "revindex":
		return size - at, true
	case "revindex0":
		return size - at - 1, true
	case "first":
		return at == 0, true
	case "last":
		return at == size-1, true
	case "length":
		return size, true
	case "depth": // of recursive loops, which there are none
		return int64(1), true
	case "depth0":
		return int64(0), true
	case "previtem":
		if at > 0 {
			return l.items[at-1], true
		}
		return &undefined{"there is no previous item"}, true
	case "nextitem":
		if at < size-1 {
			return l.items[at+1], true
		}
		return &undefined{"there is no next item"}, true
	case "cycle":
		return &Function{n, func(r *run, a *arguments) Value {
			if len(a.pos) == 0 {
				r.fail("no items for cycling given")
			}
			return a.pos[l.at%len(a.pos)]
		}}, true
	case "changed":
		return &Function{n, func(r *run, a *arguments) Value {
			before := l.previous
			l.previous = a.pos
			return before == nil || !r.equal(NewList(before...), NewList(a.pos...), 0)
		}}, true
	}
	return nil, false
}

// layouts are the directives of dates, as Go layouts.
var layouts = map[byte]string{
	'a': "Mon", 'A': "Monday", 'b': "Jan", 'B': "January", 'c': "Mon Jan _2 15:04:05 2006", 'd': "02", 'D': "01/02/06", 'e': "_2", 'F': "2006-01-02",
	'h': "Jan", 'H': "15", 'I': "03", 'j': "002", 'm': "01", 'M': "04", 'p': "PM", 'r': "03:04:05 PM", 'R': "15:04", 'S': "05", 'T': "15:04:05",
	'x': "01/02/06", 'X': "15:04:05", 'y': "06", 'Y': "2006", 'f': "000000",
}

// strftime formats t as Python does in the C locale. Unknown directives stay as they are.
func strftime(t time.Time, format string) string {
	var out strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			out.WriteByte(format[i])
			continue
		}
		i++
		unpadded := format[i] == '-' && i+1 < len(format)
		if unpadded {
			i++
		}
		layout, ok := layouts[format[i]]
		switch {
		case format[i] == '%':
			out.WriteByte('%')
		case format[i] == 'f':
			fmt.Fprintf(&out, "%06d", t.Nanosecond()/1000)
		case format[i] == 'n':
			out.WriteByte('\n')
		case format[i] == 't':
			out.WriteByte('\t')
		case format[i] == 'z' || format[i] == 'Z': // empty: the time has no zone in Python
		case !ok:
			out.WriteByte('%')
			out.WriteByte(format[i])
		case unpadded:
			s := strings.TrimLeft(t.Format(layout), "0 ")
			if s == "" {
				s = "0"
			}
			out.WriteString(s)
		default:
			out.WriteString(t.Format(layout))
		}
	}
	return out.String()
}
