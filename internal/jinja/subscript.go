// SPDX-License-Identifier: MIT

package jinja

import (
	"strings"
	"unicode/utf8"
)

func (s *subscript) eval(r *run) Value {
	v := r.eval(s.x)
	if sl, ok := s.key.(*slice); ok {
		part := [3]Value{}
		for i, x := range []expression{sl.start, sl.stop, sl.step} {
			if x != nil {
				part[i] = r.eval(x)
			}
		}
		r.line = s.line
		return r.slice(v, part)
	}
	key := r.eval(s.key)
	r.line = s.line
	return r.item(v, key)
}

// eval is a slice where none can stand.
func (s *slice) eval(r *run) Value {
	r.fail("a slice cannot stand here")
	return nil
}

// item is v[key]: an item first, then a method.
func (r *run) item(v, key Value) Value {
	r.defined(v)
	switch v := v.(type) {
	case *Dict:
		if h, ok := hash(key); ok {
			if x, ok := v.get(h); ok {
				return x
			}
		}
	case *List:
		if _, n, whole, ok := number(key); ok && whole && v.kind != isLazy {
			if n < 0 {
				n += int64(len(v.items))
			}
			if n >= 0 && n < int64(len(v.items)) {
				return v.items[n]
			}
		}
	case string:
		if _, n, whole, ok := number(key); ok && whole {
			r.step(len(v) / 64)
			if size := int64(utf8.RuneCountInString(v)); n >= -size && n < size {
				_, v = cutRunes(v, (n+size)%size)
				v, _ = cutRunes(v, 1)
				return v
			}
		}
	}
	if n, ok := key.(string); ok {
		return r.attribute(v, n)
	}
	return missing(v, key)
}

// chars returns a string's characters, paid for.
func (r *run) chars(s string) []Value {
	r.charge(32 * len(s))
	r.step(len(s) / 16)
	return runes(s)
}

func (r *run) slice(v Value, part [3]Value) Value {
	r.defined(v)
	switch v := v.(type) {
	case *List:
		if v.kind != isLazy {
			return &List{items: r.pick(v.items, part), kind: v.kind}
		}
	case string:
		r.step(len(v) / 64)
		size := int64(utf8.RuneCountInString(v))
		if start, stop, step := r.bounds(size, part); step == 1 {
			v, _ = cutRunes(v, max(start, stop))
			_, v = cutRunes(v, start)
			return v
		}
		var out strings.Builder
		for _, c := range r.pick(r.chars(v), part) {
			out.WriteString(c.(string))
		}
		return out.String()
	}
	r.fail("'%s' object is not subscriptable", typeName(v))
	return nil
}

// cutRunes cuts a string behind its first n characters.
func cutRunes(s string, n int64) (before, after string) {
	for i := range s {
		if n == 0 {
			return s[:i], s[i:]
		}
		n--
	}
	return s, ""
}

// bounds returns what Python's start:stop:step means for size items.
func (r *run) bounds(size int64, part [3]Value) (start, stop, step int64) {
	index := func(i int, def int64) int64 {
		if part[i] == nil {
			return def
		}
		_, n, whole, ok := number(part[i])
		if !ok || !whole {
			r.fail("slice indices must be integers or None")
		}
		return n
	}
	if step = index(2, 1); step == 0 {
		r.fail("slice step cannot be zero")
	}
	low, high := int64(0), size // where an index is clipped to
	start, stop = low, high
	if step < 0 {
		low, high = -1, size-1
		start, stop = high, low
	}
	clip := func(i int, def int64) int64 {
		if part[i] == nil {
			return def
		}
		n := index(i, def)
		if n < 0 {
			n += size
		}
		return max(low, min(n, high))
	}
	return clip(0, start), clip(1, stop), step
}

// pick is Python's items[start:stop:step].
func (r *run) pick(items []Value, part [3]Value) []Value {
	r.charge(16 * len(items))
	size := int64(len(items))
	start, stop, step := r.bounds(size, part)
	var out []Value
	for i := start; step > 0 && i < stop || step < 0 && i > stop; {
		out = append(out, items[i])
		if step > size || step < -size {
			break
		}
		i += step
	}
	return out
}
