// SPDX-License-Identifier: MIT

package jinja

import "fmt"

// parser follows jinja2.parser, one method a rule.
type parser struct {
	tokens []token
	at     int
	nested int
	loops  int // for blocks around this place, within the innermost macro

	// unknown are filters and tests that do not exist. As in Jinja2 they are errors of the template, but for those within conditions,
	// which are errors when they are reached.
	unknown []*Error
}

func (p *parser) peek() token { return p.tokens[p.at] }

func (p *parser) next() token {
	t := p.tokens[p.at]
	if t.kind != tokenEnd {
		p.at++
	}
	return t
}

func (p *parser) fail(line int, format string, args ...any) {
	panic(&Error{line, fmt.Sprintf(format, args...)})
}

// enter goes a level deeper; the caller leaves with p.nested--.
func (p *parser) enter() {
	if p.nested++; p.nested > maxNested {
		p.fail(p.peek().line, "nested more than %d deep", maxNested)
	}
}

func (p *parser) is(kind tokenKind, text string) bool {
	t := p.peek()
	return t.kind == kind && t.text == text
}

func (p *parser) op(text string) bool   { return p.is(tokenOperator, text) }
func (p *parser) word(text string) bool { return p.is(tokenName, text) }

// skipOp and skipWord move on if the token is that one.
func (p *parser) skipOp(text string) bool { return p.skip(p.op(text)) }

func (p *parser) skipWord(text string) bool { return p.skip(p.word(text)) }

func (p *parser) skip(matches bool) bool {
	if matches {
		p.at++
	}
	return matches
}

func (p *parser) expectOp(text string) {
	if !p.skipOp(text) {
		p.fail(p.peek().line, "expected '%s', got '%s'", text, p.peek())
	}
}

func (p *parser) expectWord(text string) {
	if !p.skipWord(text) {
		p.fail(p.peek().line, "expected '%s', got '%s'", text, p.peek())
	}
}

func (p *parser) expectName() string {
	t := p.next()
	if t.kind != tokenName {
		p.fail(t.line, "expected a name, got '%s'", t)
	}
	return t.text
}

// statements reads until one of the tags named ends, or the end of the template where none is. The tag's name is the next token.
func (p *parser) statements(ends ...string) []statement {
	p.enter()
	defer func() { p.nested-- }()
	start := p.peek().line
	var out []statement
	for {
		switch t := p.next(); t.kind {
		case tokenData:
			out = append(out, output{text: t.text})
		case tokenVariableBegin:
			out = append(out, output{x: p.tuple(true, false)})
			if end := p.next(); end.kind != tokenVariableEnd {
				p.fail(end.line, "expected 'end of print statement', got '%s'", end)
			}
		case tokenBlockBegin:
			for _, end := range ends {
				if p.word(end) {
					return out
				}
			}
			if s := p.statement(); s != nil {
				out = append(out, s)
			}
			p.blockEnd()
		default:
			if len(ends) > 0 {
				p.fail(start, "the template ends where '%s' is expected", ends[len(ends)-1])
			}
			return out
		}
	}
}

// body reads a block's statements and its end tag's name.
func (p *parser) body(end string) []statement {
	p.blockEnd()
	out := p.statements(end)
	p.next()
	return out
}

func (p *parser) blockEnd() {
	if t := p.next(); t.kind != tokenBlockEnd {
		p.fail(t.line, "expected 'end of statement block', got '%s'", t)
	}
}

func (p *parser) statement() statement {
	t := p.next()
	if t.kind != tokenName {
		p.fail(t.line, "tag name expected, got '%s'", t)
	}
	switch t.text {
	case "if":
		return p.ifBlock()
	case "for":
		return p.forBlock(t.line)
	case "set":
		return p.setBlock(t.line)
	case "macro":
		m := &macroBlock{line: t.line, name: p.expectName()}
		p.signature(m)
		p.macroBody(m, "endmacro")
		return m
	case "call":
		return p.callBlock(t.line)
	case "filter":
		f := p.filter(nil, true)
		return filterBlock{filter: f, body: p.body("endfilter")}
	case "with":
		return p.withBlock()
	case "generation": // marks for training what an assistant wrote
		return scopeBlock{p.body("endgeneration")}
	case "break", "continue":
		if p.loops == 0 {
			p.fail(t.line, "'%s' outside of a loop", t.text)
		}
		return loopControl{map[string]signal{"break": signalBreak, "continue": signalContinue}[t.text]}
	case "include", "import", "from", "extends", "block":
		p.fail(t.line, "'%s' is not supported: a chat template stands alone", t.text)
	}
	p.fail(t.line, "unknown tag '%s'", t.text)
	return nil
}

