// SPDX-License-Identifier: MIT

package tokenizer

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// scanner returns the length in bytes of the first word of s, which is not empty. The published regular expressions
// need lookahead, which package regexp does not have, so each is a function, with the expression above it. A scanner
// must take time linear in the text over all its calls.
type scanner func(s string) int

// preTokenizer cuts text into words, which merges never cross.
type preTokenizer struct {
	scanners     []scanner // each cuts what the one before has cut
	ignoreMerges bool      // a word that is a token is taken as it is
	addBOS       bool      // BOS goes first unless the file says otherwise
}

// knownPreTokenizers lists the values of tokenizer.ggml.pre for error messages, aliases left out.
const knownPreTokenizers = "gpt-2, llama-bpe, qwen2, command-r, deepseek-llm, deepseek-coder, deepseek-v3, default, falcon, gpt-4o, mpt, refact, smollm, starcoder, tekken"

// preTokenizerFor maps tokenizer.ggml.pre to its scanners. Names on one line are aliases in files that exist.
func preTokenizerFor(name string) (preTokenizer, error) {
	switch name {
	case "gpt-2", "mpt", "phi-2", "gigachat", "mellum", "a.x-4.0", "exaone4", "olmo", "jais", "trillion", "granite-docling":
		return preTokenizer{scanners: []scanner{scanGPT2}}, nil
	case "llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2":
		return preTokenizer{scanners: []scanner{scanLlama3}, ignoreMerges: true, addBOS: true}, nil
	case "qwen2", "deepseek-r1-qwen", "megrez", "kormo", "stablelm2", "hunyuan", "solar-open", "grok-2":
		return preTokenizer{scanners: []scanner{scanQwen2}}, nil
	case "smaug-bpe", "dbrx", "chatglm-bpe", "glm4":
		return preTokenizer{scanners: []scanner{scanLlama3}}, nil
	case "starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2":
		return preTokenizer{scanners: []scanner{number(1), scanGPT2}}, nil
	case "falcon":
		return preTokenizer{scanners: []scanner{run(isFalconPunct), scanGPT2, threeDigits}}, nil
	case "gpt-4o", "llama4", "kanana2":
		return preTokenizer{scanners: []scanner{scanGPT4o}}, nil
	case "tekken":
		return preTokenizer{scanners: []scanner{scanTekken}, ignoreMerges: true, addBOS: true}, nil
	case "default": // files whose converter knew no better; llama.cpp's expressions
		return preTokenizer{scanners: []scanner{run(isDefaultPunct), scanGPT2, run(unicode.IsNumber), threeDigits}}, nil
	case "deepseek-llm":
		return preTokenizer{scanners: []scanner{
			lineBreak, spacedRun(isDeepSeekLetter), spacedRun(isDeepSeekPunct), trailingSpace, run(isDeepSeekCoderCJK), run(unicode.IsNumber),
		}}, nil
	case "deepseek-coder":
		return preTokenizer{scanners: []scanner{
			lineBreak, spacedRun(unicode.IsLetter), spacedRun(unicode.IsPunct), run(isDeepSeekCoderCJK), number(1),
		}}, nil
	case "deepseek-v3", "hunyuan-dense", "joyai-llm":
		return preTokenizer{scanners: []scanner{number(3), run(isDeepSeekCJK), scanDeepSeekV3}}, nil
	}
	return preTokenizer{}, fmt.Errorf("tokenizer.ggml.pre %q is not supported (known: %s)", name, knownPreTokenizers)
}

// words calls f with each word of text in order; together they are the text.
func (p preTokenizer) words(text string, f func(word string)) { cut(p.scanners, text, f) }

func cut(scanners []scanner, text string, f func(string)) {
	if len(scanners) == 0 {
		f(text)
		return
	}
	for text != "" {
		n := scanners[0](text)
		cut(scanners[1:], text[:n], f)
		text = text[n:]
	}
}

// scanGPT2 is 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
func scanGPT2(s string) int {
	if n := contraction(s, false); n > 0 {
		return n
	}
	start := optionalSpace(s)
	for _, class := range []func(rune) bool{unicode.IsLetter, unicode.IsNumber, isOther} {
		if n := span(s[start:], class); n > 0 {
			return start + n
		}
	}
	return spaces(s)
}

// scanLlama3 is (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|
// \s*[\r\n]+|\s+(?!\S)|\s+
func scanLlama3(s string) int { return scanLlama3Digits(s, 3) }

// scanQwen2 is scanLlama3's expression with \p{N} in place of \p{N}{1,3}.
func scanQwen2(s string) int { return scanLlama3Digits(s, 1) }

func scanLlama3Digits(s string, digits int) int {
	if n := contraction(s, true); n > 0 {
		return n
	}
	r, size := utf8.DecodeRuneInString(s)
	switch {
	case unicode.IsLetter(r):
		return span(s, unicode.IsLetter)
	case unicode.IsNumber(r):
		return spanUpTo(s, digits, unicode.IsNumber)
	case !isNewline(r):
		if n := span(s[size:], unicode.IsLetter); n > 0 {
			return size + n
		}
	}
	start := optionalSpace(s)
	if n := span(s[start:], isOther); n > 0 {
		return start + n + span(s[start+n:], isNewline)
	}
	if n := newlines(s); n > 0 {
		return n
	}
	return spaces(s)
}
