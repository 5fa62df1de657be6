// SPDX-License-Identifier: MIT

// Package jinja renders the Jinja templates that come with language models, as Jinja2 3.1 does in the environment that transformers
// makes for them: sandboxed and immutable, with trim_blocks, lstrip_blocks and loop controls, its own tojson, raise_exception and
// strftime_now. What a template could load, such as other templates, does not exist here.
//
// A template is a program from a file that nobody vouches for. Its depth, steps, memory and output are bounded, and whatever it does
// ends in text or in an error. A [Template] does not change and may be used by any number of goroutines. pkg/tokenizer calls it.
package jinja

import (
	"fmt"
	"strings"
	"time"
)

// Limits on templates and on one rendering. The longest templates in use have about 30 KiB and take some thousand steps.
const (
	MaxSource = 128 << 10 // bytes of a template

	maxNested = 100      // brackets within brackets and blocks within blocks
	maxDepth  = 4000     // nodes being evaluated within each other, macros included
	maxSteps  = 1 << 21  // nodes evaluated, items iterated
	maxMemory = 1 << 28  // bytes of all values made, whether still in use or not
	maxOutput = 16 << 20 // bytes of the result
	maxValue  = 100      // values within values, where they are printed or compared
)

// Template is a parsed template. Make it with [Parse].
type Template struct {
	body []statement
}

// Error says what is wrong with a template, or went wrong in rendering it.
type Error struct {
	Line    int // of the template, from 1
	Message string
}

func (e *Error) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Message) }

// RaisedError is the error of a template that calls raise_exception: it refuses what it was given.
type RaisedError struct {
	Line    int
	Message string
}

func (e *RaisedError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Message) }

// Parse reads a template. Its error is an [*Error].
func Parse(src string) (t *Template, err error) {
	defer func() { err = recovered(recover(), err) }()
	if len(src) > MaxSource {
		return nil, &Error{1, fmt.Sprintf("the template has %d bytes, the limit is %d", len(src), MaxSource)}
	}
	p := &parser{tokens: lex(src)}
	t = &Template{body: p.statements()}
	if len(p.unknown) > 0 {
		return nil, p.unknown[0]
	}
	return t, nil
}

// Render returns what the template makes of vars; now is the time that strftime_now tells. Its error is an [*Error] or a [*RaisedError].
func (t *Template) Render(vars *Dict, now time.Time) (out string, err error) {
	r := &run{now: now, out: &strings.Builder{}, line: 1}
	defer func() { out, err = r.out.String(), recovered(recover(), err) }()
	global := &scope{vars: map[string]Value{}}
	for name, f := range functions {
		global.vars[name] = &Function{name: name, call: f}
	}
	for i, k := range vars.keys {
		if name, ok := k.(string); ok {
			global.vars[name] = vars.values[i]
		}
	}
	r.scope = &scope{vars: map[string]Value{}, outer: global}
	r.execute(t.body)
	return "", nil
}

// recovered makes an error of what the lexer, the parser and the evaluator panic with; they panic with nothing else on purpose.
func recovered(r any, err error) error {
	switch r := r.(type) {
	case nil:
		return err
	case *Error:
		return r
	case *RaisedError:
		return r
	}
	panic(r)
}
