// SPDX-License-Identifier: MIT

package synth_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/internal/convert"
	"github.com/shardnode/shardnode/internal/quant"
	"github.com/shardnode/shardnode/internal/synth"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
	"github.com/shardnode/shardnode/pkg/tokenizer"
)

func model(t *testing.T, shape, file string, seed uint64) *synth.Model {
	t.Helper()
	s, err := synth.ParseShape(shape)
	if err != nil {
		t.Fatal(err)
	}
	ft, err := convert.ParseFileType(file)
	if err != nil {
		t.Fatal(err)
	}
	m, err := synth.New(s, ft, seed)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The sizes are those of the models that llama.cpp was measured with: parameters in millions, and the bytes streamed for one token (all
// tensors but the embedding) in MB.
func TestShapes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		shape      string
		parameters float64
		streamed   map[string]float64
	}{
		{"tiny", 27.3, map[string]float64{"f16": 52.5, "q8_0": 27.9, "q4_0": 15.1, "q4_k_m": 16.0}},
		{"0.4b", 443, map[string]float64{"f16": 820.8, "q8_0": 436.2, "q4_0": 239.5, "q4_k_m": 253.5}},
		{"1.5b", 1540, map[string]float64{"f16": 2950, "q8_0": 1567.5, "q4_0": 847.0, "q4_k_m": 896.8}},
		{"moe", 1337, map[string]float64{"f16": 2608}},
		{"7B", 6738.4, nil}, // as published of Llama 2
	} {
		if n := float64(model(t, c.shape, "f16", 1).Parameters()) / 1e6; math.Abs(n-c.parameters) > 0.002*c.parameters {
			t.Errorf("%s: %.1f million parameters, want %.1f", c.shape, n, c.parameters)
		}
		for file, want := range c.streamed {
			m := model(t, c.shape, file, 1)
			if got := float64(m.Bytes()-int64(m.Tensors[0].Size)) / 1e6; math.Abs(got-want) > 0.003*want {
				t.Errorf("%s %s: %.1f MB of tensors but the embedding, want %.1f", c.shape, file, got, want)
			}
		}
	}
	if _, err := synth.ParseShape("70b"); err == nil || !strings.Contains(err.Error(), "tiny, 0.4b, 1.5b, 7b") {
		t.Errorf("70b: %v", err)
	}
}

func write(t *testing.T, m *synth.Model, threads int) []byte {
	t.Helper()
	var b bytes.Buffer
	var progress int64
	if err := m.Write(t.Context(), &b, &convert.Encoder{Threads: threads, Progress: func(n int64) { progress += n }}); err != nil {
		t.Fatal(err)
	}
	if progress != m.Bytes() {
		t.Errorf("progress to %d of %d bytes", progress, m.Bytes())
	}
	return b.Bytes()
}

// The bytes are the same on every platform and with any number of threads: benchmarks of different days and machines run the same file.
func TestDeterministic(t *testing.T) {
	t.Parallel()
	const want = "52c096e8d85c93a87154314fb0232ef825e5a96aa359d88ab4b867dd1b25fb69"
	first := write(t, model(t, "tiny", "q8_0", 1), 1)
	sum := sha256.Sum256(first)
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("SHA-256 of tiny q8_0 seed 1 is %s, want %s", got, want)
	}
	if !bytes.Equal(first, write(t, model(t, "tiny", "q8_0", 1), 3)) {
		t.Error("3 threads give another file than 1")
	}
	if bytes.Equal(first, write(t, model(t, "tiny", "q8_0", 2), 2)) {
		t.Error("another seed gives the same file")
	}
}

// A file loads, its tensors are as planned, its weights have the size that keeps norms, and what the model computes stays finite and of
// ordinary size through all layers.
func TestModel(t *testing.T) {
	t.Parallel()
	m := model(t, "tiny", "q4_k_m", 7)
	f, err := gguf.Parse(write(t, m, 2))
	if err != nil {
		t.Fatal(err)
	}
	types := map[quant.Type]int{}
	for i := range f.Tensors {
		tensor, planned := &f.Tensors[i], &m.Tensors[i]
		if tensor.Name != planned.Name || tensor.Type != planned.Type || tensor.Size != planned.Size {
			t.Errorf("tensor %d is %+v, planned %+v", i, tensor, planned)
		}
		types[tensor.Type]++
		values := make([]float32, tensor.Elements())
		if err := quant.Dequantize(tensor.Type, values, f.Data(tensor)); err != nil {
			t.Fatal(err)
		}
		mean, deviation := moments(values)
		wantMean, wantDeviation := 0.0, 1/math.Sqrt(float64(tensor.Dims[0]))
		if len(tensor.Dims) == 1 {
			wantMean, wantDeviation = 1, 0.1
		}
		if math.Abs(mean-wantMean) > 0.2*wantDeviation || math.Abs(deviation/wantDeviation-1) > 0.15 {
			t.Errorf("%s: %.4f ± %.4f, want %.4f ± %.4f", tensor.Name, mean, deviation, wantMean, wantDeviation)
		}
	}
	if types[quant.F32] != 65 || types[quant.Q6_K] != 1+2*16 || types[quant.Q4_K] != 32*7+1-2*16 {
		t.Errorf("tensors a type: %v", types)
	}

	cfg, err := layers.ParseConfig(f.Meta)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := layers.Load(f, cfg, protocol.LayerRange{From: 0, To: cfg.NLayers}, layers.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer loaded.Close()
	var out layers.Output
	in := layers.Input{Tokens: []protocol.TokenID{1, 50, 99, 200, 280}, Logits: []uint32{4}}
	if err := loaded.Forward(loaded.NewCache(8), in, &out); err != nil {
		t.Fatal(err)
	}
	if _, deviation := moments(out.Logits); !(deviation > 0.5 && deviation < 2) { // so written, NaN fails too
		t.Errorf("logits of %.3f, want 0.5 to 2", deviation)
	}
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

// The vocabulary has the right size and distinct tokens, and each merge joins two tokens that are there to one that is: what llama.cpp
// checks when it loads a file.
func TestVocabulary(t *testing.T) {
	t.Parallel()
	for _, n := range []int{synth.MinVocab, 4096, 32000, synth.MaxVocab} {
		meta := &gguf.Metadata{}
		synth.SetVocabulary(meta, n, false)
		tokens, err := meta.Strings("tokenizer.ggml.tokens")
		if err != nil || len(tokens) != n {
			t.Fatalf("%d tokens, %v, want %d", len(tokens), err, n)
		}
		known := map[string]bool{}
		for _, s := range tokens {
			if s == "" || known[s] {
				t.Fatalf("vocabulary of %d: token %q is empty or there twice", n, s)
			}
			known[s] = true
		}
		merges, err := meta.Strings("tokenizer.ggml.merges")
		if err != nil || len(merges) != n-256-3 {
			t.Fatalf("%d merges, %v, want %d", len(merges), err, n-256-3)
		}
		for _, rule := range merges {
			a, b, ok := strings.Cut(rule, " ")
			if !ok || !known[a] || !known[b] || !known[a+b] {
				t.Fatalf("vocabulary of %d: merge %q", n, rule)
			}
		}
		if _, err := tokenizer.New(meta); err != nil {
			t.Error(err)
		}
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	e := &convert.Encoder{Progress: func(int64) { cancel() }}
	if err := model(t, "7b", "q8_0", 1).Write(ctx, io.Discard, e); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled file: %v", err)
	}
}
