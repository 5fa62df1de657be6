// SPDX-License-Identifier: MIT

package jinja

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// method returns v's method of that name, nil if it has none.
func method(v Value, n string) *Function {
	switch v := v.(type) {
	case string:
		if m, ok := stringMethods[n]; ok {
			return &Function{n, func(r *run, a *arguments) Value {
				r.step(len(v) / 64)
				out := m(r, v, a)
				if s, ok := out.(string); ok {
					r.charge(len(s))
				}
				return out
			}}
		}
	case *Dict:
		if m, ok := dictMethods[n]; ok {
			return &Function{n, func(r *run, a *arguments) Value { return m(r, v, a) }}
		}
	case *List:
		if m, ok := listMethods[n]; ok && v.kind != isLazy {
			return &Function{n, func(r *run, a *arguments) Value { return m(r, v, a) }}
		}
	}
	return nil
}

// forbidden is a method that changes its object: the sandbox refuses it.
func forbidden[T Value](what string) func(r *run, v T, a *arguments) Value {
	return func(r *run, _ T, _ *arguments) Value {
		r.fail("%s would change a value, which templates must not", what)
		return nil
	}
}

var dictMethods = map[string]func(r *run, d *Dict, a *arguments) Value{
	"get": func(r *run, d *Dict, a *arguments) Value {
		p := a.bind(r, "get", "key", "default")
		if h, ok := hash(p.must(0)); ok {
			if v, ok := d.get(h); ok {
				return v
			}
		}
		return p.or(1, nil)
	},
	"items":  func(r *run, d *Dict, _ *arguments) Value { return items(r, d) },
	"keys":   func(_ *run, d *Dict, _ *arguments) Value { return NewList(d.keys...) },
	"values": func(_ *run, d *Dict, _ *arguments) Value { return NewList(d.values...) },
	"copy":   func(_ *run, d *Dict, _ *arguments) Value { return d },
	"update": forbidden[*Dict]("update"), "pop": forbidden[*Dict]("pop"), "popitem": forbidden[*Dict]("popitem"),
	"clear": forbidden[*Dict]("clear"), "setdefault": forbidden[*Dict]("setdefault"),
}

// items is a mapping's pairs.
func items(r *run, d *Dict) *List {
	r.charge(64 * len(d.keys))
	l := &List{items: make([]Value, len(d.keys))}
	for i, k := range d.keys {
		l.items[i] = &List{items: []Value{k, d.values[i]}, kind: isTuple}
	}
	return l
}

var listMethods = map[string]func(r *run, l *List, a *arguments) Value{
	"index": func(r *run, l *List, a *arguments) Value {
		x := a.bind(r, "index", "value").must(0)
		for i, item := range l.items {
			if r.equal(item, x, 0) {
				return int64(i)
			}
		}
		r.fail("%.100s is not in list", r.str(x))
		return nil
	},
	"count": func(r *run, l *List, a *arguments) Value {
		x, n := a.bind(r, "count", "value").must(0), int64(0)
		for _, item := range l.items {
			n += toInt(r.equal(item, x, 0))
		}
		return n
	},
	"copy":   func(_ *run, l *List, _ *arguments) Value { return l },
	"append": forbidden[*List]("append"), "extend": forbidden[*List]("extend"), "insert": forbidden[*List]("insert"), "pop": forbidden[*List]("pop"),
	"remove": forbidden[*List]("remove"), "reverse": forbidden[*List]("reverse"), "sort": forbidden[*List]("sort"), "clear": forbidden[*List]("clear"),
}

// trimmer makes strip, lstrip and rstrip: of white space, or of the characters given.
func trimmer(left, right bool) func(r *run, s string, a *arguments) Value {
	return func(r *run, s string, a *arguments) Value {
		p := a.bind(r, "strip", "chars")
		drop := isSpace
		if p.or(0, nil) != nil {
			chars := p.str(0, "")
			drop = func(c rune) bool { return strings.ContainsRune(chars, c) }
		}
		if left {
			s = strings.TrimLeftFunc(s, drop)
		}
		if right {
			s = strings.TrimRightFunc(s, drop)
		}
		return s
	}
}

// affix makes startswith and endswith, which take a string or a tuple of strings.
func affix(has func(s, part string) bool) func(r *run, s string, a *arguments) Value {
	return func(r *run, s string, a *arguments) Value {
		p := a.bind(r, "startswith", "prefix")
		if l, ok := p.must(0).(*List); ok && l.kind == isTuple {
			for _, part := range l.items {
				if part, ok := part.(string); ok && has(s, part) {
					return true
				}
			}
			return false
		}
		return has(s, p.str(0, ""))
	}
}

// finder makes find, rfind and index: positions count characters.
func finder(index func(s, part string) int, must bool) func(r *run, s string, a *arguments) Value {
	return func(r *run, s string, a *arguments) Value {
		p := a.bind(r, "find", "sub")
		p.must(0)
		i := index(s, p.str(0, ""))
		if i < 0 {
			if must {
				r.fail("substring not found")
			}
			return int64(-1)
		}
		return int64(utf8.RuneCountInString(s[:i]))
	}
}

