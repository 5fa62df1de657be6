// SPDX-License-Identifier: MIT

package jinja

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// filter is what stands behind "|".
type filter func(r *run, v Value, a *arguments) Value

var filters map[string]filter

func init() { // filters and tests know of each other
	filters = map[string]filter{
		// Of text.
		"string": func(r *run, v Value, a *arguments) Value { a.bind(r, "string"); return r.str(v) },
		"upper":  textFilter(upper), "lower": textFilter(strings.ToLower), "capitalize": textFilter(capitalise), "title": textFilter(titleFilter),
		"safe": textFilter(func(s string) string { return s }), "e": textFilter(escape), "escape": textFilter(escape), "forceescape": textFilter(escape),
		"trim":    viaMethod("strip"),
		"center":  func(r *run, v Value, a *arguments) Value { return centerFilter(r, v, a) },
		"replace": replaceFilter,
		"indent":  indentFilter,
		"format": func(r *run, v Value, a *arguments) Value {
			return r.format(r.str(v), &List{items: a.pos, kind: isTuple})
		},
		"wordcount": func(r *run, v Value, a *arguments) Value {
			return int64(len(strings.FieldsFunc(r.str(v), func(c rune) bool { return !isWord(c) })))
		},
		"truncate": truncate,
		// Of numbers.
		"int": intFilter, "float": floatFilter, "abs": absFilter, "round": round,
		// Of anything.
		"default": defaultFilter, "d": defaultFilter, "tojson": toJSON,
		"attr": func(r *run, v Value, a *arguments) Value { return r.attribute(v, a.bind(r, "attr", "name").str(0, "")) },
		// Of sequences.
		"length": length, "count": length, "first": first, "last": last, "list": list, "items": itemsFilter, "reverse": reverse,
		"join": joinFilter, "sum": sum, "min": extreme(-1), "max": extreme(1), "unique": unique, "sort": sortFilter, "dictsort": dictSort,
		"map": mapFilter, "select": selection(false, true), "reject": selection(false, false), "selectattr": selection(true, true),
		"rejectattr": selection(true, false), "batch": batch, "slice": sliceFilter, "groupby": groupBy,
	}
}

func textFilter(f func(string) string) filter {
	return func(r *run, v Value, a *arguments) Value {
		a.bind(r, "a filter of text")
		s := f(r.str(v))
		r.charge(len(s))
		return s
	}
}

// viaMethod is a filter that equals a method of strings.
func viaMethod(n string) filter {
	return func(r *run, v Value, a *arguments) Value { return method(r.str(v), n).call(r, a) }
}

func centerFilter(r *run, v Value, a *arguments) Value {
	return method(r.str(v), "center").call(r, &arguments{pos: []Value{a.bind(r, "center", "width").int(0, 80)}, named: NewDict()})
}

func replaceFilter(r *run, v Value, a *arguments) Value {
	p := a.bind(r, "replace", "old", "new", "count")
	args := &arguments{pos: []Value{r.str(p.must(0)), r.str(p.must(1))}, named: NewDict()}
	if n := p.or(2, nil); n != nil {
		args.pos = append(args.pos, n)
	}
	return method(r.str(v), "replace").call(r, args)
}

var escaper = strings.NewReplacer("&", "&amp;", ">", "&gt;", "<", "&lt;", "'", "&#39;", `"`, "&#34;")

func escape(s string) string { return escaper.Replace(s) }

var titleWords = regexp.MustCompile(`[^\s({\[<-]+`)

// titleFilter is the filter title, which unlike the method starts words at spaces, dashes and opening brackets only.
func titleFilter(s string) string { return titleWords.ReplaceAllStringFunc(s, capitalise) }

func indentFilter(r *run, v Value, a *arguments) Value {
	p := a.bind(r, "indent", "width", "first", "blank")
	indent, ok := p.or(0, int64(4)).(string)
	if !ok {
		n := p.int(0, 4)
		if n > 1000 {
			r.fail("indent: the limit is 1000 characters")
		}
		indent = strings.Repeat(" ", int(max(0, n)))
	}
	parts := lines(r.str(v) + "\n")
	r.charge(len(parts) * len(indent))
	for i, l := range parts {
		if i > 0 && (l != "" || truth(p.or(2, false))) {
			parts[i] = indent + l
		}
	}
	out := strings.Join(parts, "\n")
	if truth(p.or(1, false)) {
		out = indent + out
	}
	r.charge(len(out))
	return out
}

