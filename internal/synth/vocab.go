// SPDX-License-Identifier: MIT

package synth

import (
	"iter"

	"github.com/shardnode/shardnode/pkg/gguf"
)

// GGUF token types.
const (
	normalToken  = 1
	controlToken = 3
)

// chatML is the chat template of models with the tokens <|im_start|> and <|im_end|>.
const chatML = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}" +
	"{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"

var (
	// specials come last in the vocabulary.
	specials = []string{"<|endoftext|>", "<|im_start|>", "<|im_end|>"}

	// words are the first merges, each of two tokens that come before it. Ġ is the space, as byte-level vocabularies spell it.
	words = [][2]string{
		{"Ġ", "t"}, {"h", "e"}, {"Ġ", "a"}, {"i", "n"}, {"r", "e"}, {"o", "n"}, {"Ġt", "he"}, {"e", "r"}, {"Ġ", "s"}, {"a", "t"}, {"Ġ", "w"}, {"o", "u"},
		{"Ġ", "o"}, {"n", "d"}, {"i", "t"}, {"e", "s"}, {"in", "g"}, {"Ġa", "nd"}, {"o", "r"}, {"i", "s"}, {"Ġ", "Ġ"}, {"ĠĠ", "ĠĠ"}, {"Ċ", "Ċ"}, {"Ġo", "f"},
	}
)

const (
	// MinVocab is the smallest vocabulary: the bytes, a few words, and the special tokens.
	MinVocab = 256 + 24 + 3

	// MaxVocab is the largest.
	MaxVocab = 1 << 18
)

// merges yields words, and then letter pairs, and those with a third and a fourth letter: more than MaxVocab.
func merges() iter.Seq[[2]string] {
	return func(yield func([2]string) bool) {
		seen := map[string]bool{}
		var pairs, longer []string
		visit := func(a, b string) bool {
			if seen[a+b] {
				return true
			}
			seen[a+b] = true
			return yield([2]string{a, b})
		}
		for _, w := range words {
			if !visit(w[0], w[1]) {
				return
			}
		}
		for a := 'a'; a <= 'z'; a++ {
			for b := 'a'; b <= 'z'; b++ {
				pairs = append(pairs, string(a)+string(b))
				if !visit(string(a), string(b)) {
					return
				}
			}
		}
		for range 2 {
			for _, p := range pairs {
				for c := 'a'; c <= 'z'; c++ {
					longer = append(longer, p+string(c))
					if !visit(p, string(c)) {
						return
					}
				}
			}
			pairs, longer = longer, nil
		}
	}
}

// SetVocabulary gives a model a byte-level BPE vocabulary of n tokens, from [MinVocab] to [MaxVocab]. With a chat template, ChatML,
// <|im_end|> ends a turn too.
func SetVocabulary(m *gguf.Metadata, n int, chatTemplate bool) {
	tokens := make([]string, 0, n)
	for b := range 256 {
		tokens = append(tokens, byteSpelling(byte(b)))
	}
	var rules []string
	for merge := range merges() {
		if len(tokens) == n-len(specials) {
			break
		}
		tokens = append(tokens, merge[0]+merge[1])
		rules = append(rules, merge[0]+" "+merge[1])
	}
	tokens = append(tokens, specials...)
	types := make([]int32, len(tokens))
	for i := range types {
		types[i] = normalToken
		if i >= len(tokens)-len(specials) {
			types[i] = controlToken
		}
	}
	end := uint32(len(tokens) - len(specials))
	m.Set("tokenizer.ggml.model", "gpt2")
	m.Set("tokenizer.ggml.pre", "llama-bpe")
	m.Set("tokenizer.ggml.tokens", tokens)
	m.Set("tokenizer.ggml.token_type", types)
	m.Set("tokenizer.ggml.merges", rules)
	m.Set("tokenizer.ggml.eos_token_id", end)
	m.Set("tokenizer.ggml.add_bos_token", false)
	if chatTemplate {
		m.Set("tokenizer.ggml.eot_token_id", end+2)
		m.Set("tokenizer.chat_template", chatML)
	}
}

// byteSpelling is GPT-2's spelling of a byte: printable Latin-1 bytes stand for themselves, the other 68 are counted up from U+0100.
func byteSpelling(b byte) string {
	printable := func(c int) bool { return c >= 0x21 && c <= 0x7e || c >= 0xa1 && c <= 0xac || c >= 0xae && c <= 0xff }
	if printable(int(b)) {
		return string(rune(b))
	}
	r := rune(0x100)
	for c := range int(b) {
		if !printable(c) {
			r++
		}
	}
	return string(r)
}
