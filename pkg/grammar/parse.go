// SPDX-License-Identifier: MIT

package grammar

import (
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"
)

// op says what an expression is.
type op uint8

const (
	opText   op = iota // text, byte for byte
	opClass            // one code point of ranges
	opToken            // one control token
	opRule             // what another rule derives
	opSeq              // subs after each other
	opAlt              // one of subs
	opRepeat           // subs[0], least to most times
	opUntil            // bytes up to the first text or token, that included
)

// unlimited is a repetition's most where it has none.
const unlimited = -1

// expr is an expression of the grammar language.
type expr struct {
	op          op
	text        string // opText, opUntil; of an opUntil with a token ""
	ranges      []runes
	token       uint32
	rule        int
	subs        []*expr
	least, most int
}

// runes are code points from lo to hi.
type runes struct{ lo, hi rune }

// parser reads a grammar's text.
type parser struct {
	src    string
	at     int
	rules  map[string]int // numbers by name
	names  []string
	bodies []*expr // by number; nil: used, not defined yet
	groups int
}

// ParseError says what is wrong with a grammar's text, and in which line.
type ParseError struct {
	Line    int
	Message string
}

func (e *ParseError) Error() string { return fmt.Sprintf("grammar, line %d: %s", e.Line, e.Message) }

func (p *parser) fail(format string, args ...any) error {
	line := 1
	for _, c := range p.src[:min(p.at, len(p.src))] {
		if c == '\n' {
			line++
		}
	}
	return &ParseError{line, fmt.Sprintf(format, args...)}
}

// parse reads all rules.
func (p *parser) parse() error {
	p.rules = map[string]int{}
	for p.space(); p.at < len(p.src); p.space() {
		name := p.name()
		if name == "" || !p.define() {
			return p.fail("want NAME ::= EXPRESSION")
		}
		rule, err := p.rule(name)
		if err != nil {
			return err
		}
		if p.bodies[rule] != nil {
			return p.fail("rule %s is there twice", name)
		}
		if p.bodies[rule], err = p.alternatives(); err != nil {
			return err
		}
	}
	for i, body := range p.bodies {
		if body == nil {
			return p.fail("rule %s is used but not there", p.names[i])
		}
	}
	if _, ok := p.rules["root"]; !ok {
		return p.fail("there is no rule root")
	}
	return nil
}

// space skips white space and comments.
func (p *parser) space() {
	for ; p.at < len(p.src); p.at++ {
		switch p.src[p.at] {
		case ' ', '\t', '\r', '\n':
		case '#':
			for p.at+1 < len(p.src) && p.src[p.at+1] != '\n' {
				p.at++
			}
		default:
			return
		}
	}
}

// take skips s, if it is next, and white space.
func (p *parser) take(s string) bool {
	p.space()
	if len(p.src)-p.at < len(s) || p.src[p.at:p.at+len(s)] != s {
		return false
	}
	p.at += len(s)
	return true
}

func (p *parser) define() bool { return p.take("::=") }

func (p *parser) name() string {
	p.space()
	begin := p.at
	for p.at < len(p.src) {
		c := p.src[p.at]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || p.at > begin && (c >= '0' && c <= '9' || c == '-' || c == '_') {
			p.at++
			continue
		}
		break
	}
	return p.src[begin:p.at]
}

// rule returns the number of the rule of that name.
func (p *parser) rule(name string) (int, error) {
	if n, ok := p.rules[name]; ok {
		return n, nil
	}
	if len(p.names) == maxRules {
		return 0, p.fail("more than %d rules", maxRules)
	}
	n := len(p.names)
	p.rules[name], p.names, p.bodies = n, append(p.names, name), append(p.bodies, nil)
	return n, nil
}

func (p *parser) alternatives() (*expr, error) {
	alt := &expr{op: opAlt}
	for {
		seq, err := p.sequence()
		if err != nil {
			return nil, err
		}
		if alt.subs = append(alt.subs, seq); !p.take("|") {
			break
		}
	}
	if len(alt.subs) == 1 {
		return alt.subs[0], nil
	}
	return alt, nil
}

