// SPDX-License-Identifier: MIT

package jinja

// expression and statement are what a template is made of. Their methods are in eval.go and exec.go; they are called through
// run.eval and run.execute, which count steps and depth.
type expression interface {
	eval(r *run) Value
}

type statement interface {
	exec(r *run) signal
}

// signal says how a statement ended.
type signal int

const (
	signalNone signal = iota
	signalBreak
	signalContinue
)

// Expressions.
type (
	constant struct{ value Value }
	name     struct {
		line int
		name string
	}
	collection struct {
		kind  listKind
		items []expression
	}
	mapping struct {
		line         int
		keys, values []expression
	}
	unary struct {
		line int
		op   string // "-", "+" or "not"
		x    expression
	}
	binary struct {
		line int
		op   string
		l, r expression
	}
	concat  struct{ parts []expression }
	compare struct { // a < b < c
		line  int
		first expression
		ops   []string
		rest  []expression
	}
	conditional struct {
		line          int
		cond, yes, no expression // no is nil without else
	}
	attribute struct {
		line int
		x    expression
		name string
	}
	subscript struct {
		line   int
		x, key expression
	}
	slice struct {
		start, stop, step expression // nil where left out
	}
	call struct {
		line int
		x    expression
		args argumentList
	}
	filterCall struct {
		line   int
		x      expression // nil: what a block renders
		name   string
		filter filter
		args   argumentList
	}
	testCall struct {
		line int
		x    expression
		name string
		test test
		args argumentList
	}
)

type argumentList struct {
	pos       []expression
	names     []string
	named     []expression
	spread    expression // *args
	spreadMap expression // **kwargs
}

// Statements.
type (
	output struct { // text, or an expression to print
		text string
		x    expression
	}
	ifBlock struct {
		cond    expression
		yes, no []statement
	}
	forBlock struct {
		line       int
		target     target
		iter       expression
		cond       expression // nil without
		body, none []statement
	}
	setBlock struct {
		line   int
		target target
		x      expression
		filter *filterCall
		body   []statement // where x is nil
	}
	macroBlock struct {
		line     int
		name     string
		params   []string
		defaults []expression // of the last params
		body     []statement
	}
	callBlock struct {
		macro *macroBlock
		call  *call
	}
	filterBlock struct {
		filter *filterCall
		body   []statement
	}
	withBlock struct {
		targets []target
		values  []expression
		body    []statement
	}
	scopeBlock  struct{ body []statement } // {% generation %}
	loopControl struct{ s signal }
)

// target is what is assigned to: a name, an attribute of a namespace, or several.
type target struct {
	line  int
	name  string
	attr  string   // "" unless an attribute
	tuple []target // nil unless several
}
