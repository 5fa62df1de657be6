// SPDX-License-Identifier: MIT

package tokenizer

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// bpeMeta is a byte-level vocabulary made of all 256 bytes (token b is byte b), then the merges' results, then special
// tokens by kind.
func bpeMeta(merges []string, special map[string]kind) *gguf.Metadata {
	var text []string
	var types []int32
	for b := range 256 {
		text, types = append(text, string(byteToRune[b])), append(types, int32(kindNormal))
	}
	for _, m := range merges {
		text, types = append(text, strings.Replace(m, " ", "", 1)), append(types, int32(kindNormal))
	}
	var names []string
	for name := range special {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		text, types = append(text, name), append(types, int32(special[name]))
	}
	m := &gguf.Metadata{}
	m.Set("tokenizer.ggml.model", "gpt2")
	m.Set("tokenizer.ggml.pre", "gpt-2")
	m.Set("tokenizer.ggml.tokens", text)
	m.Set("tokenizer.ggml.token_type", types)
	m.Set("tokenizer.ggml.merges", merges)
	return m
}

// spmMeta is a SentencePiece vocabulary: <unk>, <s>, </s>, 256 byte tokens, then pieces with their scores.
func spmMeta(pieces []string, scores []float32) *gguf.Metadata {
	text := []string{"<unk>", "<s>", "</s>"}
	types := []int32{int32(kindUnknown), int32(kindControl), int32(kindControl)}
	all := make([]float32, 259, 259+len(pieces))
	for b := range 256 {
		text, types = append(text, fmt.Sprintf("<0x%02X>", b)), append(types, int32(kindByte))
	}
	for _, p := range pieces {
		text, types = append(text, p), append(types, int32(kindNormal))
	}
	m := &gguf.Metadata{}
	m.Set("tokenizer.ggml.model", "llama")
	m.Set("tokenizer.ggml.tokens", text)
	m.Set("tokenizer.ggml.token_type", types)
	m.Set("tokenizer.ggml.scores", append(all, scores...))
	return m
}

func with(m *gguf.Metadata, kv ...any) *gguf.Metadata {
	for i := 0; i < len(kv); i += 2 {
		m.Set(kv[i].(string), kv[i+1])
	}
	return m
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		meta *gguf.Metadata
		want []string // parts of the error
	}{
		"no model":         {&gguf.Metadata{}, []string{"tokenizer.ggml.model", "vocabulary"}},
		"unknown model":    {with(bpeMeta(nil, nil), "tokenizer.ggml.model", "bert"), []string{`"bert"`, "gpt2", "llama"}},
		"unknown pre":      {with(bpeMeta(nil, nil), "tokenizer.ggml.pre", "nonsense"), []string{`"nonsense"`, "llama-bpe", "gpt-2", "qwen2"}},
		"mistyped pre":     {with(bpeMeta(nil, nil), "tokenizer.ggml.pre", uint32(1)), []string{"tokenizer.ggml.pre", "uint32"}},
		"no tokens":        {with(bpeMeta(nil, nil), "tokenizer.ggml.tokens", []string{}), []string{"0 tokens"}},
		"duplicate":        {with(bpeMeta(nil, nil), "tokenizer.ggml.tokens", []string{"a", "b", "a"}), []string{`"a"`, "token 0", "token 2"}},
		"long token":       {with(bpeMeta(nil, nil), "tokenizer.ggml.tokens", []string{strings.Repeat("a", maxTokenLen+1)}), []string{"token 0", "limit"}},
		"types too short":  {with(bpeMeta(nil, nil), "tokenizer.ggml.token_type", []int32{1}), []string{"1 entries for 256 tokens"}},
		"type unknown":     {with(spmMeta(nil, nil), "tokenizer.ggml.token_type", slices.Repeat([]int32{9}, 259)), []string{"token 0 has type 9"}},
		"scores too short": {with(spmMeta(nil, nil), "tokenizer.ggml.scores", []float32{1}), []string{"1 entries for 259 tokens"}},
		"score NaN":        {spmMeta([]string{"a"}, []float32{float32(math.NaN())}), []string{"score of token 259"}},
		"byte token":       {with(spmMeta([]string{"<0xGG>"}, []float32{0}), "tokenizer.ggml.token_type", slices.Repeat([]int32{6}, 260)), []string{"byte token 0"}},
		"bad merge":        {with(bpeMeta(nil, nil), "tokenizer.ggml.merges", []string{"a b", "ab"}), []string{"merge 1", `"ab"`}},
		"half a merge":     {with(bpeMeta(nil, nil), "tokenizer.ggml.merges", []string{"a "}), []string{"merge 0"}},
		"bos out of range": {with(bpeMeta(nil, nil), "tokenizer.ggml.bos_token_id", uint32(256)), []string{"bos_token_id", "256"}},
		"eot out of range": {with(bpeMeta(nil, nil), "tokenizer.ggml.eot_token_id", uint32(1<<31)), []string{"eot_token_id"}},
		"add without bos":  {with(bpeMeta(nil, nil), "tokenizer.ggml.add_bos_token", true), []string{"add_bos_token"}},
		"template":         {with(bpeMeta(nil, nil), "tokenizer.chat_template", uint8(1)), []string{"tokenizer.chat_template"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := New(c.meta)
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not mention %q", err, w)
				}
			}
		})
	}
	for _, key := range []string{"tokens", "merges", "pre"} {
		full := bpeMeta(nil, nil)
		m := &gguf.Metadata{}
		for _, k := range full.Keys {
			if k != "tokenizer.ggml."+key {
				v, _ := full.Get(k)
				m.Set(k, v)
			}
		}
		if _, err := New(m); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("without %s: error %v", key, err)
		}
	}
}

func TestSpecialTokens(t *testing.T) {
	t.Parallel()
	tok := mustNew(t, bpeMeta(nil, map[string]kind{
		"<a>": kindControl, "<a><b>": kindControl, "[user]": kindUserDefined, "<unk>": kindUnknown,
	}))
	// 256 <a>, 257 <a><b>, 258 <unk>, 259 [user]
	for _, c := range []struct {
		text  string
		parse bool
		want  []protocol.TokenID
	}{
		{"<a><b>", true, []protocol.TokenID{257}}, // the longest wins
		{"<a><a><b>x", true, []protocol.TokenID{256, 257, 'x'}},
		{"<a>", false, []protocol.TokenID{'<', 'a', '>'}},
		{"x<unk>", true, []protocol.TokenID{'x', 258}},
		{"x<unk>", false, []protocol.TokenID{'x', '<', 'u', 'n', 'k', '>'}},
		{"x[user]y", false, []protocol.TokenID{'x', 259, 'y'}}, // user-defined tokens are always split
		{"", true, nil},
		{"<", true, []protocol.TokenID{'<'}},
	} {
		checkIDs(t, tok, c.text, EncodeOptions{ParseSpecial: c.parse}, c.want)
	}
	ids := []protocol.TokenID{'x', 257, 259, 258, 'y', 99999}
	if got := string(tok.Decode(ids)); got != "x[user]y" {
		t.Errorf("Decode: %q", got)
	}
	if got := string(tok.DecodeSpecial(ids)); got != "x<a><b>[user]<unk>y" {
		t.Errorf("DecodeSpecial: %q", got)
	}
}

func TestAddSpecial(t *testing.T) {
	t.Parallel()
	bpe := bpeMeta(nil, map[string]kind{"<s>": kindControl, "</s>": kindControl}) // 256 </s>, 257 <s>
	with(bpe, "tokenizer.ggml.bos_token_id", uint32(257), "tokenizer.ggml.eos_token_id", uint32(256))
	checkIDs(t, mustNew(t, bpe), "x", EncodeOptions{AddSpecial: true}, []protocol.TokenID{'x'})

	with(bpe, "tokenizer.ggml.pre", "llama-bpe") // implies BOS
	tok := mustNew(t, bpe)
	checkIDs(t, tok, "x", EncodeOptions{AddSpecial: true}, []protocol.TokenID{257, 'x'})
	checkIDs(t, tok, "x", EncodeOptions{}, []protocol.TokenID{'x'})

	with(bpe, "tokenizer.ggml.add_bos_token", false, "tokenizer.ggml.add_eos_token", true)
	checkIDs(t, mustNew(t, bpe), "x", EncodeOptions{AddSpecial: true}, []protocol.TokenID{'x', 256})

	spm := mustNew(t, spmMeta([]string{"▁x"}, []float32{-1})) // the model's defaults: BOS 1, EOS 2
	if id, ok := spm.BOS(); !ok || id != 1 {
		t.Errorf("BOS %d %t", id, ok)
	}
	if id, ok := spm.EOS(); !ok || id != 2 {
		t.Errorf("EOS %d %t", id, ok)
	}
}

