// SPDX-License-Identifier: MIT

package layers_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shardnode/shardnode/internal/quant"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

func parse(t testing.TB, f *gguf.File) *layers.Config {
	t.Helper()
	cfg, err := layers.ParseConfig(f.Meta)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestRequiredTensors(t *testing.T) {
	t.Parallel()
	block := func(i string) []string {
		var names []string
		for _, s := range []string{"attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down"} {
			names = append(names, "blk."+i+"."+s+".weight")
		}
		return names
	}
	factors := gguf.TensorData{Name: "rope_freqs.weight", Type: quant.F32, Dims: []uint64{tinyDim / 2}, Data: encode(quant.F32, slices.Repeat([]float32{1.5}, tinyDim/2))}
	for _, c := range []struct {
		name  string
		model tiny
		r     protocol.LayerRange
		want  []string
	}{
		{"first", tiny{}, protocol.LayerRange{From: 0, To: 1}, slices.Concat([]string{"token_embd.weight"}, block("0"))},
		{"middle", tiny{}, protocol.LayerRange{From: 1, To: 3}, slices.Concat(block("1"), block("2"))},
		{"last", tiny{}, protocol.LayerRange{From: 3, To: 4}, slices.Concat(block("3"), []string{"output_norm.weight", "output.weight"})},
		{"last, tied", tiny{tied: true}, protocol.LayerRange{From: 3, To: 4}, slices.Concat(block("3"), []string{"output_norm.weight", "token_embd.weight"})},
		{"all, tied", tiny{layers: 1, tied: true}, protocol.LayerRange{From: 0, To: 1}, slices.Concat([]string{"token_embd.weight"}, block("0"), []string{"output_norm.weight"})},
		{"with factors", tiny{extra: []gguf.TensorData{factors}}, protocol.LayerRange{From: 1, To: 2}, slices.Concat(block("1"), []string{"rope_freqs.weight"})},
	} {
		f := c.model.file(t)
		cfg := parse(t, f)
		if d := cmp.Diff(c.want, layers.RequiredTensors(f, cfg, c.r)); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
		var sum int64
		for _, name := range c.want {
			tensor, _ := f.Tensor(name)
			sum += int64(tensor.Size)
		}
		if plan, err := layers.PlanBytes(f, cfg, c.r); err != nil || plan != sum {
			t.Errorf("%s: planned %d bytes (%v), want %d", c.name, plan, err, sum)
		}
		// What Load makes ready is what was planned: no tensor more, none less.
		var done, total int64
		loadRange(t, f, c.r, layers.Options{Progress: func(d, t int64) { done, total = d, t }})
		if done != sum || total != sum {
			t.Errorf("%s: loaded %d of %d bytes, want %d", c.name, done, total, sum)
		}
	}
}

// TestLoadTouchesItsRangeOnly destroys the bytes of all other tensors.
func TestLoadTouchesItsRangeOnly(t *testing.T) {
	t.Parallel()
	intact := tiny{tied: true}.file(t)
	tokens := tinyTokens(0)[:5]
	var want, got layers.Output
	hidden := make([]float32, 5*tinyHidden)
	for i := range hidden {
		hidden[i] = float32(i%17) - 8
	}
	for _, r := range []protocol.LayerRange{{From: 0, To: 2}, {From: 1, To: 3}, {From: 3, To: tinyDepth}} {
		needed := layers.RequiredTensors(intact, parse(t, intact), r)
		damaged := tiny{tied: true, edit: func(name string, tensor *gguf.TensorData) bool {
			if !slices.Contains(needed, name) {
				tensor.Data = bytes.Repeat([]byte{0xff}, len(tensor.Data))
			}
			return true
		}}.file(t)
		in := layers.Input{Tokens: tokens, Hidden: hidden, Logits: []uint32{4}}
		a, b := loadRange(t, intact, r, layers.Options{}), loadRange(t, damaged, r, layers.Options{})
		if err := a.Forward(a.NewCache(8), in, &want); err != nil {
			t.Fatal(err)
		}
		if err := b.Forward(b.NewCache(8), in, &got); err != nil {
			t.Fatal(err)
		}
		if err := sameBits(append(got.Hidden, got.Logits...), append(want.Hidden, want.Logits...)); err != nil {
			t.Errorf("layers %s: %v", r, err)
		}
	}
}

// A file that does not fit the configuration is refused by the tensor's name, with what was expected and what was found.
func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	all := protocol.LayerRange{From: 0, To: tinyDepth}
	edit := func(which string, f func(*gguf.TensorData) bool) tiny {
		return tiny{edit: func(name string, t *gguf.TensorData) bool { return name != which || f(t) }}
	}
	f32 := func(t *gguf.TensorData, dims ...uint64) bool {
		n := uint64(1)
		for _, d := range dims {
			n *= d
		}
		t.Type, t.Dims, t.Data = quant.F32, dims, make([]byte, 4*n)
		return true
	}
	for _, c := range []struct {
		name  string
		model tiny
		r     protocol.LayerRange
		opt   layers.Options
		words string
	}{
		{"no such layers", tiny{}, protocol.LayerRange{From: 2, To: 9}, layers.Options{}, "2-8 4 layers 0-3"},
		{"empty range", tiny{}, protocol.LayerRange{From: 2, To: 2}, layers.Options{}, "4 layers"},
		{"missing", edit("blk.2.attn_k.weight", func(*gguf.TensorData) bool { return false }), all, layers.Options{}, `"blk.2.attn_k.weight" missing`},
		{"missing embedding", edit("token_embd.weight", func(*gguf.TensorData) bool { return false }), all, layers.Options{}, `"token_embd.weight" missing`},
		{"swapped shape", edit("blk.1.attn_q.weight", func(t *gguf.TensorData) bool { return f32(t, tinyHeads*tinyDim, tinyHidden) }), all, layers.Options{}, `"blk.1.attn_q.weight" 192 x 256, 256 x 192`},
		{"short norm", edit("output_norm.weight", func(t *gguf.TensorData) bool { return f32(t, tinyHidden-1) }), all, layers.Options{}, `"output_norm.weight" 255, 256`},
		{"matrix as norm", edit("blk.0.ffn_norm.weight", func(t *gguf.TensorData) bool { return f32(t, tinyHidden, 2) }), all, layers.Options{}, `"blk.0.ffn_norm.weight" 256 x 2`},
		{"stacked matrix", edit("blk.0.ffn_up.weight", func(t *gguf.TensorData) bool { return f32(t, tinyHidden, tinyFFN, 2) }), all, layers.Options{}, `"blk.0.ffn_up.weight" 256 x 256 x 2`},
		{"other vocabulary", edit("output.weight", func(t *gguf.TensorData) bool { return f32(t, tinyHidden, tinyVocab+1) }), all, layers.Options{}, `"output.weight" 256 x 65, 256 x 64`},
		{"factors of another dimension", tiny{extra: []gguf.TensorData{{Name: "rope_freqs.weight", Type: quant.F32, Dims: []uint64{tinyDim}, Data: make([]byte, 4*tinyDim)}}}, all, layers.Options{}, `"rope_freqs.weight" 32, 16`},
		{"factors of zero", tiny{extra: []gguf.TensorData{{Name: "rope_freqs.weight", Type: quant.F32, Dims: []uint64{tinyDim / 2}, Data: make([]byte, 2*tinyDim)}}}, all, layers.Options{}, "rotary factors"},
		{"bias", tiny{extra: []gguf.TensorData{{Name: "blk.0.attn_q.bias", Type: quant.F32, Dims: []uint64{192}, Data: make([]byte, 4*192)}}}, all, layers.Options{}, `"blk.0.attn_q.bias" not supported`},
		{"layer too many", tiny{meta: func(m *gguf.Metadata) { m.Set("llama.block_count", uint32(3)) }}, protocol.LayerRange{From: 0, To: 3}, layers.Options{}, `"blk.3.attn_norm.weight"`},
		{"cache type", tiny{}, all, layers.Options{KV: 9}, "f16 f32"},
		{"cache type of the F32 mode", tiny{}, all, layers.Options{F32: true, KV: protocol.F16}, "all-F32 f32"},
	} {
		f := c.model.file(t)
		m, err := layers.Load(f, parse(t, f), c.r, c.opt)
		if err == nil {
			m.Close()
			t.Errorf("%s: accepted", c.name)
			continue
		}
		for word := range strings.FieldsSeq(c.words) {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s: the error %q does not mention %s", c.name, err, word)
			}
		}
	}
}

