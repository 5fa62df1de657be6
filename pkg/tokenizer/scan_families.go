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
		return span(s, class) // a class may have spaces of its own
	})
}

// isDefaultPunct is [\p{P}$+<=>^~|].
func isDefaultPunct(r rune) bool {
	switch r {
	case '$', '+', '<', '=', '>', '^', '~', '|':
		return true
	}
	return unicode.IsPunct(r)
}

// isFalconPunct is [\p{P}$+<=>^~|`].
func isFalconPunct(r rune) bool { return r == '`' || isDefaultPunct(r) }

// threeDigits is [0-9][0-9][0-9].
var threeDigits = between(func(s string) int {
	if n := spanUpTo(s, 3, func(r rune) bool { return r >= '0' && r <= '9' }); n == 3 {
		return n
	}
	return 0
})

func isLetterOrMark(r rune) bool  { return unicode.IsLetter(r) || unicode.IsMark(r) }
func isPunctOrSymbol(r rune) bool { return unicode.IsPunct(r) || unicode.IsSymbol(r) }
func isASCIILetter(r rune) bool   { return isASCIIUpper(r) || isASCIILower(r) }
func isASCIIUpper(r rune) bool    { return r >= 'A' && r <= 'Z' }
func isASCIILower(r rune) bool    { return r >= 'a' && r <= 'z' }

// isUpperLike is [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]: what a word in capitals is made of.
func isUpperLike(r rune) bool {
	if r < utf8.RuneSelf {
		return isASCIIUpper(r)
	}
	return isLetterOrMark(r) && !unicode.IsLower(r)
}

// isLowerLike is [\p{Ll}\p{Lm}\p{Lo}\p{M}].
func isLowerLike(r rune) bool {
	if r < utf8.RuneSelf {
		return isASCIILower(r)
	}
	return isLetterOrMark(r) && !unicode.IsUpper(r) && !unicode.IsTitle(r)
}

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
// \s+(?!\S)|\s+ where U is [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}], L is [\p{Ll}\p{Lm}\p{Lo}\p{M}] and C is (?i:'s|'t|'re|'ve|'m|'ll|'d).
// (llama.cpp, as of b10587, has no classes of case and takes marks for punctuation; models were trained with this one.)
func scanGPT4o(s string) int { return scanCased(s, 3, true) }

// scanTekken is scanGPT4o's expression without C and with \p{N} in place of \p{N}{1,3}.
func scanTekken(s string) int { return scanCased(s, 1, false) }

func scanCased(s string, digits int, contractions bool) int {
	if end := casedWord(s); end > 0 {
		if contractions {
			end += contraction(s[end:], true)
		}
		return end
	}
	if n := spanUpTo(s, digits, unicode.IsNumber); n > 0 {
		return n
	}
	start := optionalSpace(s)
	if n := span(s[start:], isOther); n > 0 {
		end := start + n
		return end + span(s[end:], func(r rune) bool { return isNewline(r) || r == '/' })
	}
	if n := newlines(s); n > 0 {
		return n
	}
	return spaces(s)
}

// casedWord is [^\r\n\p{L}\p{N}]?U*L+|[^\r\n\p{L}\p{N}]?U+L*. A mark can be the character before the word and a part of it: as a
// regular expression does, each alternative takes it as the former first.
func casedWord(s string) int {
	r, size := utf8.DecodeRuneInString(s)
	prefix := 0
	if !isNewline(r) && !unicode.IsLetter(r) && !unicode.IsNumber(r) {
		prefix = size
	}
	if n := mixedCase(s[prefix:]); n > 0 {
		return prefix + n
	}
	if prefix > 0 {
		if n := mixedCase(s); n > 0 {
			return n
		}
	}
	// No L follows the run of U.
	if n := span(s[prefix:], isUpperLike); n > 0 {
		return prefix + n
	}
	return span(s, isUpperLike)
}

// mixedCase is U*L+, greedy. What is both U and L at once ends the run of U where no other L follows it.
func mixedCase(s string) int {
	upper, lastBoth := 0, 0
	for upper < len(s) {
		r, size := utf8.DecodeRuneInString(s[upper:])
		if !isUpperLike(r) {
			break
		}
		upper += size
		if isLowerLike(r) {
			lastBoth = upper
		}
	}
	if n := span(s[upper:], isLowerLike); n > 0 {
		return upper + n
	}
	return lastBoth
}
