// SPDX-License-Identifier: MIT

package jinja

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

func length(r *run, v Value, a *arguments) Value {
	a.bind(r, "length")
	switch v := v.(type) {
	case *undefined:
		return int64(0)
	case string:
		r.step(len(v) / 64)
		return int64(utf8.RuneCountInString(v))
	case *List:
		if v.kind != isLazy {
			return int64(len(v.items))
		}
	case *Dict:
		return int64(len(v.keys))
	}
	r.fail("object of type '%s' has no len()", typeName(v))
	return nil
}

func first(r *run, v Value, a *arguments) Value {
	a.bind(r, "first")
	if items := r.iterate(v); len(items) > 0 {
		return items[0]
	}
	return &undefined{"No first item, sequence was empty."}
}

func last(r *run, v Value, a *arguments) Value {
	a.bind(r, "last")
	if items := r.iterate(v); len(items) > 0 {
		return items[len(items)-1]
	}
	return &undefined{"No last item, sequence was empty."}
}

func list(r *run, v Value, a *arguments) Value {
	a.bind(r, "list")
	return NewList(r.iterate(v)...)
}

func itemsFilter(r *run, v Value, a *arguments) Value {
	a.bind(r, "items")
	if _, ok := v.(*undefined); ok {
		return lazy(nil)
	}
	d, ok := v.(*Dict)
	if !ok {
		r.fail("can only get item pairs from a mapping")
	}
	return lazy(items(r, d).items)
}

// lazy is what a Python generator yields.
func lazy(items []Value) *List { return &List{items: items, kind: isLazy} }

func reverse(r *run, v Value, a *arguments) Value {
	a.bind(r, "reverse")
	if s, ok := v.(string); ok {
		chars := []rune(s)
		slices.Reverse(chars)
		r.charge(len(s))
		return string(chars)
	}
	out := slices.Clone(r.iterate(v))
	r.charge(16 * len(out))
	slices.Reverse(out)
	return lazy(out)
}

// join puts sep between the items; strict wants all of them to be strings.
func (r *run) join(sep string, items []Value, strict bool) Value {
	var out strings.Builder
	for i, v := range items {
		if _, ok := v.(string); strict && !ok {
			r.fail("sequence item %d: expected str instance, %s found", i, typeName(v))
		}
		s := r.str(v)
		r.charge(len(sep) + len(s))
		if i > 0 {
			out.WriteString(sep)
		}
		out.WriteString(s)
	}
	return out.String()
}

func joinFilter(r *run, v Value, a *arguments) Value {
	p := a.bind(r, "join", "d", "attribute")
	items := r.iterate(v)
	if path := p.or(1, nil); path != nil {
		items = r.attributes(items, path)
	}
	return r.join(r.str(p.or(0, "")), items, false)
}

// path follows a.b.0 from v; each part is an item first, then an attribute.
func (r *run) path(v, path Value) Value {
	s, ok := path.(string)
	if !ok {
		return r.item(v, path)
	}
	for part := range strings.SplitSeq(s, ".") {
		var key Value = part
		if n, err := strconv.ParseInt(part, 10, 64); err == nil && n >= 0 {
			key = n
		}
		v = r.item(v, key)
	}
	return v
}

func (r *run) attributes(items []Value, path Value) []Value {
	r.charge(16 * len(items))
	out := make([]Value, len(items))
	for i, v := range items {
		out[i] = r.path(v, path)
	}
	return out
}

func sum(r *run, v Value, a *arguments) Value {
	p := a.bind(r, "sum", "attribute", "start")
	items := r.iterate(v)
	if path := p.or(0, nil); path != nil {
		items = r.attributes(items, path)
	}
	total := p.or(1, int64(0))
	for _, x := range items {
		total = r.arithmetic("+", total, x)
	}
	return total
}

// folded is what a value is sorted and compared by: strings without regard to case, unless told otherwise.
func folded(v Value, caseSensitive bool) Value {
	if s, ok := v.(string); ok && !caseSensitive {
		return strings.ToLower(s)
	}
	return v
}

// extreme makes min (-1) and max (1).
func extreme(sign int) filter {
	return func(r *run, v Value, a *arguments) Value {
		p := a.bind(r, "min or max", "case_sensitive", "attribute")
		items := r.iterate(v)
		if len(items) == 0 {
			return &undefined{"No aggregated item, sequence was empty."}
		}
		key := r.sortKey(p.or(1, nil), truth(p.or(0, false)))
		best := items[0]
		for _, x := range items[1:] {
			if sign*r.order("<", key(x), key(best)) > 0 {
				best = x
			}
		}
		return best
	}
}

func (r *run) sortKey(path Value, caseSensitive bool) func(v Value) Value {
	return func(v Value) Value {
		if path != nil {
			v = r.path(v, path)
		}
		return folded(v, caseSensitive)
	}
}

func unique(r *run, v Value, a *arguments) Value {
	p := a.bind(r, "unique", "case_sensitive", "attribute")
	key := r.sortKey(p.or(1, nil), truth(p.or(0, false)))
	seen := map[any]bool{}
	var out []Value
	for _, x := range r.iterate(v) {
		if h := r.hash(key(x)); !seen[h] {
			seen[h] = true
			out = append(out, x)
		}
	}
	return lazy(out)
}