func (r *run) strings(parts []string) *List {
	r.charge(32 * len(parts))
	l := &List{items: make([]Value, len(parts))}
	for i, p := range parts {
		l.items[i] = p
	}
	return l
}

// split is s.split(sep, maxsplit), from the right if last is set.
func split(last bool) func(r *run, s string, a *arguments) Value {
	return func(r *run, s string, a *arguments) Value {
		p := a.bind(r, "split", "sep", "maxsplit")
		limit := p.int(1, -1)
		r.charge(len(s))
		if p.or(0, nil) == nil {
			return r.strings(splitSpace(s, limit, last))
		}
		sep := p.str(0, "")
		if sep == "" {
			r.fail("empty separator")
		}
		parts := strings.Split(s, sep)
		r.step(len(parts))
		if more := int64(len(parts)) - 1 - limit; limit >= 0 && more > 0 {
			if last {
				parts = append([]string{strings.Join(parts[:more+1], sep)}, parts[more+1:]...)
			} else {
				parts = append(parts[:limit:limit], strings.Join(parts[limit:], sep))
			}
		}
		return r.strings(parts)
	}
}

// splitSpace splits at runs of white space, at most limit times unless it is negative.
func splitSpace(s string, limit int64, last bool) []string {
	parts := strings.FieldsFunc(s, isSpace)
	if limit < 0 || int64(len(parts))-1 <= limit {
		return parts
	}
	if last {
		rest := s
		for range limit {
			rest = strings.TrimRightFunc(rest, isSpace)
			rest = strings.TrimRightFunc(rest, func(c rune) bool { return !isSpace(c) })
		}
		return append([]string{strings.TrimRightFunc(rest, isSpace)}, parts[int64(len(parts))-limit:]...)
	}
	rest := s
	for range limit {
		rest = strings.TrimLeftFunc(rest, isSpace)
		rest = strings.TrimLeftFunc(rest, func(c rune) bool { return !isSpace(c) })
	}
	return append(parts[:limit:limit], strings.TrimLeftFunc(rest, isSpace))
}

func replace(r *run, s string, a *arguments) Value {
	p := a.bind(r, "replace", "old", "new", "count")
	p.must(1)
	before, after, n := p.str(0, ""), p.str(1, ""), p.int(2, -1)
	if p.or(2, nil) == nil {
		n = -1
	}
	if len(after) > len(before) {
		found := strings.Count(s, before)
		if found > 0 && len(after) > maxMemory/found {
			r.charge(maxMemory + 1)
		}
		r.charge(found * len(after))
	}
	return strings.Replace(s, before, after, int(n))
}

// upper is str.upper. Of the letters that become several, only the one that words have is known.
func upper(s string) string { return strings.ReplaceAll(strings.ToUpper(s), "ß", "SS") }

func swapCase(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsUpper(c) {
			return unicode.ToLower(c)
		}
		return unicode.ToUpper(c)
	}, s)
}

// capitalise is str.capitalize.
func capitalise(s string) string {
	c, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return s
	}
	return string(unicode.ToTitle(c)) + strings.ToLower(s[n:])
}

// titleCase is str.title: the first letter of each run of letters in upper case, the others in lower.
func titleCase(s string) string {
	within := false
	return strings.Map(func(c rune) rune {
		before := within
		within = unicode.IsLetter(c)
		switch {
		case !within:
			return c
		case before:
			return unicode.ToLower(c)
		}
		return unicode.ToTitle(c)
	}, s)
}

// padded makes ljust, rjust and center.
func padded(left, right bool) func(r *run, s string, a *arguments) Value {
	return func(r *run, s string, a *arguments) Value {
		p := a.bind(r, "just", "width", "fillchar")
		fill := p.str(1, " ")
		n := p.int(0, 0) - int64(utf8.RuneCountInString(s))
		if n <= 0 {
			return s
		}
		if n > maxOutput {
			r.fail("a string cannot be padded to more than %d characters", maxOutput)
		}
		r.charge(int(n) * len(fill))
		before := int64(0)
		switch {
		case left && right: // as CPython has it
			before = n/2 + (n & p.int(0, 0) & 1)
		case left:
			before = n
		}
		return strings.Repeat(fill, int(before)) + s + strings.Repeat(fill, int(n-before))
	}
}

var stringMethods map[string]func(r *run, s string, a *arguments) Value

