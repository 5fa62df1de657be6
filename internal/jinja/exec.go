// SPDX-License-Identifier: MIT

package jinja

import (
	"fmt"
	"strings"
	"time"
)

// run is one rendering.
type run struct {
	now    time.Time
	scope  *scope
	out    *strings.Builder
	line   int // of what is being done, for errors
	depth  int
	steps  int
	memory int
}

// scope is a set of names; what it lacks is looked for outside.
type scope struct {
	vars  map[string]Value
	outer *scope
}

func (r *run) fail(format string, args ...any) {
	panic(&Error{r.line, fmt.Sprintf(format, args...)})
}

// step counts n steps.
func (r *run) step(n int) {
	if r.steps += n; r.steps > maxSteps {
		r.fail("the template takes more than %d steps", maxSteps)
	}
}

// charge counts n bytes about to be allocated.
func (r *run) charge(n int) {
	if n > maxMemory-r.memory {
		r.fail("the template makes values of more than %d bytes", maxMemory)
	}
	r.memory += n
}

// eval evaluates an expression.
func (r *run) eval(x expression) Value {
	r.step(1)
	if r.depth++; r.depth > maxDepth {
		r.fail("expressions and macros are nested more than %d deep", maxDepth)
	}
	v := x.eval(r)
	r.depth--
	return v
}

func (r *run) execute(body []statement) signal {
	if r.depth++; r.depth > maxDepth {
		r.fail("blocks and macros are nested more than %d deep", maxDepth)
	}
	for _, s := range body {
		r.step(1)
		if sig := s.exec(r); sig != signalNone {
			r.depth--
			return sig
		}
	}
	r.depth--
	return signalNone
}

// within executes body in a scope of its own within outer.
func (r *run) within(outer *scope, vars map[string]Value, body []statement) signal {
	before := r.scope
	if vars == nil {
		vars = map[string]Value{}
	}
	r.scope = &scope{vars, outer}
	sig := r.execute(body)
	r.scope = before
	return sig
}

// capture executes body in a scope of its own and returns what it prints.
func (r *run) capture(outer *scope, vars map[string]Value, body []statement) string {
	before := r.out
	r.out = &strings.Builder{}
	r.within(outer, vars, body)
	s := r.out.String()
	r.out = before
	return s
}

func (r *run) print(s string) {
	if r.out.Len()+len(s) > maxOutput {
		r.fail("the output exceeds %d bytes", maxOutput)
	}
	r.charge(len(s))
	r.out.WriteString(s)
}

func (o output) exec(r *run) signal {
	if o.x == nil {
		r.print(o.text)
		return signalNone
	}
	v := r.eval(o.x)
	r.print(r.str(v))
	return signalNone
}

func (b ifBlock) exec(r *run) signal {
	if truth(r.eval(b.cond)) {
		return r.execute(b.yes)
	}
	return r.execute(b.no)
}

// loop is the name "loop" within a loop.
type loop struct {
	items    []Value
	at       int
	previous []Value // what changed() was given last, nil before the first call
}

func (b forBlock) exec(r *run) signal {
	items := r.eval(b.iter)
	r.line = b.line
	l := &loop{items: r.iterate(items)}
	if b.cond != nil {
		var kept []Value
		before := r.scope
		for _, item := range l.items {
			r.scope = &scope{map[string]Value{}, before}
			r.assign(b.target, item)
			if truth(r.eval(b.cond)) {
				kept = append(kept, item)
			}
		}
		r.scope = before
		l.items = kept
	}
	if len(l.items) == 0 {
		return r.within(r.scope, nil, b.none)
	}
	before := r.scope
	defer func() { r.scope = before }()
	for i, item := range l.items {
		l.at = i
		r.scope = &scope{map[string]Value{"loop": l}, before}
		r.assign(b.target, item)
		if r.execute(b.body) == signalBreak {
			break
		}
	}
	return signalNone
}

