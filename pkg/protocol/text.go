// SPDX-License-Identifier: MIT

package protocol

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// isClean reports whether s is UTF-8 without control characters: a peer's text reaches terminals and logs.
func isClean(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0
}

// clean returns s as isClean wants it, cut to limit bytes at a character's start.
func clean(s string, limit int) string {
	if len(s) <= limit && isClean(s) {
		return s
	}
	s = strings.ToValidUTF8(s[:min(len(s), 4*limit)], "?")
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
	if len(s) > limit {
		for !utf8.RuneStart(s[limit]) {
			limit--
		}
		s = s[:limit]
	}
	return s
}