func (p *parser) sequence() (*expr, error) {
	seq := &expr{op: opSeq}
	for {
		e, err := p.atom()
		if err != nil {
			return nil, err
		}
		if e == nil {
			return seq, nil
		}
		if e, err = p.repeated(e); err != nil {
			return nil, err
		}
		seq.subs = append(seq.subs, e)
	}
}

// atom reads one; nil: there is none.
func (p *parser) atom() (*expr, error) {
	p.space()
	if p.at == len(p.src) {
		return nil, nil
	}
	switch c := p.src[p.at]; c {
	case '"':
		text, err := p.literal()
		return &expr{op: opText, text: text}, err
	case '[':
		ranges, err := p.class()
		return &expr{op: opClass, ranges: ranges}, err
	case '<':
		token, err := p.token()
		return &expr{op: opToken, token: token}, err
	case '~':
		return p.until()
	case '(':
		if p.at++; p.groups == maxGroups {
			return nil, p.fail("more than %d parentheses within each other", maxGroups)
		}
		p.groups++
		e, err := p.alternatives()
		p.groups--
		if err == nil && !p.take(")") {
			err = p.fail("want )")
		}
		return e, err
	}
	begin := p.at
	name := p.name()
	if name == "" {
		return nil, nil
	}
	if after := p.at; p.define() { // the next rule
		p.at = begin
		return nil, nil
	} else {
		p.at = after
	}
	rule, err := p.rule(name)
	return &expr{op: opRule, rule: rule}, err
}

// repeated reads what stands behind an atom.
func (p *parser) repeated(e *expr) (*expr, error) {
	for depth := 0; ; depth++ {
		r := &expr{op: opRepeat, subs: []*expr{e}, most: unlimited}
		switch {
		case p.take("*"):
		case p.take("+"):
			r.least = 1
		case p.take("?"):
			r.most = 1
		case p.take("{"):
			var err error
			if r.least, err = p.number(maxRepeat); err != nil {
				return nil, err
			}
			r.most = r.least
			if p.take(",") {
				if r.most = unlimited; !p.take("}") {
					if r.most, err = p.number(maxRepeat); err != nil {
						return nil, err
					}
					if r.most < r.least {
						return nil, p.fail("a repetition of %d to %d", r.least, r.most)
					}
					if !p.take("}") {
						return nil, p.fail("want }")
					}
				}
			} else if !p.take("}") {
				return nil, p.fail("want }")
			}
		default:
			return e, nil
		}
		if depth == maxGroups {
			return nil, p.fail("more than %d repetitions of each other", maxGroups)
		}
		e = r
	}
}

func (p *parser) number(most int) (int, error) {
	p.space()
	begin := p.at
	for p.at < len(p.src) && p.src[p.at] >= '0' && p.src[p.at] <= '9' {
		p.at++
	}
	n, err := strconv.ParseUint(p.src[begin:p.at], 10, 32)
	if err != nil || n > uint64(most) {
		return 0, p.fail("want a number up to %d", most)
	}
	return int(n), nil
}

// literal reads "text".
func (p *parser) literal() (string, error) {
	p.at++
	var text []byte
	for p.at < len(p.src) && p.src[p.at] != '"' {
		r, one, err := p.char()
		if err != nil {
			return "", err
		}
		if one {
			text = append(text, byte(r))
		} else {
			text = utf8.AppendRune(text, r)
		}
	}
	if p.at == len(p.src) {
		return "", p.fail("a text without its closing quote")
	}
	p.at++
	return string(text), nil
}

