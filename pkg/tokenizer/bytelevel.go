// SPDX-License-Identifier: MIT

package tokenizer

import "unicode/utf8"

// Byte-level vocabularies (GPT-2's invention) spell each byte as one printable character, so that a token's text is
// always valid UTF-8: printable Latin-1 bytes stand for themselves, the other 68 are counted up from U+0100.
var (
	byteToRune [256]rune
	runeToByte [256 + 68]int16 // -1: the character stands for no byte
)

func init() {
	for i := range runeToByte {
		runeToByte[i] = -1
	}
	next := rune(256)
	for b := range 256 {
		r := rune(b)
		if !(b >= 0x21 && b <= 0x7e || b >= 0xa1 && b <= 0xac || b >= 0xae) {
			r = next
			next++
		}
		byteToRune[b] = r
		runeToByte[r] = int16(b)
	}
}

// appendByteLevelDecoded appends the bytes that a byte-level spelling stands for. Characters outside the alphabet (in
// tokens added by hand) stand for themselves.
func appendByteLevelDecoded(dst []byte, s string) []byte {
	for _, r := range s {
		if int(r) < len(runeToByte) && runeToByte[r] >= 0 {
			dst = append(dst, byte(runeToByte[r]))
		} else {
			dst = utf8.AppendRune(dst, r)
		}
	}
	return dst
}

// byteLevelDecoded returns the bytes of a spelling, and false if it holds a character outside the alphabet: then no
// text encodes to it.
func byteLevelDecoded(s string) (string, bool) {
	out := make([]byte, 0, len(s))
	for _, r := range s {
		if int(r) >= len(runeToByte) || runeToByte[r] < 0 {
			return "", false
		}
		out = append(out, byte(runeToByte[r]))
	}
	return string(out), true
}