// A tensor type that files may list but this program cannot compute with is named.
func TestLoadRefusesType(t *testing.T) {
	t.Parallel()
	data := tiny{}.bytes(t)
	// Turn a Q4_K tensor into IQ3_S in the directory: name, number of dimensions, dimensions, then the type.
	name := append(binary.LittleEndian.AppendUint64(nil, 13), "output.weight"...)
	at := bytes.Index(data, name) + len(name) + 4 + 2*8
	if binary.LittleEndian.Uint32(data[at:]) != uint32(quant.Q4_K) {
		t.Fatalf("found type %d", data[at])
	}
	binary.LittleEndian.PutUint32(data[at:], 21)
	f, err := gguf.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	cfg := parse(t, f)
	_, err = layers.Load(f, cfg, protocol.LayerRange{From: 0, To: tinyDepth}, layers.Options{})
	if err == nil || !strings.Contains(err.Error(), "IQ3_S") || !strings.Contains(err.Error(), `"output.weight"`) {
		t.Errorf("error %v", err)
	}
	// The ranges that do not need the tensor can be served.
	loadRange(t, f, protocol.LayerRange{From: 0, To: tinyDepth - 1}, layers.Options{})
}

// Loading ends between two pieces of a tensor at the latest when it is told to.
func TestLoadStops(t *testing.T) {
	t.Parallel()
	f := tiny{}.file(t)
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	m, err := layers.LoadContext(ctx, f, parse(t, f), protocol.LayerRange{From: 0, To: tinyDepth}, layers.Options{Progress: func(int64, int64) {
		if calls++; calls == 5 {
			cancel()
		}
	}})
	if err == nil {
		m.Close()
	}
	if !errors.Is(err, context.Canceled) || calls != 5 {
		t.Errorf("error %v after %d tensors, want it cancelled after 5", err, calls)
	}
}