// char reads a character of a text or a class. one says that it is a byte, not a code point.
func (p *parser) char() (r rune, one bool, err error) {
	if p.src[p.at] != '\\' {
		r, n := utf8.DecodeRuneInString(p.src[p.at:])
		if r == utf8.RuneError && n == 1 {
			return 0, false, p.fail("the text is not UTF-8")
		}
		if r < ' ' {
			return 0, false, p.fail("a control character within a text or class: write it as \\n or \\x0a")
		}
		p.at += n
		return r, false, nil
	}
	p.at++
	if p.at == len(p.src) {
		return 0, false, p.fail("nothing behind \\")
	}
	c := p.src[p.at]
	p.at++
	digits := 0
	switch c {
	case 'n':
		return '\n', false, nil
	case 'r':
		return '\r', false, nil
	case 't':
		return '\t', false, nil
	case '\\', '"', '[', ']', '^', '-':
		return rune(c), false, nil
	case 'x':
		digits = 2
	case 'u':
		digits = 4
	case 'U':
		digits = 8
	default:
		return 0, false, p.fail("\\%c is not known", c)
	}
	if len(p.src)-p.at < digits {
		return 0, false, p.fail("want %d hexadecimal digits", digits)
	}
	n, err := strconv.ParseUint(p.src[p.at:p.at+digits], 16, 32)
	if err != nil || c != 'x' && !utf8.ValidRune(rune(n)) {
		return 0, false, p.fail("want the %d hexadecimal digits of a character", digits)
	}
	p.at += digits
	return rune(n), c == 'x', nil
}

// class reads [a-z] or [^a-z].
func (p *parser) class() ([]runes, error) {
	p.at++
	var list []runes
	negated := p.at < len(p.src) && p.src[p.at] == '^'
	if negated {
		p.at++
	}
	for p.at < len(p.src) && p.src[p.at] != ']' {
		lo, _, err := p.char()
		if err != nil {
			return nil, err
		}
		hi := lo
		if p.at+1 < len(p.src) && p.src[p.at] == '-' && p.src[p.at+1] != ']' {
			p.at++
			if hi, _, err = p.char(); err != nil {
				return nil, err
			}
		}
		if hi < lo {
			return nil, p.fail("a range from U+%04X to U+%04X", lo, hi)
		}
		list = append(list, runes{lo, hi})
	}
	if p.at == len(p.src) {
		return nil, p.fail("a class without its closing ]")
	}
	p.at++
	list = merged(list)
	if negated {
		list = complement(list)
	}
	return list, nil
}

// merged sorts ranges and joins those that meet.
func merged(list []runes) []runes {
	slices.SortFunc(list, func(a, b runes) int { return int(a.lo - b.lo) })
	var out []runes
	for _, r := range list {
		if n := len(out); n > 0 && r.lo <= out[n-1].hi+1 {
			out[n-1].hi = max(out[n-1].hi, r.hi)
		} else {
			out = append(out, r)
		}
	}
	return out
}

// complement returns the code points that are not in sorted ranges.
func complement(list []runes) []runes {
	var out []runes
	next := rune(0)
	for _, r := range list {
		if r.lo > next {
			out = append(out, runes{next, r.lo - 1})
		}
		next = r.hi + 1
	}
	if next <= utf8.MaxRune {
		out = append(out, runes{next, utf8.MaxRune})
	}
	return out
}

// token reads <[123]>.
func (p *parser) token() (uint32, error) {
	if !p.take("<[") {
		return 0, p.fail("want <[TOKEN]>")
	}
	n, err := p.number(1<<24 - 1)
	if err == nil && !p.take("]>") {
		err = p.fail("want ]>")
	}
	return uint32(n), err
}

// until reads ~"text" or ~<[123]>.
func (p *parser) until() (*expr, error) {
	p.at++
	switch {
	case p.at < len(p.src) && p.src[p.at] == '<':
		token, err := p.token()
		return &expr{op: opUntil, token: token}, err
	case p.at < len(p.src) && p.src[p.at] == '"':
		text, err := p.literal()
		if err == nil && (text == "" || len(text) > maxUntil) {
			err = p.fail("~ of a text of %d bytes: want 1 to %d", len(text), maxUntil)
		}
		return &expr{op: opUntil, text: text}, err
	}
	return nil, p.fail("want a text or a token behind ~")
}
