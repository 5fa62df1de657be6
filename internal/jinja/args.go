// SPDX-License-Identifier: MIT

package jinja

// bound is the arguments of one call by the order of the parameters.
type bound struct {
	r      *run
	what   string
	params []string
	values []Value
	given  []bool
}

// bind gives each parameter what a call passes for it.
func (a *arguments) bind(r *run, what string, params ...string) *bound {
	b := &bound{r: r, what: what, params: params, values: make([]Value, len(params)), given: make([]bool, len(params))}
	if len(a.pos) > len(params) {
		r.fail("%s takes at most %d arguments, got %d", what, len(params), len(a.pos))
	}
	for i, v := range a.pos {
		b.values[i], b.given[i] = v, true
	}
next:
	for i, k := range a.named.keys {
		for j, p := range params {
			if p == k {
				if b.given[j] {
					r.fail("%s got multiple values for argument '%s'", what, p)
				}
				b.values[j], b.given[j] = a.named.values[i], true
				continue next
			}
		}
		r.fail("%s got an unexpected keyword argument '%.100s'", what, str(k))
	}
	return b
}

// or returns parameter i, or def if it was not passed.
func (b *bound) or(i int, def Value) Value {
	if b.given[i] {
		return b.values[i]
	}
	return def
}

// must returns parameter i, which has to be passed.
func (b *bound) must(i int) Value {
	if !b.given[i] {
		b.r.fail("%s is missing its argument '%s'", b.what, b.params[i])
	}
	return b.values[i]
}

// str returns a parameter that has to be a string if it is passed.
func (b *bound) str(i int, def string) string {
	s, ok := b.or(i, def).(string)
	if !ok {
		b.r.fail("%s: %s must be str, not %s", b.what, b.params[i], typeName(b.values[i]))
	}
	return s
}

// int returns a parameter that has to be an integer if it is passed.
func (b *bound) int(i int, def int64) int64 {
	_, n, whole, ok := number(b.or(i, def))
	if !ok || !whole {
		b.r.fail("%s: %s must be int, not %s", b.what, b.params[i], typeName(b.values[i]))
	}
	return n
}
