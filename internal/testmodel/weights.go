// SPDX-License-Identifier: MIT

package testmodel

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"

	"github.com/shardnode/shardnode/internal/quant"
	"github.com/shardnode/shardnode/internal/synth"
	"github.com/shardnode/shardnode/pkg/gguf"
)

// tensors makes all weights, in the order in which llama.cpp's converter writes them.
func (s *Spec) tensors() ([]gguf.TensorData, error) {
	kv := s.KVHeads * s.headDim()
	b := &builder{seed: s.Seed}
	b.matrix("token_embd.weight", s.Embed, s.Hidden, s.Vocab)
	if s.RopeFreqs {
		b.ropeFreqs(s.headDim() / 2)
	}
	for i := range s.Layers {
		layer := fmt.Sprintf("blk.%d.", i)
		b.norm(layer+"attn_norm.weight", s.Hidden)
		b.matrix(layer+"attn_q.weight", s.Type, s.Hidden, s.Hidden)
		b.matrix(layer+"attn_k.weight", s.Type, s.Hidden, kv)
		b.matrix(layer+"attn_v.weight", s.Type, s.Hidden, kv)
		b.matrix(layer+"attn_output.weight", s.Type, s.Hidden, s.Hidden)
		b.norm(layer+"ffn_norm.weight", s.Hidden)
		b.matrix(layer+"ffn_gate.weight", s.Type, s.Hidden, s.FFN)
		b.matrix(layer+"ffn_up.weight", s.Type, s.Hidden, s.FFN)
		b.matrix(layer+"ffn_down.weight", s.Type, s.FFN, s.Hidden)
	}
	b.norm("output_norm.weight", s.Hidden)
	if !s.TiedHead {
		b.matrix("output.weight", s.Head, s.Hidden, s.Vocab)
	}
	return b.tensors, b.err
}

// builder collects tensors. After the first error it does nothing.
type builder struct {
	seed    uint64
	tensors []gguf.TensorData
	err     error
}

// random returns a tensor's own generator, so that its values do not depend on which tensors come before it.
func (b *builder) random(name string) *rand.PCG {
	h := fnv.New64a()
	h.Write([]byte(name))
	return rand.NewPCG(b.seed, h.Sum64())
}

// matrix adds weights of a normal distribution with variance 1/cols, so that a product keeps the size of its input.
func (b *builder) matrix(name string, t quant.Type, cols, rows int) {
	scale := 1 / math.Sqrt(float64(cols))
	src := b.random(name)
	values := make([]float32, rows*cols) // [rows][cols]
	for i := range values {
		values[i] = float32(synth.Normal(src) * scale)
	}
	b.add(name, t, []uint64{uint64(cols), uint64(rows)}, values)
}

// norm adds a norm's weights, 1 ± 0.1.
func (b *builder) norm(name string, n int) {
	src := b.random(name)
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(1 + float64(0.1*synth.Normal(src)))
	}
	b.add(name, quant.F32, []uint64{uint64(n)}, values)
}

// ropeFreqs adds the divisors of the rotary frequencies, from 1 for the fastest to 8 for the slowest.
func (b *builder) ropeFreqs(n int) {
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(1 + float64(7*i)/float64(max(1, n-1)))
	}
	b.add("rope_freqs.weight", quant.F32, []uint64{uint64(n)}, values)
}

func (b *builder) add(name string, t quant.Type, dims []uint64, values []float32) {
	if b.err != nil {
		return
	}
	row, err := quant.RowBytes(t, int(dims[0]))
	if err != nil {
		b.err = fmt.Errorf("tensor %q: %w", name, err)
		return
	}
	data := make([]byte, len(values)/int(dims[0])*row)
	if err := quant.Quantize(t, data, values); err != nil {
		b.err = fmt.Errorf("tensor %q: %w", name, err)
		return
	}
	b.tensors = append(b.tensors, gguf.TensorData{Name: name, Type: t, Dims: dims, Data: data})
}
