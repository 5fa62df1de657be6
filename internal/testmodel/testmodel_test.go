// SPDX-License-Identifier: MIT

package testmodel_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/internal/quant"
	"github.com/shardnode/shardnode/internal/testmodel"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
	"github.com/shardnode/shardnode/pkg/tokenizer"
)

var allTypes = []quant.Type{
	quant.F32, quant.F16, quant.BF16, quant.Q8_0, quant.Q4_0, quant.Q4_1, quant.Q5_0, quant.Q5_1, quant.Q4_K, quant.Q5_K, quant.Q6_K,
}

// wide returns a small model whose rows suit every type.
func wide(t quant.Type) testmodel.Spec {
	s := testmodel.Default()
	s.Layers, s.Hidden, s.FFN = 2, 256, 512
	s.Type, s.Embed, s.Head = t, t, t
	return s
}

func parse(t *testing.T, spec testmodel.Spec) *gguf.File {
	t.Helper()
	f, err := gguf.Parse(testmodel.Bytes(spec))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// The bytes are the same everywhere and always: tests elsewhere hold values computed from them.
func TestDeterministic(t *testing.T) {
	t.Parallel()
	const want = "8f2b4009feccf23a8d7b454b40ceb265cbe6cdc7993dacc645ec0456b72a99b5"
	sum := sha256.Sum256(testmodel.Bytes(testmodel.Default()))
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("SHA-256 of the default model is %s, want %s", got, want)
	}
	other := testmodel.Default()
	other.Seed++
	if sha256.Sum256(testmodel.Bytes(other)) == sum {
		t.Error("another seed gives the same model")
	}
}

func values(t *testing.T, f *gguf.File, name string) []float32 {
	t.Helper()
	tensor, ok := f.Tensor(name)
	if !ok {
		t.Fatalf("no tensor %s", name)
	}
	dst := make([]float32, tensor.Elements())
	if err := quant.Dequantize(tensor.Type, dst, f.Data(tensor)); err != nil {
		t.Fatal(err)
	}
	return dst
}

func moments(x []float32) (mean, deviation float64) {
	for _, v := range x {
		mean += float64(v) / float64(len(x))
	}
	for _, v := range x {
		d := float64(v) - mean
		deviation += float64(d*d) / float64(len(x))
	}
	return mean, math.Sqrt(deviation)
}

// Every type holds the same weights, of the size that keeps norms.
func TestTypes(t *testing.T) {
	t.Parallel()
	exact := parse(t, wide(quant.F32))
	for _, typ := range allTypes {
		f := parse(t, wide(typ))
		if len(f.Tensors) != 3+2*9 {
			t.Errorf("%s: %d tensors, want 21", typ, len(f.Tensors))
		}
		for i := range f.Tensors {
			tensor := &f.Tensors[i]
			got := values(t, f, tensor.Name)
			mean, deviation := moments(got)
			wantType, wantMean, wantDeviation := typ, 0.0, 1/math.Sqrt(float64(tensor.Dims[0]))
			if strings.HasSuffix(tensor.Name, "norm.weight") {
				wantType, wantMean, wantDeviation = quant.F32, 1, 0.1
			}
			if tensor.Type != wantType {
				t.Errorf("%s is %s, want %s", tensor.Name, tensor.Type, wantType)
			}
			if math.Abs(mean-wantMean) > 0.2*wantDeviation || math.Abs(deviation/wantDeviation-1) > 0.15 {
				t.Errorf("%s (%s): %.4f ± %.4f, want %.4f ± %.4f", tensor.Name, typ, mean, deviation, wantMean, wantDeviation)
			}
			errors := values(t, exact, tensor.Name)
			for j := range errors {
				errors[j] -= got[j]
			}
			if _, e := moments(errors); e > 0.12*wantDeviation {
				t.Errorf("%s (%s) is not the F32 model's: error %.4f", tensor.Name, typ, e)
			}
		}
	}
}

// The model runs, with hidden states and logits of ordinary size at every depth.
func TestRuns(t *testing.T) {
	t.Parallel()
	shapes := map[string]testmodel.Spec{"default": testmodel.Default(), "Q4_K": wide(quant.Q4_K)}
	tied := testmodel.Default()
	tied.TiedHead, tied.RopeFreqs, tied.KVHeads, tied.Layers = true, true, 1, 32
	shapes["tied, rope_freqs, one KV head, 32 layers"] = tied
	mixed := wide(quant.Q4_0)
	mixed.Embed, mixed.Head, mixed.KVHeads = quant.F16, quant.Q6_K, 4
	shapes["mixed"] = mixed
	for name, spec := range shapes {
		f := parse(t, spec)
		cfg, err := layers.ParseConfig(f.Meta)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if cfg.NLayers != spec.Layers || cfg.Hidden != spec.Hidden || cfg.KVHeads != spec.KVHeads || cfg.Vocab != spec.Vocab || cfg.Context != spec.Context {
			t.Errorf("%s: configuration %+v", name, cfg)
		}
		if _, ok := f.Tensor("output.weight"); ok == spec.TiedHead {
			t.Errorf("%s: output.weight is there: %v", name, ok)
		}
		if _, ok := f.Tensor("rope_freqs.weight"); ok != spec.RopeFreqs {
			t.Errorf("%s: rope_freqs.weight is there: %v", name, ok)
		}
		in := layers.Input{Tokens: []protocol.TokenID{1, 50, 99, 200, 280}}
		for i := range spec.Layers {
			m, err := layers.Load(f, cfg, protocol.LayerRange{From: i, To: i + 1}, layers.Options{})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			last := i == spec.Layers-1
			if last {
				in.Logits = []uint32{4}
			}
			var out layers.Output
			err = m.Forward(m.NewCache(len(in.Tokens)), in, &out)
			m.Close()
			if err != nil {
				t.Fatalf("%s: layer %d: %v", name, i, err)
			}
			x, least, most := out.Hidden, 0.2, 12.0
			if last {
				x, least, most = out.Logits, 0.5, 2.0
			}
			if _, deviation := moments(x); !(deviation > least && deviation < most) { // so written, NaN fails too
				t.Errorf("%s: after layer %d: values of %.3f, want %v to %v", name, i, deviation, least, most)
			}
			in.Hidden = out.Hidden
		}
	}
}