// assign gives a value to a target in the innermost scope.
func (r *run) assign(t target, v Value) {
	r.line = t.line
	switch {
	case t.tuple != nil:
		items := r.iterate(v)
		if len(items) != len(t.tuple) {
			r.fail("%d values for %d names", len(items), len(t.tuple))
		}
		for i, part := range t.tuple {
			r.assign(part, items[i])
		}
	case t.attr != "":
		ns, ok := r.lookup(t.name).(*namespace)
		if !ok {
			r.fail("cannot assign attribute on non-namespace object")
		}
		ns.attrs.Set(t.attr, v)
	default:
		r.scope.vars[t.name] = v
	}
}

func (b setBlock) exec(r *run) signal {
	var v Value
	if b.x != nil {
		v = r.eval(b.x)
	} else {
		v = r.filtered(b.filter, r.capture(r.scope, nil, b.body))
	}
	r.assign(b.target, v)
	return signalNone
}

// filtered applies a block's filters to what it printed.
func (r *run) filtered(f *filterCall, s string) Value {
	if f == nil {
		return s
	}
	var v Value = s
	if inner, ok := f.x.(*filterCall); ok {
		v = r.filtered(inner, s)
	}
	return f.apply(r, v)
}

func (b filterBlock) exec(r *run) signal {
	v := r.filtered(b.filter, r.capture(r.scope, nil, b.body))
	r.print(r.str(v))
	return signalNone
}

func (b withBlock) exec(r *run) signal {
	values := make([]Value, len(b.values))
	for i, x := range b.values {
		values[i] = r.eval(x)
	}
	before := r.scope
	r.scope = &scope{map[string]Value{}, before}
	for i, t := range b.targets {
		r.assign(t, values[i])
	}
	sig := r.execute(b.body)
	r.scope = before
	return sig
}

func (b scopeBlock) exec(r *run) signal  { return r.within(r.scope, nil, b.body) }
func (c loopControl) exec(*run) signal   { return c.s }
func (b *macroBlock) exec(r *run) signal { r.scope.vars[b.name] = b.function(r); return signalNone }

// function is the macro as a value. Names that it does not have are looked for where it was defined.
func (b *macroBlock) function(r *run) *Function {
	outer := r.scope
	return &Function{b.name, func(r *run, a *arguments) Value {
		vars := map[string]Value{}
		named := a.named
		if caller, ok := named.get("caller"); ok {
			vars["caller"] = caller
		}
		for i, p := range b.params {
			if i < len(a.pos) {
				vars[p] = a.pos[i]
			} else if v, ok := named.get(p); ok {
				vars[p] = v
			}
		}
		varargs, kwargs := NewList(), NewDict()
		varargs.kind = isTuple
		if len(a.pos) > len(b.params) {
			varargs.items = a.pos[len(b.params):]
		}
		for i, k := range named.keys {
			if _, ok := vars[k.(string)]; !ok {
				kwargs.Set(k.(string), named.values[i])
			}
		}
		vars["varargs"], vars["kwargs"] = varargs, kwargs
		b.defaultsInto(r, outer, vars)
		return r.capture(outer, vars, b.body)
	}}
}

// defaultsInto gives the parameters that have no value yet their defaults, which may name the parameters before them.
func (b *macroBlock) defaultsInto(r *run, outer *scope, vars map[string]Value) {
	before := r.scope
	r.scope = &scope{vars, outer}
	for i, p := range b.params {
		if _, ok := vars[p]; ok {
			continue
		}
		if d := i - (len(b.params) - len(b.defaults)); d >= 0 {
			vars[p] = r.eval(b.defaults[d])
		} else {
			vars[p] = &undefined{fmt.Sprintf("parameter '%s' was not provided", p)}
		}
	}
	r.scope = before
}

func (b callBlock) exec(r *run) signal {
	a := r.arguments(&b.call.args)
	a.named.Set("caller", b.macro.function(r))
	f := r.eval(b.call.x)
	r.print(r.str(r.call(b.call.line, f, a)))
	return signalNone
}
