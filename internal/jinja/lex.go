// SPDX-License-Identifier: MIT

package jinja

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// tokenKind is the kind of a token. Operators are their own text.
type tokenKind int

const (
	tokenEnd tokenKind = iota // of the template
	tokenData
	tokenBlockBegin
	tokenBlockEnd
	tokenVariableBegin
	tokenVariableEnd
	tokenName
	tokenString
	tokenNumber // value is an int64 or a float64
	tokenOperator
)

type token struct {
	kind  tokenKind
	text  string
	value Value
	line  int
}

func (t token) String() string {
	switch t.kind {
	case tokenEnd:
		return "end of template"
	case tokenBlockEnd:
		return "end of statement block"
	case tokenVariableEnd:
		return "end of print statement"
	}
	return t.text
}

// lexer follows jinja2.lexer: rules for the text between tags, then rules within them.
type lexer struct {
	src    string
	line   int
	tokens []token
	// lineStart says that the tag before ended a line: white space that comes now begins one.
	lineStart bool
}

func lex(src string) []token {
	src = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(src)
	l := &lexer{src: strings.TrimSuffix(src, "\n"), line: 1, lineStart: true}
	for l.src != "" {
		l.tag()
	}
	l.add(tokenEnd, "", nil)
	return l.tokens
}

func (l *lexer) add(k tokenKind, text string, v Value) {
	l.tokens = append(l.tokens, token{kind: k, text: text, value: v, line: l.line})
}

func (l *lexer) fail(format string, args ...any) {
	panic(&Error{l.line, fmt.Sprintf(format, args...)})
}

// skip moves behind the next n bytes.
func (l *lexer) skip(n int) {
	l.line += strings.Count(l.src[:n], "\n")
	l.lineStart = n > 0 && l.src[n-1] == '\n'
	l.src = l.src[n:]
}

var (
	rawTag    = regexp.MustCompile(`^\{%[-+]?\s*raw\s*(-%\}\s*|%\})`)
	endRawTag = regexp.MustCompile(`\{%([-+]?)\s*endraw\s*(\+%\}|-%\}\s*|%\}\n?)`)
)

// tag reads text up to the next tag, and the tag.
func (l *lexer) tag() {
	at := tagStart(l.src)
	if at < 0 {
		l.add(tokenData, l.src, nil)
		l.skip(len(l.src))
		return
	}
	open, sign := l.src[at:at+2], ""
	if at+2 < len(l.src) && (l.src[at+2] == '-' || l.src[at+2] == '+') {
		sign = l.src[at+2 : at+3]
	}
	l.data(at, sign, open == "{{")
	switch raw := rawTag.FindString(l.src); {
	case raw != "":
		l.skip(len(raw))
		l.raw()
	case open == "{#":
		l.comment(2 + len(sign))
	case open == "{%":
		l.skip(2 + len(sign))
		l.add(tokenBlockBegin, open, nil)
		l.inside("%}", tokenBlockEnd)
	default:
		l.skip(2 + len(sign))
		l.add(tokenVariableBegin, open, nil)
		l.inside("}}", tokenVariableEnd)
	}
}

func tagStart(s string) int {
	for i := 0; i+1 < len(s); i++ {
		if s[i] == '{' && (s[i+1] == '%' || s[i+1] == '{' || s[i+1] == '#') {
			return i
		}
	}
	return -1
}

// data reads the n bytes before a tag, less the white space that the tag takes away: all of it with the sign -, and what begins the
// tag's line without a sign (lstrip_blocks), unless the tag prints a variable.
func (l *lexer) data(n int, sign string, variable bool) {
	text := l.src[:n]
	lineStart := strings.LastIndexByte(text, '\n') + 1
	switch {
	case sign == "-":
		text = strings.TrimRightFunc(text, isSpace)
	case sign == "" && !variable && (lineStart > 0 || l.lineStart) && strings.TrimFunc(text[lineStart:], isSpace) == "":
		text = text[:lineStart]
	}
	if text != "" {
		l.add(tokenData, text, nil)
	}
	l.skip(n)
}

func (l *lexer) comment(start int) {
	end := strings.Index(l.src[start:], "#}")
	if end < 0 {
		l.fail("a comment has no end")
	}
	end += start
	l.skip(end + l.closing(end, start, 2))
}

// closing returns the length of the closing mark at end and of what it takes away behind it: all white space with the sign -, which
// stands before end but not before start, and one line break without a sign (trim_blocks).
func (l *lexer) closing(end, start, mark int) int {
	rest := l.src[end+mark:]
	switch {
	case end > start && l.src[end-1] == '-':
		return mark + len(rest) - len(strings.TrimLeftFunc(rest, isSpace))
	case end > start && l.src[end-1] == '+' || !strings.HasPrefix(rest, "\n"):
		return mark
	}
	return mark + 1
}

func (l *lexer) raw() {
	m := endRawTag.FindStringSubmatchIndex(l.src)
	if m == nil {
		l.fail("a raw block has no end")
	}
	l.data(m[0], l.src[m[2]:m[3]], false)
	l.skip(m[1] - m[0])
}