func init() {
	mapped := func(f func(string) string) func(r *run, s string, a *arguments) Value {
		return func(r *run, s string, a *arguments) Value {
			a.bind(r, "a method of strings")
			return f(s)
		}
	}
	all := func(class func(c rune) bool) func(r *run, s string, a *arguments) Value {
		return func(_ *run, s string, _ *arguments) Value {
			return s != "" && strings.IndexFunc(s, func(c rune) bool { return !class(c) }) < 0
		}
	}
	alnum := func(c rune) bool { return unicode.IsLetter(c) || unicode.IsNumber(c) }
	stringMethods = map[string]func(r *run, s string, a *arguments) Value{
		"strip": trimmer(true, true), "lstrip": trimmer(true, false), "rstrip": trimmer(false, true),
		"upper": mapped(upper), "lower": mapped(strings.ToLower), "casefold": mapped(strings.ToLower),
		"swapcase":   mapped(swapCase),
		"capitalize": mapped(capitalise), "title": mapped(titleCase),
		"split": split(false), "rsplit": split(true),
		"splitlines": func(r *run, s string, _ *arguments) Value { return r.strings(lines(s)) },
		"startswith": affix(strings.HasPrefix), "endswith": affix(strings.HasSuffix),
		"find": finder(strings.Index, false), "rfind": finder(strings.LastIndex, false),
		"index": finder(strings.Index, true), "rindex": finder(strings.LastIndex, true),
		"replace": replace,
		"count": func(r *run, s string, a *arguments) Value {
			p := a.bind(r, "count", "sub")
			p.must(0)
			return int64(strings.Count(s, p.str(0, "")))
		},
		"join": func(r *run, s string, a *arguments) Value {
			return r.join(s, r.iterate(a.bind(r, "join", "iterable").must(0)), true)
		},
		"isdigit": all(unicode.IsDigit), "isdecimal": all(unicode.IsDigit), "isnumeric": all(unicode.IsNumber),
		"isalpha": all(unicode.IsLetter), "isalnum": all(alnum), "isspace": all(isSpace),
		"islower": func(_ *run, s string, _ *arguments) Value { return cased(s, unicode.IsLower, unicode.IsUpper) },
		"isupper": func(_ *run, s string, _ *arguments) Value { return cased(s, unicode.IsUpper, unicode.IsLower) },
		"ljust":   padded(false, true), "rjust": padded(true, false), "center": padded(true, true),
		"zfill": func(r *run, s string, a *arguments) Value {
			n := a.bind(r, "zfill", "width").int(0, 0) - int64(utf8.RuneCountInString(s))
			if n > maxOutput {
				r.fail("a string cannot be padded to more than %d characters", maxOutput)
			}
			sign := ""
			if s != "" && (s[0] == '-' || s[0] == '+') {
				sign, s = s[:1], s[1:]
			}
			return sign + strings.Repeat("0", int(max(0, n))) + s
		},
		"removeprefix": func(r *run, s string, a *arguments) Value {
			return strings.TrimPrefix(s, a.bind(r, "removeprefix", "prefix").str(0, ""))
		},
		"removesuffix": func(r *run, s string, a *arguments) Value {
			return strings.TrimSuffix(s, a.bind(r, "removesuffix", "suffix").str(0, ""))
		},
		"partition":  partition(strings.Index, true),
		"rpartition": partition(strings.LastIndex, false),
		"format":     formatBraces,
	}
}

// partition makes partition and rpartition: what is before, the separator, what is behind.
func partition(index func(s, part string) int, first bool) func(r *run, s string, a *arguments) Value {
	return func(r *run, s string, a *arguments) Value {
		sep := a.bind(r, "partition", "sep").str(0, "")
		if sep == "" {
			r.fail("empty separator")
		}
		l := &List{kind: isTuple}
		switch i := index(s, sep); {
		case i >= 0:
			l.items = []Value{s[:i], sep, s[i+len(sep):]}
		case first:
			l.items = []Value{s, "", ""}
		default:
			l.items = []Value{"", "", s}
		}
		return l
	}
}

// formatBraces is s.format(…) with plain fields: {}, {0} and {name}.
func formatBraces(r *run, s string, a *arguments) Value {
	var out strings.Builder
	next := int64(0)
	for s != "" {
		i := strings.IndexAny(s, "{}")
		if i < 0 {
			break
		}
		out.WriteString(s[:i])
		if strings.HasPrefix(s[i+1:], s[i:i+1]) {
			out.WriteByte(s[i])
			s = s[i+2:]
			continue
		}
		end := strings.IndexByte(s[i:], '}')
		if s[i] == '}' || end < 0 {
			r.fail("single '%c' encountered in format string", s[i])
		}
		field := s[i+1 : i+end]
		s = s[i+end+1:]
		if v, ok := a.named.get(field); ok {
			out.WriteString(r.str(v))
			continue
		}
		at := next
		if field != "" {
			at = 0
			for _, c := range field {
				if c < '0' || c > '9' || at > 1000 {
					r.fail("the field {%.100s} is not supported", field)
				}
				at = 10*at + int64(c-'0')
			}
		}
		next++
		if at >= int64(len(a.pos)) {
			r.fail("replacement index %d out of range", at)
		}
		text := r.str(a.pos[at])
		r.charge(len(text))
		out.WriteString(text)
	}
	return out.String() + s
}