func TestTokenizer(t *testing.T) {
	t.Parallel()
	everyByte := make([]byte, 256)
	for i := range everyByte {
		everyByte[i] = byte(255 - i)
	}
	for _, vocab := range []int{testmodel.MinVocab, 320, 4096, 1 << 18} {
		spec := testmodel.Default()
		spec.Layers, spec.Hidden, spec.Heads, spec.KVHeads = 1, 32, 1, 1
		spec.Vocab, spec.ChatTemplate, spec.TiedHead = vocab, vocab > 1000, true
		f := parse(t, spec)
		tok, err := tokenizer.New(f.Meta)
		if err != nil {
			t.Fatal(err)
		}
		embed, _ := f.Tensor("token_embd.weight")
		if tok.Vocab() != vocab || embed.Rows() != uint64(vocab) {
			t.Errorf("%d tokens and %d rows, want %d", tok.Vocab(), embed.Rows(), vocab)
		}
		for _, text := range []string{"", "What is the sum of one and two?\n\n  naïve 日本", string(everyByte)} {
			if got := tok.Decode(tok.Encode(text, tokenizer.EncodeOptions{})); string(got) != text {
				t.Errorf("vocabulary of %d: %q became %q", vocab, text, got)
			}
		}
		if ids := tok.Encode("A and the", tokenizer.EncodeOptions{}); len(ids) != 3 {
			t.Errorf("vocabulary of %d: %q is %d tokens, want the merges to make it 3", vocab, "A and the", len(ids))
		}
		first := protocol.TokenID(vocab - 3)
		got := tok.Encode("<|im_start|>a<|im_end|><|endoftext|>", tokenizer.EncodeOptions{ParseSpecial: true})
		if want := []protocol.TokenID{first + 1, 'a', first + 2, first}; !slices.Equal(got, want) {
			t.Errorf("special tokens are %d, want %d", got, want)
		}
		if eos, ok := tok.EOS(); !ok || eos != first || !tok.IsEnd(first) {
			t.Errorf("end of text is %d, want %d", eos, first)
		}
		template, ok, err := tok.ChatTemplate()
		if ok != spec.ChatTemplate || err != nil {
			t.Fatalf("chat template: %v, %v", ok, err)
		}
		if !ok {
			continue
		}
		prompt, err := template.Render(tokenizer.Conversation{Messages: []tokenizer.Message{{Role: "user", Content: "Hi"}}, AddGenerationPrompt: true})
		if want := "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"; prompt != want || err != nil {
			t.Errorf("prompt %q, %v, want %q", prompt, err, want)
		}
		if !tok.IsEnd(first + 2) {
			t.Error("<|im_end|> does not end a turn")
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*testmodel.Spec){
		"layers of 0":                          func(s *testmodel.Spec) { s.Layers = 0 },
		"vocabulary of 282":                    func(s *testmodel.Spec) { s.Vocab = testmodel.MinVocab - 1 },
		"vocabulary of 262145":                 func(s *testmodel.Spec) { s.Vocab = 1<<18 + 1 },
		"even size":                            func(s *testmodel.Spec) { s.Heads, s.KVHeads = 64, 1 },
		"want a divisor":                       func(s *testmodel.Spec) { s.KVHeads = 3 },
		`"blk.0.attn_q.weight": a row of 64`:   func(s *testmodel.Spec) { s.Type = quant.Q4_K },
		`"token_embd.weight": a row of 64`:     func(s *testmodel.Spec) { s.Embed = quant.Q6_K },
		`"output.weight": a row of 64`:         func(s *testmodel.Spec) { s.Head = quant.Q5_K },
		`"blk.0.ffn_down.weight": a row of 40`: func(s *testmodel.Spec) { s.FFN = 40 },
		"IQ3_XXS is not supported":             func(s *testmodel.Spec) { s.Type = 18 },
	} {
		spec := testmodel.Default()
		change(&spec)
		if err := testmodel.Write(io.Discard, spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	var b bytes.Buffer
	if err := testmodel.Write(&b, testmodel.Default()); err != nil || !bytes.Equal(b.Bytes(), testmodel.Bytes(testmodel.Default())) {
		t.Errorf("Write and Bytes differ (%v)", err)
	}
}