func TestNumerics(t *testing.T) {
	t.Parallel()
	f := tiny{layers: 1}.file(t)
	all := protocol.LayerRange{From: 0, To: 1}
	for _, c := range []struct {
		opt  layers.Options
		wire protocol.DType
		want string
	}{
		{layers.Options{}, protocol.F32, "n1/kv-f16/wire-f32"},
		{layers.Options{}, protocol.F16, "n1/kv-f16/wire-f16"},
		{layers.Options{KV: protocol.F32}, protocol.F32, "n1/kv-f32/wire-f32"},
		{layers.Options{F32: true}, protocol.F32, "n1-f32/kv-f32/wire-f32"},
	} {
		if got := loadRange(t, f, all, c.opt).Numerics(c.wire); got != c.want {
			t.Errorf("numerics ID %s, want %s", got, c.want)
		}
	}
}

// micro is the smallest model that can be run, for fuzzing: 6 kB.
func micro(t testing.TB, changes map[string]any) []byte {
	t.Helper()
	meta := llamaMeta(map[string]any{
		"llama.block_count": uint32(1), "llama.embedding_length": uint32(32), "llama.feed_forward_length": uint32(32),
		"llama.attention.head_count": uint32(2), "llama.context_length": uint32(4), "llama.vocab_size": uint32(4),
	})
	for k, v := range changes {
		meta.Set(k, v)
	}
	random := rand.New(rand.NewPCG(3, 4))
	tensors := []gguf.TensorData{
		randomTensor(random, "token_embd.weight", quant.Q8_0, 0, 1, 32, 4),
		randomTensor(random, "output_norm.weight", quant.F32, 1, 0, 32),
		randomTensor(random, "blk.0.attn_norm.weight", quant.F32, 1, 0, 32),
		randomTensor(random, "blk.0.ffn_norm.weight", quant.F32, 1, 0, 32),
	}
	for _, name := range []string{"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"} {
		tensors = append(tensors, randomTensor(random, "blk.0."+name+".weight", quant.Q4_0, 0, 0.2, 32, 32))
	}
	var file bytes.Buffer
	if err := gguf.Write(&file, meta, tensors); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// FuzzLoad feeds files to everything between the reader and the first step.
func FuzzLoad(f *testing.F) {
	f.Add(micro(f, nil))
	f.Add(micro(f, map[string]any{"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": float32(2), "llama.rope.dimension_count": uint32(8)}))
	for _, v := range append(variants(), gptOss()) {
		v.layers = 1
		f.Add(v.bytes(f, quant.Q8_0))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := gguf.Parse(data)
		if err != nil {
			return
		}
		cfg, err := layers.ParseConfig(file.Meta)
		if err != nil {
			return
		}
		m, err := layers.Load(file, cfg, protocol.LayerRange{From: 0, To: cfg.NLayers}, layers.Options{})
		if err != nil {
			return
		}
		defer m.Close()
		var out layers.Output
		err = m.Forward(m.NewCache(2), layers.Input{Tokens: []protocol.TokenID{0}, Logits: []uint32{0}}, &out)
		if err != nil || len(out.Logits) != cfg.Vocab {
			t.Fatalf("a loaded model gives %d logits: %v", len(out.Logits), err)
		}
	})
}

// The seeds of [FuzzLoad] must be models, or it would test the reader only.
func TestFuzzSeedLoads(t *testing.T) {
	t.Parallel()
	f, err := gguf.Parse(micro(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	m := load(t, f, layers.Options{})
	lastLogits(t, m, m.NewCache(2), []protocol.TokenID{0, 3})
}