func isWord(c rune) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= utf8.RuneSelf && !isSpace(c)
}

func truncate(r *run, v Value, a *arguments) Value {
	p := a.bind(r, "truncate", "length", "killwords", "end", "leeway")
	s, end := r.str(v), p.str(2, "...")
	n, leeway := p.int(0, 255), p.int(3, 5)
	if n < int64(utf8.RuneCountInString(end)) {
		r.fail("truncate: the length is less than that of %q", end)
	}
	size := int64(utf8.RuneCountInString(s))
	if size <= n+leeway {
		return s
	}
	cut, _ := cutRunes(s, n-int64(utf8.RuneCountInString(end)))
	if !truth(p.or(1, false)) {
		if i := strings.LastIndexByte(cut, ' '); i >= 0 {
			cut = cut[:i]
		}
	}
	r.charge(len(cut) + len(end))
	return cut + end
}

func intFilter(r *run, v Value, a *arguments) Value {
	p := a.bind(r, "int", "default", "base")
	switch v := v.(type) {
	case bool:
		return toInt(v)
	case int64:
		return v
	case float64:
		if math.Abs(v) < 1<<63 {
			return int64(v)
		}
	case string:
		s := strings.ReplaceAll(strings.TrimFunc(v, isSpace), "_", "")
		base := p.int(1, 10)
		if base >= 2 && base <= 36 {
			for prefix, of := range map[string]int64{"0x": 16, "0o": 8, "0b": 2} {
				if base == of {
					s = strings.TrimPrefix(s, prefix)
				}
			}
			if n, err := strconv.ParseInt(s, int(base), 64); err == nil {
				return n
			}
		}
		if f, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(f) < 1<<63 {
			return int64(f)
		}
	}
	return p.or(0, int64(0))
}

func floatFilter(r *run, v Value, a *arguments) Value {
	p := a.bind(r, "float", "default")
	if f, _, _, ok := number(v); ok {
		return f
	}
	if s, ok := v.(string); ok {
		if f, err := strconv.ParseFloat(strings.TrimFunc(s, isSpace), 64); err == nil {
			return f
		}
	}
	return p.or(0, 0.0)
}

func absFilter(r *run, v Value, a *arguments) Value {
	a.bind(r, "abs")
	r.defined(v)
	f, n, whole, ok := number(v)
	switch {
	case !ok:
		r.fail("bad operand type for abs(): '%s'", typeName(v))
	case !whole:
		return math.Abs(f)
	case n < 0:
		return r.integers("-", 0, n)
	}
	return n
}

func round(r *run, v Value, a *arguments) Value {
	p := a.bind(r, "round", "precision", "method")
	r.defined(v)
	f, _, whole, ok := number(v)
	if !ok {
		r.fail("type %s doesn't define __round__ method", typeName(v))
	}
	precision := max(-300, min(p.int(0, 0), 300))
	scale := math.Pow(10, float64(precision))
	switch m := p.str(1, "common"); m {
	case "ceil":
		return math.Ceil(f*scale) / scale
	case "floor":
		return math.Floor(f*scale) / scale
	case "common":
		if whole && precision >= 0 {
			return v
		}
		if precision >= 0 { // the nearest decimal, as Python rounds
			f, _ = strconv.ParseFloat(strconv.FormatFloat(f, 'f', int(precision), 64), 64)
			return f
		}
		return math.RoundToEven(f*scale) / scale
	default:
		r.fail("method must be common, ceil or floor")
	}
	return nil
}

func defaultFilter(r *run, v Value, a *arguments) Value {
	p := a.bind(r, "default", "default_value", "boolean")
	if _, ok := v.(*undefined); ok || truth(p.or(1, false)) && !truth(v) {
		return p.or(0, "")
	}
	return v
}