// inside reads the tokens within a tag, up to its closing mark outside of brackets.
func (l *lexer) inside(closing string, kind tokenKind) {
	var brackets []byte
	for l.src != "" {
		if len(brackets) == 0 {
			if n := l.tagEnd(closing); n > 0 {
				l.add(kind, closing, nil)
				l.skip(n)
				return
			}
		}
		r, size := utf8.DecodeRuneInString(l.src)
		switch {
		case isSpace(r):
			l.skip(size)
		case r >= '0' && r <= '9':
			l.number()
		case r == '_' || unicode.IsLetter(r):
			n := strings.IndexFunc(l.src, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsNumber(r) })
			if n < 0 {
				n = len(l.src)
			}
			l.add(tokenName, l.src[:n], nil)
			l.skip(n)
		case r == '\'' || r == '"':
			l.text(byte(r))
		default:
			brackets = l.operator(brackets)
		}
	}
	l.fail("a tag has no end")
}

// tagEnd returns the length of the closing mark at the start of the source, with what it takes away; 0 if there is none.
func (l *lexer) tagEnd(closing string) int {
	sign := 0
	if strings.HasPrefix(l.src, "-") || strings.HasPrefix(l.src, "+") && closing == "%}" {
		sign = 1
	}
	if !strings.HasPrefix(l.src[sign:], closing) {
		return 0
	}
	if closing == "}}" && sign == 0 {
		return len(closing) // trim_blocks is about blocks
	}
	return sign + l.closing(sign, 0, len(closing))
}

var (
	floatNumber = regexp.MustCompile(`^(\d+_)*\d+((\.(\d+_)*\d+)?[eE][+\-]?(\d+_)*\d+|\.(\d+_)*\d+)`)
	intNumber   = regexp.MustCompile(`^(0[bB](_?[0-1])+|0[oO](_?[0-7])+|0[xX](_?[\da-fA-F])+|[1-9](_?\d)*|0(_?0)*)`)
)

func (l *lexer) number() {
	if s := floatNumber.FindString(l.src); s != "" {
		f, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
		if err != nil || math.IsInf(f, 0) {
			l.fail("%s is out of range", s)
		}
		l.add(tokenNumber, s, f)
		l.skip(len(s))
		return
	}
	s := intNumber.FindString(l.src)
	n, err := strconv.ParseInt(strings.ReplaceAll(s, "_", ""), 0, 64)
	if strings.Trim(s, "0_") == "" {
		n, err = 0, nil
	}
	if err != nil {
		l.fail("%s is out of range", s)
	}
	l.add(tokenNumber, s, n)
	l.skip(len(s))
}

func (l *lexer) text(quote byte) {
	for i := 1; i < len(l.src); i++ {
		switch l.src[i] {
		case '\\':
			i++
		case quote:
			l.add(tokenString, l.src[:i+1], l.unescape(l.src[1:i]))
			l.skip(i + 1)
			return
		}
	}
	l.fail("a string has no end")
}

var escapes = map[byte]string{
	'n': "\n", 't': "\t", 'r': "\r", 'a': "\a", 'b': "\b", 'f': "\f", 'v': "\v", '\\': "\\", '\'': "'", '"': "\"", '\n': "",
}

// unescape reads the escapes of a Python string. What is none stays as it is.
func (l *lexer) unescape(s string) string {
	if !strings.Contains(s, "\\") {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			out.WriteByte(s[i])
			continue
		}
		i++
		digits, base := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[i]], 16
		switch plain, ok := escapes[s[i]]; {
		case ok:
			out.WriteString(plain)
			continue
		case s[i] >= '0' && s[i] <= '7':
			base = 8
			for digits < 3 && i+digits < len(s) && s[i+digits] >= '0' && s[i+digits] <= '7' {
				digits++
			}
			i--
		case digits == 0:
			out.WriteString(s[i-1 : i+1])
			continue
		}
		if i+digits >= len(s) {
			l.fail("a string has half of an escape")
		}
		n, err := strconv.ParseUint(s[i+1:i+1+digits], base, 32)
		if err != nil || n > unicode.MaxRune {
			l.fail("a string has the escape \\%s", s[i:i+1+digits])
		}
		out.WriteRune(rune(n))
		i += digits
	}
	return out.String()
}

var operators = []string{"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";"}

var pairs = map[byte]byte{'(': ')', '[': ']', '{': '}'}

func (l *lexer) operator(brackets []byte) []byte {
	for _, op := range operators {
		if !strings.HasPrefix(l.src, op) {
			continue
		}
		if closing, ok := pairs[op[0]]; ok {
			brackets = append(brackets, closing)
		} else if strings.Contains(")]}", op) {
			if len(brackets) == 0 || brackets[len(brackets)-1] != op[0] {
				l.fail("unexpected '%s'", op)
			}
			brackets = brackets[:len(brackets)-1]
		}
		l.add(tokenOperator, op, nil)
		l.skip(len(op))
		return brackets
	}
	_, n := utf8.DecodeRuneInString(l.src)
	l.fail("unexpected %q", l.src[:n])
	return nil
}

// isSpace is Python's str.isspace for one character.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }
