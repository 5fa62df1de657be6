// SPDX-License-Identifier: MIT

package jinja

import (
	"fmt"
	"strings"
)

// lookup returns a name's value.
func (r *run) lookup(n string) Value {
	for s := r.scope; s != nil; s = s.outer {
		if v, ok := s.vars[n]; ok {
			return v
		}
	}
	return &undefined{fmt.Sprintf("'%s' is undefined", n)}
}

// str is Python's str(v), paid for.
func (r *run) str(v Value) string {
	if s, ok := v.(string); ok {
		return s
	}
	s := r.sized(func() string { return str(v) })
	r.charge(len(s))
	return s
}

// sized calls f, which walks through a value, and gives its error a line.
func (r *run) sized(f func() string) string {
	defer func() {
		if e := recover(); e != nil {
			if failed, ok := e.(*Error); ok && failed.Line == 0 {
				failed.Line = r.line
			}
			panic(e)
		}
	}()
	return f()
}

func (c constant) eval(*run) Value { return c.value }
func (n *name) eval(r *run) Value  { return r.lookup(n.name) }

func (c collection) eval(r *run) Value {
	r.charge(16 * len(c.items))
	l := &List{kind: c.kind, items: make([]Value, len(c.items))}
	for i, x := range c.items {
		l.items[i] = r.eval(x)
	}
	return l
}

func (m *mapping) eval(r *run) Value {
	d := NewDict()
	for i, k := range m.keys {
		key := r.eval(k)
		v := r.eval(m.values[i])
		r.line = m.line
		d.put(r.hash(key), key, v)
	}
	return d
}

func (r *run) hash(key Value) any {
	r.charge(128) // of the entry
	h, ok := hash(key)
	if !ok {
		r.fail("unhashable type: '%s'", typeName(key))
	}
	return h
}

func (u *unary) eval(r *run) Value {
	v := r.eval(u.x)
	r.line = u.line
	if u.op == "not" {
		return !truth(v)
	}
	r.defined(v)
	f, n, whole, ok := number(v)
	if !ok {
		r.fail("bad operand type for unary %s: '%s'", u.op, typeName(v))
	}
	switch {
	case u.op == "+" && whole:
		return n
	case u.op == "+":
		return f
	case whole:
		return -n
	}
	return -f
}

func (b *binary) eval(r *run) Value {
	l := r.eval(b.l)
	switch b.op {
	case "and":
		if !truth(l) {
			return l
		}
		return r.eval(b.r)
	case "or":
		if truth(l) {
			return l
		}
		return r.eval(b.r)
	}
	right := r.eval(b.r)
	r.line = b.line
	return r.arithmetic(b.op, l, right)
}

func (c concat) eval(r *run) Value {
	var out strings.Builder
	for _, p := range c.parts {
		s := r.str(r.eval(p))
		r.charge(len(s))
		out.WriteString(s)
	}
	return out.String()
}

func (c *compare) eval(r *run) Value {
	l := r.eval(c.first)
	for i, op := range c.ops {
		right := r.eval(c.rest[i])
		r.line = c.line
		if !r.compare(op, l, right) {
			return false
		}
		l = right
	}
	return true
}

func (c *conditional) eval(r *run) Value {
	if truth(r.eval(c.cond)) {
		return r.eval(c.yes)
	}
	if c.no == nil {
		return &undefined{"the inline if-expression evaluated to false and no else section was defined"}
	}
	return r.eval(c.no)
}

func (a *attribute) eval(r *run) Value {
	v := r.eval(a.x)
	r.line = a.line
	return r.attribute(v, a.name)
}

// attribute is v.name: a method first, then an item.
func (r *run) attribute(v Value, n string) Value {
	r.defined(v)
	if m := method(v, n); m != nil {
		return m
	}
	switch v := v.(type) {
	case *Dict:
		if x, ok := v.get(n); ok {
			return x
		}
	case *namespace:
		if x, ok := v.attrs.get(n); ok {
			return x
		}
	case *loop:
		if x, ok := v.attribute(n); ok {
			return x
		}
	}
	return missing(v, n)
}

// missing is the undefined value of an attribute or item that v lacks.
func missing(v Value, key Value) *undefined {
	object := "None"
	if v != nil {
		object = typeName(v) + " object"
	}
	if n, ok := key.(string); ok {
		return &undefined{fmt.Sprintf("'%s' has no attribute '%.100s'", object, n)}
	}
	return &undefined{fmt.Sprintf("%s has no element %.100s", object, str(key))}
}

// defined fails where v is undefined.
func (r *run) defined(v Value) {
	if u, ok := v.(*undefined); ok {
		r.fail("%s", u.why)
	}
}

// iterate returns what a loop over v goes through.
func (r *run) iterate(v Value) []Value {
	var items []Value
	switch v := v.(type) {
	case *undefined:
	case *List:
		items = v.items
	case *Dict:
		items = v.keys
	case string:
		items = r.chars(v)
	default:
		r.fail("'%s' object is not iterable", typeName(v))
	}
	r.step(len(items))
	return items
}

// arguments is what a call passes.
type arguments struct {
	pos   []Value
	named *Dict
}

func (r *run) arguments(list *argumentList) *arguments {
	a := &arguments{pos: make([]Value, 0, len(list.pos)), named: NewDict()}
	for _, x := range list.pos {
		a.pos = append(a.pos, r.eval(x))
	}
	for i, n := range list.names {
		a.named.Set(n, r.eval(list.named[i]))
	}
	if list.spread != nil {
		items := r.iterate(r.eval(list.spread))
		r.charge(16 * len(items))
		a.pos = append(a.pos, items...)
	}
	if list.spreadMap != nil {
		d, ok := r.eval(list.spreadMap).(*Dict)
		if !ok {
			r.fail("argument after ** must be a mapping")
		}
		for i, k := range d.keys {
			n, ok := k.(string)
			if !ok {
				r.fail("keywords must be strings")
			}
			r.charge(128)
			a.named.Set(n, d.values[i])
		}
	}
	return a
}

func (c *call) eval(r *run) Value {
	f := r.eval(c.x)
	return r.call(c.line, f, r.arguments(&c.args))
}

func (r *run) call(line int, f Value, a *arguments) Value {
	r.line = line
	r.defined(f)
	fn, ok := f.(*Function)
	if !ok {
		r.fail("'%s' object is not callable", typeName(f))
	}
	v := fn.call(r, a)
	r.line = line
	return v
}

func (f *filterCall) eval(r *run) Value { return f.apply(r, r.eval(f.x)) }

func (f *filterCall) apply(r *run, v Value) Value {
	a := r.arguments(&f.args)
	r.line = f.line
	if f.filter == nil {
		r.fail("no filter named '%s'", f.name)
	}
	return f.filter(r, v, a)
}

func (t *testCall) eval(r *run) Value {
	v := r.eval(t.x)
	a := r.arguments(&t.args)
	r.line = t.line
	if t.test == nil {
		r.fail("no test named '%s'", t.name)
	}
	return t.test(r, v, a)
}