func TestIsEnd(t *testing.T) {
	t.Parallel()
	tok := mustNew(t, with(bpeMeta(nil, map[string]kind{
		"<|endoftext|>": kindControl, "<|im_end|>": kindUserDefined, "</s>": kindNormal, "<x>": kindControl,
		"<|end|>": kindControl,
	}), "tokenizer.ggml.eos_token_id", uint32('e'), "tokenizer.ggml.eot_token_id", uint32('t'), "tokenizer.ggml.eom_token_id", uint32('m')))
	checkEnds(t, tok, "e", "t", "m", "<|endoftext|>", "<|im_end|>", "<|end|>")
	// A token that ends a turn is a control token even where the file calls it user-defined.
	checkIDs(t, tok, "<|im_end|>", EncodeOptions{}, []protocol.TokenID{'<', '|', 'i', 'm', '_', 'e', 'n', 'd', '|', '>'})

	harmony := mustNew(t, bpeMeta(nil, map[string]kind{"<|end|>": kindControl, "<|return|>": kindControl, "<|call|>": kindControl}))
	checkEnds(t, harmony, "<|return|>", "<|call|>")
}

func checkEnds(t *testing.T, tok *Tokenizer, want ...string) {
	t.Helper()
	var got []string
	for id := range tok.Vocab() + 1 {
		if tok.IsEnd(protocol.TokenID(id)) {
			got = append(got, string(tok.Piece(protocol.TokenID(id))))
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("ends %q, want %q", got, want)
	}
}

func TestSentencePiece(t *testing.T) {
	t.Parallel()
	meta := spmMeta([]string{"▁", "a", "b", "ab", "▁a", "bb", "</"}, []float32{-1, -2, -3, -4, -5, -4, -6})
	tok := mustNew(t, meta) // 259 ▁, 260 a, 261 b, 262 ab, 263 ▁a, 264 bb
	for _, c := range []struct {
		text string
		want []protocol.TokenID
	}{
		{"", nil},
		{"ab", []protocol.TokenID{259, 262}},       // the space is put in front; ab (-4) beats ▁a (-5)
		{"abb", []protocol.TokenID{259, 262, 261}}, // of ab and bb, equally good, the left one
		{"a", []protocol.TokenID{263}},
		{"é", []protocol.TokenID{259, 3 + 0xc3, 3 + 0xa9}},
		{"\xff", []protocol.TokenID{259, 3 + 0xff}},
		{"</s>", []protocol.TokenID{259, 265, 3 + 's', 3 + '>'}}, // never the control token
	} {
		checkIDs(t, tok, c.text, EncodeOptions{}, c.want)
		if got := tok.Decode(c.want); string(got) != c.text {
			t.Errorf("Decode(%v) = %q, want %q", c.want, got, c.text)
		}
	}
	checkIDs(t, tok, "</s>a", EncodeOptions{ParseSpecial: true}, []protocol.TokenID{2, 263})
	checkIDs(t, tok, "a", EncodeOptions{AddSpecial: true}, []protocol.TokenID{1, 263})

	bare := mustNew(t, with(meta, "tokenizer.ggml.add_space_prefix", false))
	checkIDs(t, bare, "a", EncodeOptions{}, []protocol.TokenID{260})
	if got := bare.Decode([]protocol.TokenID{263}); string(got) != " a" {
		t.Errorf("Decode without space prefix: %q", got)
	}
}

// A merge list can make pieces that are no tokens, and a vocabulary can lack bytes.
func TestBPEGaps(t *testing.T) {
	t.Parallel()
	meta := bpeMeta(nil, nil)
	with(meta, "tokenizer.ggml.tokens", []string{"a", "b", "c", "abc"}, "tokenizer.ggml.token_type", []int32{1, 1, 1, 1},
		"tokenizer.ggml.merges", []string{"a b", "ab c"})
	tok := mustNew(t, meta)
	checkIDs(t, tok, "abc", EncodeOptions{}, []protocol.TokenID{3})
	checkIDs(t, tok, "ab", EncodeOptions{}, []protocol.TokenID{0, 1})
	checkIDs(t, tok, "axb", EncodeOptions{}, []protocol.TokenID{0, 1})

	// llama-bpe takes a word that is a token as it is, whatever the merges say.
	with(meta, "tokenizer.ggml.merges", []string{"b c"})
	checkIDs(t, mustNew(t, meta), "abc", EncodeOptions{}, []protocol.TokenID{0, 1, 2})
	checkIDs(t, mustNew(t, with(meta, "tokenizer.ggml.pre", "llama-bpe")), "abc", EncodeOptions{}, []protocol.TokenID{3})
}

func TestDemoModelEnds(t *testing.T) {
	t.Parallel()
	tok := demoTokenizer(t, "")
	if tok.Vocab() != 4096 {
		t.Errorf("Vocab() = %d", tok.Vocab())
	}
	checkEnds(t, tok, "<|endoftext|>", "<|im_end|>")
	if !tok.IsEnd(0) || !tok.IsEnd(2) {
		t.Error("0 and 2 are no ends")
	}
}
