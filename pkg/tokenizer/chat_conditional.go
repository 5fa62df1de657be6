// SPDX-License-Identifier: MIT

package tokenizer

import "strings"

// rewriteConditionals replaces each "value if condition else other" of a tag's body by the equal
// "((condition) and [value] or [other])[0]": a list with an element is true, and "and" and "or" return an operand and
// evaluate the second one only if they need it. Without top, only those within brackets are replaced ("for x in y if z"
// is no conditional expression).
func rewriteConditionals(body string, top bool) string {
	r := conditionals{src: body}
	var out strings.Builder
	if strings.HasPrefix(body, "-") { // the whitespace mark, no minus sign
		out.WriteByte('-')
		r.pos++
	}
	mark := ""
	if s, ok := strings.CutSuffix(r.src, "-"); ok && len(s) >= r.pos {
		r.src, mark = s, "-"
	}
	for r.pos < len(r.src) {
		out.WriteString(r.group(top))
		if r.pos < len(r.src) { // a closing bracket too many: the parser will say so
			out.WriteByte(r.src[r.pos])
			r.pos++
		}
	}
	return out.String() + mark
}

type conditionals struct {
	src string
	pos int
}

// group rewrites up to a closing bracket or the end.
func (r *conditionals) group(rewrite bool) string {
	var out strings.Builder
	for {
		out.WriteString(r.part(rewrite))
		if r.pos == len(r.src) || strings.IndexByte(",:=", r.src[r.pos]) < 0 {
			return out.String()
		}
		out.WriteByte(r.src[r.pos])
		r.pos++
	}
}

// part rewrites one expression: up to a comma, colon, assignment, closing bracket or the end.
func (r *conditionals) part(rewrite bool) string {
	var value, condition strings.Builder
	out, conditional, other := &value, false, "''"
scan:
	for r.pos < len(r.src) {
		n := r.tokenLength()
		token := r.src[r.pos : r.pos+n]
		switch {
		case strings.Contains(")]},:=", token):
			break scan
		case strings.Contains("([{", token):
			r.pos++
			out.WriteString(token + r.group(true))
			if r.pos < len(r.src) {
				out.WriteByte(r.src[r.pos])
				r.pos++
			}
			continue
		case rewrite && token == "if" && !conditional:
			out, conditional = &condition, true
		case rewrite && token == "else" && conditional:
			r.pos += n
			other = r.part(true)
			break scan
		default:
			out.WriteString(token)
		}
		r.pos += n
	}
	if !conditional {
		return value.String()
	}
	return " ((" + condition.String() + ") and [" + value.String() + "] or [" + other + "])[0] "
}

// tokenLength returns the length of the next string, name, comparison or single character.
func (r *conditionals) tokenLength() int {
	s := r.src[r.pos:]
	switch c := s[0]; {
	case c == '\'' || c == '"':
		return stringLength(s)
	case strings.IndexByte("=!<>", c) >= 0 && len(s) > 1 && s[1] == '=':
		return 2
	case isNameByte(c):
		n := 1
		for n < len(s) && isNameByte(s[n]) {
			n++
		}
		return n
	}
	return 1
}

func isNameByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}
