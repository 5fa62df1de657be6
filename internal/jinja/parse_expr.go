// SPDX-License-Identifier: MIT

package jinja

// The rules of expressions, from the loosest to the tightest.

// tuple reads one expression, or several with commas between as a tuple. conditional says whether "x if y" may stand on its top,
// brackets whether it may be empty.
func (p *parser) tuple(conditional, brackets bool) expression {
	var items []expression
	several := false
	for {
		if len(items) > 0 {
			p.expectOp(",")
		}
		if t := p.peek(); t.kind == tokenVariableEnd || t.kind == tokenBlockEnd || p.op(")") || p.word("recursive") {
			break
		}
		items = append(items, p.expression(conditional))
		if !p.op(",") {
			break
		}
		several = true
	}
	if !several {
		if len(items) > 0 {
			return items[0]
		}
		if !brackets {
			p.fail(p.peek().line, "expected an expression, got '%s'", p.peek())
		}
	}
	return collection{isTuple, items}
}

func (p *parser) expression(conditionals bool) expression {
	p.enter()
	defer func() { p.nested-- }()
	if !conditionals {
		return p.or()
	}
	unknown := len(p.unknown)
	x := p.or()
	for p.word("if") {
		c := &conditional{line: p.next().line, yes: x, cond: p.or()}
		if p.skipWord("else") {
			c.no = p.expression(true)
		}
		p.unknown = p.unknown[:unknown]
		x = c
	}
	return x
}

func (p *parser) or() expression {
	x := p.and()
	for p.word("or") {
		x = &binary{p.next().line, "or", x, p.and()}
	}
	return x
}

func (p *parser) and() expression {
	x := p.not()
	for p.word("and") {
		x = &binary{p.next().line, "and", x, p.not()}
	}
	return x
}

func (p *parser) not() expression {
	if p.word("not") {
		p.enter()
		defer func() { p.nested-- }()
		return &unary{p.next().line, "not", p.not()}
	}
	return p.compare()
}

func (p *parser) compare() expression {
	c := &compare{line: p.peek().line, first: p.sum()}
	for {
		op := ""
		switch t := p.peek(); {
		case t.kind == tokenOperator:
			switch t.text {
			case "==", "!=", "<", "<=", ">", ">=":
				op = t.text
				p.next()
			}
		case p.skipWord("in"):
			op = "in"
		case p.word("not") && p.tokens[p.at+1].kind == tokenName && p.tokens[p.at+1].text == "in":
			op = "not in"
			p.at += 2
		}
		if op == "" {
			break
		}
		c.ops, c.rest = append(c.ops, op), append(c.rest, p.sum())
	}
	if len(c.ops) == 0 {
		return c.first
	}
	return c
}

func (p *parser) sum() expression {
	x := p.concat()
	for p.op("+") || p.op("-") {
		t := p.next()
		x = &binary{t.line, t.text, x, p.concat()}
	}
	return x
}

func (p *parser) concat() expression {
	parts := []expression{p.product()}
	for p.skipOp("~") {
		parts = append(parts, p.product())
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return concat{parts}
}

func (p *parser) product() expression {
	x := p.power()
	for p.op("*") || p.op("/") || p.op("//") || p.op("%") {
		t := p.next()
		x = &binary{t.line, t.text, x, p.power()}
	}
	return x
}

func (p *parser) power() expression {
	x := p.unary(true)
	for p.op("**") {
		x = &binary{p.next().line, "**", x, p.unary(true)}
	}
	return x
}

func (p *parser) unary(filters bool) expression {
	p.enter()
	defer func() { p.nested-- }()
	var x expression
	if p.op("-") || p.op("+") {
		t := p.next()
		x = &unary{t.line, t.text, p.unary(false)}
	} else {
		x = p.primary()
	}
	x = p.postfix(x)
	if !filters {
		return x
	}
	for {
		switch {
		case p.op("|"):
			x = p.filter(x, false)
		case p.word("is"):
			x = p.test(x)
		case p.op("("):
			x = &call{p.peek().line, x, p.arguments()}
		default:
			return x
		}
	}
}

func (p *parser) primary() expression {
	switch t := p.next(); t.kind {
	case tokenName:
		switch t.text {
		case "true", "True":
			return constant{true}
		case "false", "False":
			return constant{false}
		case "none", "None":
			return constant{nil}
		}
		return &name{t.line, t.text}
	case tokenString:
		s := t.value.(string)
		for p.peek().kind == tokenString {
			s += p.next().value.(string)
		}
		return constant{s}
	case tokenNumber:
		return constant{t.value}
	case tokenOperator:
		switch t.text {
		case "(":
			x := p.tuple(true, true)
			p.expectOp(")")
			return x
		case "[":
			return collection{isList, p.until("]")}
		case "{":
			return p.mapping(t.line)
		}
		p.fail(t.line, "unexpected '%s'", t)
	default:
		p.fail(t.line, "unexpected '%s'", t)
	}
	return nil
}

// until reads expressions with commas between, up to the closing bracket.
func (p *parser) until(closing string) []expression {
	var items []expression
	for !p.skipOp(closing) {
		if len(items) > 0 {
			p.expectOp(",")
			if p.skipOp(closing) {
				break
			}
		}
		items = append(items, p.expression(true))
	}
	return items
}

func (p *parser) mapping(line int) expression {
	m := &mapping{line: line}
	for !p.skipOp("}") {
		if len(m.keys) > 0 {
			p.expectOp(",")
			if p.skipOp("}") {
				break
			}
		}
		m.keys = append(m.keys, p.expression(true))
		p.expectOp(":")
		m.values = append(m.values, p.expression(true))
	}
	return m
}

func (p *parser) postfix(x expression) expression {
	for {
		line := p.peek().line
		switch {
		case p.skipOp("."):
			switch t := p.next(); {
			case t.kind == tokenName:
				x = &attribute{line, x, t.text}
			case t.kind == tokenNumber:
				x = &subscript{line, x, constant{t.value}}
			default:
				p.fail(t.line, "expected name or number, got '%s'", t)
			}
		case p.skipOp("["):
			var keys []expression
			for !p.op("]") {
				if len(keys) > 0 {
					p.expectOp(",")
				}
				keys = append(keys, p.subscribed())
			}
			p.expectOp("]")
			if len(keys) == 1 {
				x = &subscript{line, x, keys[0]}
			} else {
				x = &subscript{line, x, collection{isTuple, keys}}
			}
		case p.op("("):
			x = &call{line, x, p.arguments()}
		default:
			return x
		}
	}
}

// subscribed reads an index or a slice.
func (p *parser) subscribed() expression {
	var parts [3]expression
	if !p.op(":") {
		parts[0] = p.expression(true)
		if !p.op(":") {
			return parts[0]
		}
	}
	for i := 1; i < 3 && p.skipOp(":"); i++ {
		if !p.op(":") && !p.op("]") && !p.op(",") {
			parts[i] = p.expression(true)
		}
	}
	return &slice{parts[0], parts[1], parts[2]}
}

func (p *parser) arguments() argumentList {
	var a argumentList
	p.expectOp("(")
	for first := true; !p.skipOp(")"); first = false {
		if !first {
			p.expectOp(",")
			if p.skipOp(")") {
				break
			}
		}
		line := p.peek().line
		switch {
		case a.spreadMap == nil && p.skipOp("**"):
			a.spreadMap = p.expression(true)
		case a.spread == nil && a.spreadMap == nil && p.skipOp("*"):
			a.spread = p.expression(true)
		case p.peek().kind == tokenName && p.tokens[p.at+1].kind == tokenOperator && p.tokens[p.at+1].text == "=":
			a.names = append(a.names, p.expectName())
			p.next()
			a.named = append(a.named, p.expression(true))
		default:
			if len(a.names) > 0 || a.spread != nil || a.spreadMap != nil {
				p.fail(line, "invalid syntax for function call expression")
			}
			a.pos = append(a.pos, p.expression(true))
		}
	}
	return a
}

// filter reads "| name(arguments)" any number of times; bare says that the first bar is left out. x may be nil: the filters are of a
// block.
func (p *parser) filter(x expression, bare bool) *filterCall {
	var f *filterCall
	for bare || p.skipOp("|") {
		bare = false
		line := p.peek().line
		n := p.expectName()
		known, ok := filters[n]
		if !ok {
			p.unknown = append(p.unknown, &Error{line, "no filter named '" + n + "'"})
		}
		f = &filterCall{line: line, x: x, name: n, filter: known}
		if p.op("(") {
			f.args = p.arguments()
		}
		x = f
	}
	return f
}

func (p *parser) test(x expression) expression {
	line := p.next().line
	negated := p.skipWord("not")
	n := p.expectName()
	known, ok := tests[n]
	if !ok {
		p.unknown = append(p.unknown, &Error{line, "no test named '" + n + "'"})
	}
	t := &testCall{line: line, x: x, name: n, test: known}
	switch next := p.peek(); {
	case p.op("("):
		t.args = p.arguments()
	case p.word("is"):
		p.fail(line, "you cannot chain multiple tests with is")
	case p.word("else") || p.word("or") || p.word("and"):
	case next.kind == tokenName || next.kind == tokenString || next.kind == tokenNumber || p.op("[") || p.op("{"):
		t.args.pos = []expression{p.postfix(p.primary())}
	}
	if negated {
		return &unary{line, "not", t}
	}
	return t
}
