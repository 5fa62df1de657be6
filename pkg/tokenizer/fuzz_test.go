// SPDX-License-Identifier: MIT

package tokenizer

import (
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// FuzzNewMetadata builds metadata from lines and bytes. New may refuse it; a tokenizer that it makes must work.
func FuzzNewMetadata(f *testing.F) {
	f.Add("gpt2", "gpt-2", "a\nb\nab\n<|im_end|>", "a b", []byte{1, 1, 1, 3}, []byte{}, uint32(0), uint32(3), byte(1), "ab<|im_end|>")
	f.Add("gpt2", "llama-bpe", "a\n\n<0x41>\n[u]", "a b\nab c", []byte{1, 1, 6, 4}, []byte{1}, uint32(9), uint32(1), byte(3), "a[u]")
	f.Add("llama", "", "<unk>\n<s>\n</s>\n▁\na\n▁a\n<0x0A>", "", []byte{2, 3, 3, 1, 1, 1, 6}, []byte{0, 0, 0, 9, 8, 7, 0}, uint32(1), uint32(2), byte(7), "a a\n")
	f.Add("llama", "", "<unk>\n<s>\n</s>\n▁a\n<|end|>", "", []byte{2, 3, 3, 1, 3}, []byte{0, 0, 0, 9, 8}, uint32(1), uint32(2), byte(23), "a<|end|> \na")
	f.Add("llama", "", "<0xGG>", "", []byte{6}, []byte{255}, uint32(0), uint32(0), byte(0), "\xff")
	f.Fuzz(func(t *testing.T, model, pre, tokens, merges string, types, scores []byte, bos, eos uint32, flags byte, text string) {
		m := &gguf.Metadata{}
		m.Set("tokenizer.ggml.model", model)
		m.Set("tokenizer.ggml.pre", pre)
		m.Set("tokenizer.ggml.tokens", strings.Split(tokens, "\n"))
		m.Set("tokenizer.ggml.merges", strings.Split(merges, "\n"))
		if merges == "" {
			m.Set("tokenizer.ggml.merges", []string{})
		}
		if len(types) > 0 {
			list := make([]int32, len(types))
			for i, b := range types {
				list[i] = int32(int8(b))
			}
			m.Set("tokenizer.ggml.token_type", list)
		}
		if len(scores) > 0 {
			list := make([]float32, len(scores))
			for i, b := range scores {
				list[i] = float32(b)
				if b == 255 {
					list[i] = float32(math.Inf(1))
				}
			}
			m.Set("tokenizer.ggml.scores", list)
		}
		if flags&16 != 0 {
			m.Set("general.architecture", "phi3")
		}
		if flags&1 != 0 {
			m.Set("tokenizer.ggml.bos_token_id", bos)
			m.Set("tokenizer.ggml.eos_token_id", eos)
		}
		if flags&2 != 0 {
			m.Set("tokenizer.ggml.add_bos_token", true)
			m.Set("tokenizer.ggml.add_eos_token", flags&4 != 0)
			m.Set("tokenizer.ggml.add_space_prefix", flags&8 != 0)
		}
		tok, err := New(m)
		if err != nil {
			return
		}
		for _, parse := range []bool{false, true} {
			ids := tok.Encode(text, EncodeOptions{AddSpecial: true, ParseSpecial: parse})
			s := tok.Stream()
			for _, id := range ids {
				if int(id) >= tok.Vocab() {
					t.Fatalf("token %d of a vocabulary of %d", id, tok.Vocab())
				}
				if out := s.Next(id); !utf8.ValidString(out) {
					t.Fatalf("stream yields %q", out)
				}
			}
			tok.Decode(ids)
		}
	})
}

// FuzzRoundTrip checks that any bytes survive encoding and decoding, whole and streamed.
func FuzzRoundTrip(f *testing.F) {
	for _, s := range []string{"", "Hello, world!", " 🦙\n\n\t x", "\xff\xfe\x80a", "<|im_start|>user\n", "'re 'RE 1234567", "a\u0301\u00a0\u2003 ", "▁ ▁"} {
		f.Add(s)
	}
	var toks []*Tokenizer
	for _, pre := range strings.Split(knownPreTokenizers, ", ") {
		toks = append(toks, demoTokenizer(f, pre))
	}
	toks = append(toks, mustNew(f, spmMeta([]string{"▁", "a", "e", "▁a", "re", "▁the"}, []float32{-1, -2, -3, -4, -5, -6})))
	f.Fuzz(func(t *testing.T, text string) {
		for i, tok := range toks {
			ids := tok.Encode(text, EncodeOptions{})
			want := text
			if i == len(toks)-1 {
				want = strings.ReplaceAll(text, escapedSpace, " ") // SentencePiece cannot tell them apart
			}
			if got := string(tok.Decode(ids)); got != want {
				t.Fatalf("tokenizer %d: %q became %q", i, want, got)
			}
			checkStream(t, tok, ids)
		}
	})
}

// checkStream compares a stream with the characters of the whole output.
func checkStream(t *testing.T, tok *Tokenizer, ids []protocol.TokenID) {
	t.Helper()
	var out strings.Builder
	var all []byte
	s := tok.Stream()
	for _, id := range ids {
		out.WriteString(s.Next(id))
		all = append(all, tok.Piece(id)...)
	}
	out.WriteString(s.Flush())
	if want := string([]rune(string(all))); out.String() != want {
		t.Fatalf("stream yields %q, want %q", out.String(), want)
	}
}
