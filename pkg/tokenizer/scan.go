// SPDX-License-Identifier: MIT

package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// The pieces that pre-tokenizers' regular expressions are made of. A byte that is not UTF-8 counts as U+FFFD: neither
// space nor letter nor number.

// isOther is [^\s\p{L}\p{N}].
func isOther(r rune) bool { return !unicode.IsSpace(r) && !unicode.IsLetter(r) && !unicode.IsNumber(r) }

// isNewline is [\r\n].
func isNewline(r rune) bool { return r == '\r' || r == '\n' }

// span is class*: the bytes at the start of s that belong to the class.
func span(s string, class func(rune) bool) int { return spanUpTo(s, len(s), class) }

// spanUpTo is class{0,limit}.
func spanUpTo(s string, limit int, class func(rune) bool) int {
	n := 0
	for range limit {
		r, size := utf8.DecodeRuneInString(s[n:])
		if size == 0 || !class(r) {
			break
		}
		n += size
	}
	return n
}

// optionalSpace is " ?".
func optionalSpace(s string) int {
	if s != "" && s[0] == ' ' {
		return 1
	}
	return 0
}

// contraction is 's|'t|'re|'ve|'m|'ll|'d, in upper case as well if fold is set: with the long s (U+017F), which is an s but for case.
func contraction(s string, fold bool) int {
	if len(s) < 2 || s[0] != '\'' {
		return 0
	}
	if fold && strings.HasPrefix(s[1:], "\u017f") {
		return len("'\u017f")
	}
	lower := func(b byte) byte {
		if fold && b >= 'A' && b <= 'Z' {
			b += 'a' - 'A'
		}
		return b
	}
	switch lower(s[1]) {
	case 's', 't', 'm', 'd':
		return 2
	}
	if len(s) < 3 {
		return 0
	}
	switch string([]byte{lower(s[1]), lower(s[2])}) {
	case "re", "ve", "ll":
		return 3
	}
	return 0
}

// newlines is \s*[\r\n]+: white space up to its last line break.
func newlines(s string) int {
	end := 0
	for i, r := range s {
		if !unicode.IsSpace(r) {
			break
		}
		if isNewline(r) {
			end = i + 1
		}
	}
	return end
}

// spaces is \s+(?!\S)|\s+: white space, without its last character if more than that one stands before a word.
func spaces(s string) int {
	n := span(s, unicode.IsSpace)
	if n == len(s) {
		return n
	}
	_, last := utf8.DecodeLastRuneInString(s[:n])
	if n > last {
		n -= last
	}
	return n
}
