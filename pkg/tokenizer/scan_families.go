// SPDX-License-Identifier: MIT

package tokenizer

import (
	"unicode"
	"unicode/utf8"
)

// between makes a scanner of an expression that does not match everything: what lies between matches is a word too.
// match must take constant time where it fails.
func between(match func(s string) int) scanner {
	return func(s string) int {
		if n := match(s); n > 0 {
			return n
		}
		for i := range s {
			if i > 0 && match(s[i:]) > 0 {
				return i
			}
		}
		return len(s)
	}
}

// number is \p{N}{1,limit}.
func number(limit int) scanner {
	return between(func(s string) int { return spanUpTo(s, limit, unicode.IsNumber) })
}

// lineBreak is [\r\n].
var lineBreak = between(func(s string) int { return spanUpTo(s, 1, isNewline) })

// run is class+.
func run(class func(rune) bool) scanner {
	return between(func(s string) int { return span(s, class) })
}

// spacedRun is \s?class+.
func spacedRun(class func(rune) bool) scanner {
	return between(func(s string) int {
		start := spanUpTo(s, 1, unicode.IsSpace)
		if n := span(s[start:], class); n > 0 {
			return start + n
		}
		return 0
	})
}

// isFalconPunct is [\p{P}$+<=>^~|`].
func isFalconPunct(r rune) bool {
	switch r {
	case '$', '+', '<', '=', '>', '^', '~', '|', '`':
		return true
	}
	return unicode.IsPunct(r)
}

// threeDigits is [0-9][0-9][0-9].
var threeDigits = between(func(s string) int {
	if n := spanUpTo(s, 3, func(r rune) bool { return r >= '0' && r <= '9' }); n == 3 {
		return n
	}
	return 0
})

// isDeepSeekCoderCJK is [一-龥ࠀ-一가-퟿].
func isDeepSeekCoderCJK(r rune) bool { return r >= 0x0800 && r <= 0x9fa5 || r >= 0xac00 && r <= 0xd7ff }

// isDeepSeekCJK is [一-龥぀-ゟ゠-ヿ].
func isDeepSeekCJK(r rune) bool { return r >= 0x4e00 && r <= 0x9fa5 || r >= 0x3040 && r <= 0x30ff }

func isLetterOrMark(r rune) bool   { return unicode.IsLetter(r) || unicode.IsMark(r) }
func isPunctOrSymbol(r rune) bool  { return unicode.IsPunct(r) || unicode.IsSymbol(r) }
func isASCIILetter(r rune) bool    { return isASCIIUpper(r) || isASCIILower(r) }
func isASCIIUpper(r rune) bool     { return r >= 'A' && r <= 'Z' }
func isASCIILower(r rune) bool     { return r >= 'a' && r <= 'z' }
func isNotLowerLetter(r rune) bool { return unicode.IsLetter(r) && !isASCIILower(r) }
func isNotUpperLetter(r rune) bool { return unicode.IsLetter(r) && !isASCIIUpper(r) }

// scanDeepSeekV3 is [!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|
// ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ (the third alternative begins with an optional space).
var scanDeepSeekV3 = between(func(s string) int {
	r, size := utf8.DecodeRuneInString(s)
	if r < utf8.RuneSelf && isPunctOrSymbol(r) {
		if n := span(s[size:], isASCIILetter); n > 0 {
			return size + n
		}
	}
	if !isNewline(r) && !unicode.IsLetter(r) && !isPunctOrSymbol(r) {
		if n := span(s[size:], isLetterOrMark); n > 0 {
			return size + n
		}
	}
	if n := span(s, isLetterOrMark); n > 0 {
		return n
	}
	start := optionalSpace(s)
	if n := span(s[start:], isPunctOrSymbol); n > 0 {
		return start + n + span(s[start+n:], isNewline)
	}
	if n := newlines(s); n > 0 {
		return n
	}
	return spaces(s)
})

// scanGPT4o is [^\r\n\p{L}\p{N}]?U*L+C?|[^\r\n\p{L}\p{N}]?U+L*C?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|
// \s+(?!\S)|\s+ where U is a letter but a-z, L a letter but A-Z and C one of 's 't 're 've 'm 'll 'd in any case.
func scanGPT4o(s string) int { return scanCased(s, 3, true) }

// scanTekken is scanGPT4o's expression without C and with \p{N} in place of \p{N}{1,3}.
func scanTekken(s string) int { return scanCased(s, 1, false) }

func scanCased(s string, digits int, contractions bool) int {
	r, size := utf8.DecodeRuneInString(s)
	start := 0
	if !isNewline(r) && !unicode.IsLetter(r) && !unicode.IsNumber(r) {
		start = size
	}
	if n := casedWord(s[start:]); n > 0 {
		end := start + n
		if contractions {
			end += contraction(s[end:], true)
		}
		return end
	}
	if n := spanUpTo(s, digits, unicode.IsNumber); n > 0 {
		return n
	}
	start = optionalSpace(s)
	if n := span(s[start:], isOther); n > 0 {
		end := start + n
		return end + span(s[end:], func(r rune) bool { return isNewline(r) || r == '/' })
	}
	if n := newlines(s); n > 0 {
		return n
	}
	return spaces(s)
}

// casedWord is U*L+|U+L*, greedy. Letters outside ASCII are both U and L, so if no a-z follows the run of U, its last
// such letter is the L that the first alternative needs.
func casedWord(s string) int {
	upper, lastBoth := 0, 0
	for upper < len(s) {
		r, size := utf8.DecodeRuneInString(s[upper:])
		if !isNotLowerLetter(r) {
			break
		}
		upper += size
		if isNotUpperLetter(r) {
			lastBoth = upper
		}
	}
	if n := span(s[upper:], isNotUpperLetter); n > 0 {
		return upper + n
	}
	if lastBoth > 0 {
		return lastBoth
	}
	return upper
}
