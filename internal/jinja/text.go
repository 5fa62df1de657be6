// SPDX-License-Identifier: MIT

package jinja

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// str is Python's str(v).
func str(v Value) string {
	switch v := v.(type) {
	case string:
		return v
	case *undefined:
		return ""
	}
	return repr(v)
}

// repr is Python's repr(v).
func repr(v Value) string {
	var out strings.Builder
	appendRepr(&out, v, 0)
	return out.String()
}

func appendRepr(out *strings.Builder, v Value, depth int) {
	if depth > maxValue {
		panic(&Error{0, fmt.Sprintf("values are nested more than %d deep", maxValue)})
	}
	switch v := v.(type) {
	case nil:
		out.WriteString("None")
	case bool:
		out.WriteString(map[bool]string{true: "True", false: "False"}[v])
	case int64:
		out.WriteString(strconv.FormatInt(v, 10))
	case float64:
		out.WriteString(formatFloat(v))
	case string:
		appendQuoted(out, v)
	case *undefined:
		out.WriteString("Undefined")
	case *List:
		marks := [...]string{"[]", "()", "<>"}[v.kind]
		out.WriteByte(marks[0])
		for i, x := range v.items {
			if i > 0 {
				out.WriteString(", ")
			}
			appendRepr(out, x, depth+1)
		}
		if v.kind == isTuple && len(v.items) == 1 {
			out.WriteByte(',')
		}
		out.WriteByte(marks[1])
	case *Dict:
		out.WriteByte('{')
		for i, k := range v.keys {
			if i > 0 {
				out.WriteString(", ")
			}
			appendRepr(out, k, depth+1)
			out.WriteString(": ")
			appendRepr(out, v.values[i], depth+1)
		}
		out.WriteByte('}')
	default:
		out.WriteString("<" + typeName(v) + ">")
	}
}

// appendQuoted is repr of a string.
func appendQuoted(out *strings.Builder, s string) {
	quote := '\''
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	out.WriteRune(quote)
	for _, r := range s {
		switch {
		case r == quote || r == '\\':
			out.WriteByte('\\')
			out.WriteRune(r)
		case r == '\n':
			out.WriteString(`\n`)
		case r == '\r':
			out.WriteString(`\r`)
		case r == '\t':
			out.WriteString(`\t`)
		case r == ' ' || unicode.IsPrint(r):
			out.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(out, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(out, `\u%04x`, r)
		default:
			fmt.Fprintf(out, `\U%08x`, r)
		}
	}
	out.WriteRune(quote)
}

// formatFloat is repr of a float: the shortest digits that read back the same, with an exponent below 1e-4 and from 1e16.
func formatFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// formatPercent is Python's format % args, of the conversions s, r, d, i, f, x and %.
func (r *run) formatPercent(format string, args []Value) string {
	var out strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			out.WriteByte(format[i])
			continue
		}
		start := i
		for i++; i < len(format) && strings.IndexByte("0123456789.-+ #", format[i]) >= 0; i++ {
			continue
		}
		if i == len(format) {
			r.fail("incomplete format")
		}
		if format[i] == '%' {
			out.WriteByte('%')
			continue
		}
		if len(args) == 0 {
			r.fail("not enough arguments for format string")
		}
		v := args[0]
		args = args[1:]
		flags := format[start:i]
		if len(flags) > 8 {
			r.fail("unsupported format %s", flags)
		}
		for _, part := range strings.FieldsFunc(flags, func(c rune) bool { return c < '0' || c > '9' }) {
			if n, err := strconv.Atoi(part); err != nil || n > 1000 {
				r.fail("unsupported format %s", flags)
			}
		}
		f, n, whole, isNumber := number(v)
		switch format[i] {
		case 's':
			fmt.Fprintf(&out, flags+"s", str(v))
		case 'r':
			fmt.Fprintf(&out, flags+"s", repr(v))
		case 'd', 'i', 'x':
			if !isNumber {
				r.fail("%%%c format: a number is required, not %s", format[i], typeName(v))
			}
			if !whole {
				n = int64(f)
			}
			fmt.Fprintf(&out, flags+strings.Replace(format[i:i+1], "i", "d", 1), n)
		case 'f':
			if !isNumber {
				r.fail("must be real number, not %s", typeName(v))
			}
			fmt.Fprintf(&out, flags+"f", f)
		default:
			r.fail("unsupported format character '%c'", format[i])
		}
	}
	if len(args) > 0 {
		r.fail("not all arguments converted during string formatting")
	}
	return out.String()
}

// runes returns a string's characters, each byte that is none as U+FFFD.
func runes(s string) []Value {
	out := make([]Value, 0, utf8.RuneCountInString(s))
	for _, c := range s {
		out = append(out, string(c))
	}
	return out
}

// lines is str.splitlines().
func lines(s string) []string {
	var out []string
	for s != "" {
		i := strings.IndexFunc(s, func(r rune) bool {
			return r >= '\n' && r <= '\r' || r >= 0x1c && r <= 0x1e || r == 0x85 || r == 0x2028 || r == 0x2029
		})
		if i < 0 {
			return append(out, s)
		}
		out = append(out, s[:i])
		_, n := utf8.DecodeRuneInString(s[i:])
		if strings.HasPrefix(s[i:], "\r\n") {
			n = 2
		}
		s = s[i+n:]
	}
	return out
}
