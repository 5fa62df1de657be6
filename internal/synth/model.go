// SPDX-License-Identifier: MIT

package synth

import (
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/shardnode/shardnode/internal/convert"
	"github.com/shardnode/shardnode/internal/quant"
	"github.com/shardnode/shardnode/pkg/gguf"
)

// Model is a random model to write.
type Model struct {
	shape   *Shape
	file    *convert.FileType
	seed    uint64
	Tensors []gguf.Tensor // in file order, offsets not set
}

// part is a tensor of a layer.
type part struct {
	name string
	dims []uint64
}

// New lays a model out. The seed decides the values before quantisation, whatever the type.
func New(s *Shape, t *convert.FileType, seed uint64) (*Model, error) {
	m := &Model{shape: s, file: t, seed: seed}
	add := func(name string, dims ...uint64) error {
		typ, ok := t.TensorType(name, dims, convert.Model{Layers: s.Layers, Group: s.Heads / s.KVHeads, Experts: s.Experts})
		if !ok {
			typ = quant.F32
		}
		size, err := quant.RowBytes(typ, int(dims[0]))
		if err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		tensor := gguf.Tensor{Name: name, Type: typ, Dims: dims}
		tensor.Size = uint64(size) * tensor.Rows()
		m.Tensors = append(m.Tensors, tensor)
		return nil
	}
	hidden, ffn, kv, vocab := uint64(s.Hidden), uint64(s.FFN), uint64(s.KVHeads*s.HeadDim()), uint64(s.Vocab)
	err := add("token_embd.weight", hidden, vocab)
	for i := 0; i < s.Layers && err == nil; i++ {
		parts := []part{
			{"attn_norm", []uint64{hidden}},
			{"attn_q", []uint64{hidden, hidden}},
			{"attn_k", []uint64{hidden, kv}},
			{"attn_v", []uint64{hidden, kv}},
			{"attn_output", []uint64{hidden, hidden}},
			{"ffn_norm", []uint64{hidden}},
		}
		if experts := uint64(s.Experts); experts > 0 {
			parts = append(parts, part{"ffn_gate_inp", []uint64{hidden, experts}}, part{"ffn_gate_exps", []uint64{hidden, ffn, experts}},
				part{"ffn_up_exps", []uint64{hidden, ffn, experts}}, part{"ffn_down_exps", []uint64{ffn, hidden, experts}})
		} else {
			parts = append(parts, part{"ffn_gate", []uint64{hidden, ffn}}, part{"ffn_up", []uint64{hidden, ffn}}, part{"ffn_down", []uint64{ffn, hidden}})
		}
		for _, part := range parts {
			if err == nil {
				err = add(fmt.Sprintf("blk.%d.%s.weight", i, part.name), part.dims...)
			}
		}
	}
	if err == nil {
		err = add("output_norm.weight", hidden)
	}
	if err == nil {
		err = add("output.weight", hidden, vocab)
	}
	return m, err
}

// Bytes returns the bytes of all tensors.
func (m *Model) Bytes() int64 {
	var sum uint64
	for _, t := range m.Tensors {
		sum += t.Size
	}
	return int64(sum)
}

// Parameters returns the number of weights.
func (m *Model) Parameters() int64 {
	var sum uint64
	for _, t := range m.Tensors {
		sum += t.Elements()
	}
	return int64(sum)
}

// Write writes the GGUF file.
func (m *Model) Write(ctx context.Context, w io.Writer, e *convert.Encoder) error {
	sources := make([]gguf.TensorSource, len(m.Tensors))
	for i := range m.Tensors {
		t := &m.Tensors[i]
		sources[i] = gguf.TensorSource{Name: t.Name, Type: t.Type, Dims: t.Dims, Write: func(w io.Writer) error {
			_, err := e.Encode(ctx, w, t.Type, int(t.Dims[0]), int(t.Rows()), m.filler(t))
			return err
		}}
	}
	return gguf.WriteStream(w, m.metadata(), sources)
}

// filler returns what sets a tensor's rows. Matrices are normally distributed with variance 1/row length, so that a product keeps the size
// of its input; norms are 1 ± 0.1. Each row has its own generator: rows can be made in any order.
func (m *Model) filler(t *gguf.Tensor) func(row int, dst []float32) error {
	h := fnv.New64a()
	h.Write([]byte(t.Name))
	stream := h.Sum64()
	mean, deviation := 0.0, 1/math.Sqrt(float64(t.Dims[0]))
	if strings.HasSuffix(t.Name, "_norm.weight") {
		mean, deviation = 1, 0.1
	}
	return func(row int, dst []float32) error {
		src := rand.NewPCG(m.seed, stream+uint64(row)*0x9e3779b97f4a7c15) // rows far apart: 2^64/φ
		for i := range dst {
			dst[i] = float32(mean + float64(deviation*Normal(src)))
		}
		return nil
	}
}

func (m *Model) metadata() *gguf.Metadata {
	s := m.shape
	meta := &gguf.Metadata{}
	meta.Set("general.architecture", "llama")
	meta.Set("general.name", fmt.Sprintf("synthetic %s, seed %d", s.Name, m.seed))
	meta.Set("general.file_type", m.file.Number)
	meta.Set("general.quantization_version", convert.QuantizationVersion)
	meta.Set("llama.block_count", uint32(s.Layers))
	meta.Set("llama.context_length", uint32(contextLength))
	meta.Set("llama.embedding_length", uint32(s.Hidden))
	meta.Set("llama.feed_forward_length", uint32(s.FFN))
	meta.Set("llama.attention.head_count", uint32(s.Heads))
	meta.Set("llama.attention.head_count_kv", uint32(s.KVHeads))
	meta.Set("llama.attention.layer_norm_rms_epsilon", float32(1e-5))
	meta.Set("llama.rope.dimension_count", uint32(s.HeadDim()))
	meta.Set("llama.rope.freq_base", float32(10000))
	if s.Experts > 0 {
		meta.Set("llama.expert_count", uint32(s.Experts))
		meta.Set("llama.expert_used_count", uint32(s.Used))
	}
	meta.Set("llama.vocab_size", uint32(s.Vocab))
	SetVocabulary(meta, s.Vocab, false)
	return meta
}
