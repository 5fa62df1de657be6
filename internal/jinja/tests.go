// SPDX-License-Identifier: MIT

package jinja

import (
	"strings"
	"unicode"
)

// test is what stands behind "is".
type test func(r *run, v Value, a *arguments) bool

var tests map[string]test

func init() { // filters and tests know of each other
	plain := func(f func(v Value) bool) test {
		return func(r *run, v Value, a *arguments) bool {
			a.bind(r, "a test")
			return f(v)
		}
	}
	compared := func(op string) test {
		return func(r *run, v Value, a *arguments) bool {
			return r.compare(op, v, a.bind(r, "a test", "other").must(0))
		}
	}
	modulo := func(rest int64) test {
		return func(r *run, v Value, a *arguments) bool {
			a.bind(r, "a test")
			return r.compare("==", r.arithmetic("%", v, int64(2)), rest)
		}
	}
	tests = map[string]test{
		"==": compared("=="), "eq": compared("=="), "equalto": compared("=="), "!=": compared("!="), "ne": compared("!="),
		"<": compared("<"), "lt": compared("<"), "lessthan": compared("<"), "<=": compared("<="), "le": compared("<="),
		">": compared(">"), "gt": compared(">"), "greaterthan": compared(">"), ">=": compared(">="), "ge": compared(">="),
		"in": compared("in"), "odd": modulo(1), "even": modulo(0),
		"divisibleby": func(r *run, v Value, a *arguments) bool {
			return r.compare("==", r.arithmetic("%", v, a.bind(r, "divisibleby", "num").must(0)), int64(0))
		},
		"sameas": func(r *run, v Value, a *arguments) bool { return same(v, a.bind(r, "sameas", "other").must(0)) },
		"filter": func(_ *run, v Value, _ *arguments) bool { s, ok := v.(string); return ok && filters[s] != nil },
		"test":   func(_ *run, v Value, _ *arguments) bool { s, ok := v.(string); return ok && tests[s] != nil },
		"defined": plain(func(v Value) bool {
			_, ok := v.(*undefined)
			return !ok
		}),
		"undefined": plain(func(v Value) bool {
			_, ok := v.(*undefined)
			return ok
		}),
		"none":     plain(func(v Value) bool { return v == nil }),
		"boolean":  plain(func(v Value) bool { _, ok := v.(bool); return ok }),
		"true":     plain(func(v Value) bool { return v == true }),
		"false":    plain(func(v Value) bool { return v == false }),
		"integer":  plain(func(v Value) bool { _, ok := v.(int64); return ok }),
		"float":    plain(func(v Value) bool { _, ok := v.(float64); return ok }),
		"number":   plain(func(v Value) bool { _, _, _, ok := number(v); return ok }),
		"string":   plain(func(v Value) bool { _, ok := v.(string); return ok }),
		"mapping":  plain(func(v Value) bool { _, ok := v.(*Dict); return ok }),
		"callable": plain(func(v Value) bool { _, ok := v.(*Function); return ok }),
		"escaped":  plain(func(Value) bool { return false }),
		"sequence": plain(isSequence),
		"iterable": plain(func(v Value) bool {
			l, ok := v.(*List)
			return isSequence(v) || ok && l.kind == isLazy
		}),
		"lower": plain(func(v Value) bool { return cased(str(v), unicode.IsLower, unicode.IsUpper) }),
		"upper": plain(func(v Value) bool { return cased(str(v), unicode.IsUpper, unicode.IsLower) }),
	}
}

// isSequence reports whether v has a length and items. Undefined has both in Python.
func isSequence(v Value) bool {
	switch v := v.(type) {
	case string, *Dict, *undefined:
		return true
	case *List:
		return v.kind != isLazy
	}
	return false
}

// same is Python's is, as far as a template can tell: what is equal and immutable is the same.
func same(a, b Value) bool {
	switch a.(type) {
	case *undefined:
		_, ok := b.(*undefined)
		return ok
	}
	return a == b
}

// cased reports whether s has characters of the case wanted and none of the other: str.islower and str.isupper.
func cased(s string, wanted, other func(rune) bool) bool {
	return strings.IndexFunc(s, wanted) >= 0 && strings.IndexFunc(s, func(c rune) bool { return other(c) || unicode.IsTitle(c) }) < 0
}