func sortFilter(r *run, v Value, a *arguments) Value {
	p := a.bind(r, "sort", "reverse", "case_sensitive", "attribute")
	return &List{items: r.sorted(r.iterate(v), r.sortKey(p.or(2, nil), truth(p.or(1, false))), truth(p.or(0, false)))}
}

func (r *run) sorted(items []Value, key func(Value) Value, reversed bool) []Value {
	r.charge(16 * len(items))
	out := slices.Clone(items)
	slices.SortStableFunc(out, func(x, y Value) int {
		c := r.order("<", key(x), key(y))
		if reversed {
			return -c
		}
		return c
	})
	return out
}

func dictSort(r *run, v Value, a *arguments) Value {
	p := a.bind(r, "dictsort", "case_sensitive", "by", "reverse")
	d, ok := v.(*Dict)
	if !ok {
		r.fail("dictsort needs a mapping, not %s", typeName(v))
	}
	at := 0
	switch p.str(1, "key") {
	case "key":
	case "value":
		at = 1
	default:
		r.fail("you can only sort by either \"key\" or \"value\"")
	}
	key := func(v Value) Value { return folded(v.(*List).items[at], truth(p.or(0, false))) }
	return &List{items: r.sorted(items(r, d).items, key, truth(p.or(2, false)))}
}

// mapFilter is map(attribute=…) or map('filter', …).
func mapFilter(r *run, v Value, a *arguments) Value {
	if !truth(v) { // None too
		return lazy(nil)
	}
	items := r.iterate(v)
	if path, ok := a.named.get("attribute"); ok && len(a.pos) == 0 {
		def, hasDefault := a.named.get("default")
		out := r.attributes(items, path)
		for i, x := range out {
			if _, missing := x.(*undefined); missing && hasDefault {
				out[i] = def
			}
		}
		return lazy(out)
	}
	if len(a.pos) == 0 {
		r.fail("map requires a filter argument")
	}
	n, _ := a.pos[0].(string)
	f, ok := filters[n]
	if !ok {
		r.fail("no filter named '%.100s'", n)
	}
	r.charge(16 * len(items))
	out := make([]Value, len(items))
	for i, x := range items {
		out[i] = f(r, x, &arguments{a.pos[1:], a.named})
	}
	return lazy(out)
}

// selection makes select, reject, selectattr and rejectattr: the items, or those with an attribute, that pass a test or do not.
func selection(byAttribute, keep bool) filter {
	return func(r *run, v Value, a *arguments) Value {
		if !truth(v) { // None too
			return lazy(nil)
		}
		rest := a.pos
		var path Value
		if byAttribute {
			if len(rest) == 0 {
				r.fail("selectattr and rejectattr need an attribute")
			}
			path, rest = rest[0], rest[1:]
		}
		check := func(x Value) bool { return truth(x) }
		if len(rest) > 0 {
			n, _ := rest[0].(string)
			t, ok := tests[n]
			if !ok {
				r.fail("no test named '%.100s'", n)
			}
			check = func(x Value) bool { return t(r, x, &arguments{rest[1:], a.named}) }
		}
		var out []Value
		for _, x := range r.iterate(v) {
			y := x
			if byAttribute {
				y = r.path(x, path)
			}
			if check(y) == keep {
				r.charge(16)
				out = append(out, x)
			}
		}
		return lazy(out)
	}
}

func batch(r *run, v Value, a *arguments) Value {
	p := a.bind(r, "batch", "linecount", "fill_with")
	n := p.int(0, 0)
	if n < 1 {
		r.fail("batch needs a positive number")
	}
	var out []Value
	for part := range slices.Chunk(r.iterate(v), int(min(n, maxSteps))) {
		l := NewList(slices.Clone(part)...)
		for fill := p.or(1, nil); fill != nil && int64(len(l.items)) < n; {
			r.charge(16)
			l.items = append(l.items, fill)
		}
		out = append(out, l)
	}
	return lazy(out)
}

// sliceFilter cuts a sequence into n columns.
func sliceFilter(r *run, v Value, a *arguments) Value {
	p := a.bind(r, "slice", "slices", "fill_with")
	items, n := r.iterate(v), p.int(0, 0)
	if n < 1 || n > maxValue*maxValue {
		r.fail("slice needs a number from 1 to %d", maxValue*maxValue)
	}
	size, longer := len(items)/int(n), len(items)%int(n)
	var out []Value
	at := 0
	for i := range int(n) {
		end := at + size
		if i < longer {
			end++
		}
		l := NewList(slices.Clone(items[at:end])...)
		if fill := p.or(1, nil); fill != nil && i >= longer {
			l.items = append(l.items, fill)
		}
		r.charge(16 * (1 + len(l.items)))
		out = append(out, l)
		at = end
	}
	return lazy(out)
}

func groupBy(r *run, v Value, a *arguments) Value {
	p := a.bind(r, "groupby", "attribute", "default", "case_sensitive")
	path := p.must(0)
	key := r.sortKey(path, truth(p.or(2, false)))
	sorted := r.sorted(r.iterate(v), key, false)
	l := NewList()
	for start := 0; start < len(sorted); {
		end := start + 1
		for end < len(sorted) && r.equal(key(sorted[start]), key(sorted[end]), 0) {
			end++
		}
		l.items = append(l.items, &List{items: []Value{r.path(sorted[start], path), NewList(sorted[start:end]...)}, kind: isTuple})
		start = end
	}
	return l
}
