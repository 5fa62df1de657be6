// SPDX-License-Identifier: MIT

package tokenizer

import "strings"

// prepareTemplate rewrites what the template library does differently from Jinja as transformers sets it up, and keeps
// every line break so that line numbers stay true:
//   - trim_blocks: the line break behind a tag goes (it moves into the tag);
//   - lstrip_blocks: blanks between the start of a line and a tag go (the library takes blanks within a line as well);
//   - conditional expressions anywhere in an expression (the library has them only at its top).
func prepareTemplate(src string) string {
	var out strings.Builder
	lineStart := true
	for src != "" {
		at, end := findTag(src)
		if at < 0 || end < 0 {
			out.WriteString(src)
			break
		}
		data, open, body, closing := src[:at], src[at:at+2], src[at+2:end-2], src[end-2:end]
		src = src[end:]
		if open == "{{" {
			out.WriteString(data + open + rewriteConditionals(body, true) + closing)
			lineStart = false
			continue
		}
		out.WriteString(leftStrip(data, body, lineStart))
		body = strings.TrimPrefix(body, "+")
		name := strings.TrimLeft(body, "- \t\r\n")
		raw := open == "{%" && strings.HasPrefix(name, "raw") // Jinja keeps the line break behind this one
		lineBreak := ""
		if s, keep := strings.CutSuffix(body, "+"); keep {
			body = s
		} else if !raw && !strings.HasSuffix(body, "-") {
			lineBreak = leadingLineBreak(src)
			src = src[len(lineBreak):]
		}
		lineStart = lineBreak != ""
		if open == "{%" {
			body = rewriteConditionals(body, strings.HasPrefix(name, "set"))
		}
		out.WriteString(open + body + lineBreak + closing)
		if raw {
			n := rawLength(src)
			out.WriteString(src[:n])
			src = src[n:]
		}
	}
	return out.String()
}

// leftStrip returns the text before a tag without the blanks that begin the tag's line.
func leftStrip(data, tag string, lineStart bool) string {
	stripped := strings.TrimRight(data, " \t")
	if strings.HasPrefix(tag, "+") || stripped == "" && !lineStart || stripped != "" && stripped[len(stripped)-1] != '\n' {
		return data
	}
	return stripped
}

func leadingLineBreak(s string) string {
	for _, br := range []string{"\n", "\r\n"} {
		if strings.HasPrefix(s, br) {
			return br
		}
	}
	return ""
}

// rawLength returns how much of s is literal, up to the {% endraw %} tag.
func rawLength(s string) int {
	end := strings.Index(s, "endraw")
	if end < 0 {
		return len(s)
	}
	return max(0, strings.LastIndex(s[:end], "{%"))
}

// findTag returns where the first tag, expression or comment begins and ends, -1 where it does not.
func findTag(s string) (at, end int) {
	for at = 0; at+1 < len(s); at++ {
		if s[at] != '{' {
			continue
		}
		switch s[at+1] {
		case '#':
			if n := strings.Index(s[at+2:], "#}"); n >= 0 {
				return at, at + 2 + n + 2
			}
			return at, -1
		case '%', '{':
			return at, tagEnd(s, at+2, map[byte]string{'%': "%}", '{': "}}"}[s[at+1]])
		}
	}
	return -1, -1
}

// tagEnd finds the closing mark outside strings and brackets and returns the position behind it.
func tagEnd(s string, i int, closing string) int {
	for depth := 0; i < len(s); i++ {
		switch c := s[i]; {
		case depth == 0 && strings.HasPrefix(s[i:], closing):
			return i + len(closing)
		case c == '\'' || c == '"':
			i += stringLength(s[i:]) - 1
		case strings.IndexByte("([{", c) >= 0:
			depth++
		case strings.IndexByte(")]}", c) >= 0:
			depth = max(0, depth-1)
		}
	}
	return -1
}

// stringLength returns the length of the string literal that s begins with, quotes included.
func stringLength(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case s[0]:
			return i + 1
		}
	}
	return len(s)
}
