// SPDX-License-Identifier: MIT

package jsonschema

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"
)

// formats are patterns of the formats that are known. The 29th of February is left out.
var formats = map[string]string{
	"date":      "^" + datePattern + "$",
	"time":      "^" + timePattern + "$",
	"date-time": "^" + datePattern + "T" + timePattern + "$",
	"uuid":      "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
	"ipv4":      `^((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)$`,
}

const (
	datePattern = `\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))`
	timePattern = `([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)`
)

// text is a string of a length, or after a pattern.
func (c *compiler) text(where string, s object) (string, error) {
	pattern, isPattern := s.get("pattern")
	format, isFormat := s.get("format")
	keyword := "pattern"
	if isFormat {
		keyword = "format"
		name, _ := format.(string)
		known, ok := formats[name]
		if !ok {
			return "", &Error{where, "format", "only date, time, date-time, uuid and ipv4 are supported"}
		}
		pattern = known
	}
	if isPattern || isFormat {
		for _, other := range []string{"minLength", "maxLength", "pattern", "format"} {
			if _, ok := s.get(other); ok && other != keyword {
				return "", &Error{where, other, "not supported beside " + keyword}
			}
		}
		p, ok := pattern.(string)
		if !ok {
			return "", &Error{where, keyword, "want a regular expression"}
		}
		e, err := patternOf(p)
		if err != nil {
			return "", &Error{where, keyword, err.Error()}
		}
		return c.define(`"\"" ` + e + ` "\""`), nil
	}
	least, err1 := count(where, "minLength", s, 0)
	most, err2 := count(where, "maxLength", s, -1)
	if err := errors.Join(err1, err2); err != nil {
		return "", err
	}
	if most >= 0 && most < least {
		return "", &Error{where, "maxLength", "less than minLength"}
	}
	return c.define(`"\"" char` + times(least, most) + ` "\""`), nil
}

// patternOf is a regular expression as an expression of the characters between the quotes of a JSON string. As JSON Schema has it, a
// pattern matches anywhere unless it is anchored.
func patternOf(pattern string) (string, error) {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return "", err
	}
	before, after := "char* ", " char*"
	begins, ends := anchors(re, true), anchors(re, false)
	if begins == anchoredMixed || ends == anchoredMixed {
		return "", errors.New("some alternatives are anchored and others are not")
	}
	if begins == anchoredAll {
		before = ""
	}
	if ends == anchoredAll {
		after = ""
	}
	e, err := expression(re, true, true)
	return before + e + after, err
}

// anchoring says which alternatives of an expression are anchored.
type anchoring int

const (
	anchoredNone anchoring = iota
	anchoredAll
	anchoredMixed
)

// anchors finds out whether an expression is anchored at its beginning, or at its end.
func anchors(re *syntax.Regexp, beginning bool) anchoring {
	switch re.Op {
	case syntax.OpBeginText:
		if beginning {
			return anchoredAll
		}
	case syntax.OpEndText:
		if !beginning {
			return anchoredAll
		}
	case syntax.OpCapture:
		return anchors(re.Sub[0], beginning)
	case syntax.OpConcat:
		if beginning {
			return anchors(re.Sub[0], true)
		}
		return anchors(re.Sub[len(re.Sub)-1], false)
	case syntax.OpAlternate:
		all := anchors(re.Sub[0], beginning)
		for _, s := range re.Sub[1:] {
			if anchors(s, beginning) != all {
				return anchoredMixed
			}
		}
		return all
	}
	return anchoredNone
}

// expression writes a regular expression. begins and ends say whether it stands where an anchor may.
func expression(re *syntax.Regexp, begins, ends bool) (string, error) {
	list := func(subs []*syntax.Regexp, between string, inRow bool) (string, error) {
		parts := make([]string, len(subs))
		for i, s := range subs {
			var err error
			if parts[i], err = expression(s, begins && (i == 0 || !inRow), ends && (i == len(subs)-1 || !inRow)); err != nil {
				return "", err
			}
		}
		return "(" + strings.Join(parts, between) + ")", nil
	}
	repeated := func(suffix string) (string, error) {
		e, err := expression(re.Sub[0], false, false)
		return "(" + e + ")" + suffix, err
	}
	switch re.Op {
	case syntax.OpNoMatch:
		return "[]", nil
	case syntax.OpEmptyMatch:
		return `""`, nil
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase != 0 {
			return "", errors.New("(?i) is not supported")
		}
		return quoted(encoded(string(re.Rune))), nil
	case syntax.OpCharClass:
		return class(re.Rune), nil
	case syntax.OpAnyCharNotNL:
		return class([]rune{0, '\n' - 1, '\n' + 1, utf8.MaxRune}), nil
	case syntax.OpAnyChar:
		return class([]rune{0, utf8.MaxRune}), nil
	case syntax.OpBeginText, syntax.OpEndText:
		if re.Op == syntax.OpBeginText && begins || re.Op == syntax.OpEndText && ends {
			return `""`, nil
		}
		return "", errors.New("an anchor that is not at an end")
	case syntax.OpCapture:
		return expression(re.Sub[0], begins, ends)
	case syntax.OpStar:
		return repeated("*")
	case syntax.OpPlus:
		return repeated("+")
	case syntax.OpQuest:
		return repeated("?")
	case syntax.OpRepeat:
		return repeated(times(re.Min, re.Max))
	case syntax.OpConcat:
		return list(re.Sub, " ", true)
	case syntax.OpAlternate:
		return list(re.Sub, " | ", false)
	}
	return "", fmt.Errorf("%v is not supported", re)
}

// encoded writes characters as they stand in a JSON string.
func encoded(s string) string {
	e := appendJSON(nil, s)
	return string(e[1 : len(e)-1])
}

// class is one character of ranges, which are in pairs.
func class(ranges []rune) string {
	var raw strings.Builder
	var list []string
	for i := 0; i < len(ranges); i += 2 {
		lo, hi := ranges[i], ranges[i+1]
		for r := lo; r <= min(hi, '\\'); r++ {
			if r < ' ' || r == '"' || r == '\\' {
				list = append(list, quoted(encoded(string(r))))
			}
		}
		for _, part := range [][2]rune{{' ', '!'}, {'#', '['}, {']', utf8.MaxRune}} {
			if a, b := max(lo, part[0]), min(hi, part[1]); a <= b {
				fmt.Fprintf(&raw, `\U%08x-\U%08x`, character(a), character(b))
			}
		}
	}
	if raw.Len() > 0 {
		list = append(list, "["+raw.String()+"]")
	}
	if len(list) == 0 {
		return "[]"
	}
	return "(" + strings.Join(slices.Compact(list), " | ") + ")"
}

// character keeps a range's end out of the surrogates, which no text has.
func character(r rune) rune {
	if r >= 0xd800 && r < 0xe000 {
		return 0xfffd
	}
	return r
}