func (p *parser) ifBlock() statement {
	p.enter() // each elif is a block in the else of the one before
	defer func() { p.nested-- }()
	unknown := len(p.unknown)
	defer func() { p.unknown = p.unknown[:unknown] }()
	b := ifBlock{cond: p.tuple(false, false)}
	p.blockEnd()
	b.yes = p.statements("elif", "else", "endif")
	switch p.next().text {
	case "elif":
		b.no = []statement{p.ifBlock()}
	case "else":
		b.no = p.body("endif")
	}
	return b
}

func (p *parser) forBlock(line int) statement {
	b := forBlock{line: line, target: p.target()}
	p.expectWord("in")
	b.iter = p.tuple(false, false)
	if p.skipWord("if") {
		b.cond = p.expression(true)
	}
	if p.word("recursive") {
		p.fail(line, "recursive loops are not supported")
	}
	p.blockEnd()
	p.loops++
	b.body = p.statements("endfor", "else")
	p.loops--
	if p.next().text == "else" {
		b.none = p.body("endfor")
	}
	return b
}

func (p *parser) setBlock(line int) statement {
	b := setBlock{line: line, target: p.target()}
	if p.skipOp("=") {
		b.x = p.tuple(true, false)
		return b
	}
	if p.op("|") {
		b.filter = p.filter(nil, false)
	}
	b.body = p.body("endset")
	return b
}

func (p *parser) signature(m *macroBlock) {
	p.expectOp("(")
	for !p.op(")") {
		if len(m.params) > 0 {
			p.expectOp(",")
		}
		m.params = append(m.params, p.expectName())
		if p.skipOp("=") {
			m.defaults = append(m.defaults, p.expression(true))
		} else if len(m.defaults) > 0 {
			p.fail(m.line, "non-default argument follows default argument")
		}
	}
	p.expectOp(")")
}

func (p *parser) macroBody(m *macroBlock, end string) {
	loops := p.loops
	p.loops = 0
	m.body = p.body(end)
	p.loops = loops
}

func (p *parser) callBlock(line int) statement {
	m := &macroBlock{line: line, name: "caller"}
	if p.op("(") {
		p.signature(m)
	}
	c, ok := p.expression(true).(*call)
	if !ok {
		p.fail(line, "expected a call")
	}
	p.macroBody(m, "endcall")
	return callBlock{macro: m, call: c}
}

func (p *parser) withBlock() statement {
	var b withBlock
	for p.peek().kind != tokenBlockEnd {
		if len(b.targets) > 0 {
			p.expectOp(",")
		}
		b.targets = append(b.targets, p.target())
		p.expectOp("=")
		b.values = append(b.values, p.expression(true))
	}
	b.body = p.body("endwith")
	return b
}

// target reads what is assigned to: names, or attributes of namespaces, with commas between.
func (p *parser) target() target {
	first := p.oneTarget()
	if !p.op(",") {
		return first
	}
	t := target{line: first.line, tuple: []target{first}}
	for p.skipOp(",") && (p.peek().kind == tokenName && !p.word("in") || p.op("(")) {
		t.tuple = append(t.tuple, p.oneTarget())
	}
	return t
}

func (p *parser) oneTarget() target {
	line := p.peek().line
	if p.skipOp("(") {
		p.enter()
		t := p.target()
		p.nested--
		p.expectOp(")")
		return t
	}
	t := target{line: line, name: p.expectName()}
	switch t.name {
	case "true", "false", "none", "True", "False", "None":
		p.fail(line, "can't assign to '%s'", t.name)
	}
	if p.skipOp(".") {
		t.attr = p.expectName()
	}
	return t
}
