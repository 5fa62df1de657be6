// SPDX-License-Identifier: MIT

// Package testmodel makes small random Llama-architecture models as GGUF files, for tests: the same [Spec] gives the same bytes on every
// platform. The models compute, with activations of ordinary size at every depth, and have a real byte-level BPE vocabulary; what they
// say means nothing. Only tests and benchmarks call it. All functions are safe for concurrent use.
package testmodel

import (
	"bytes"
	"fmt"
	"io"

	"github.com/shardnode/shardnode/internal/quant"
	"github.com/shardnode/shardnode/internal/synth"
	"github.com/shardnode/shardnode/pkg/gguf"
)

// Spec says what to make. Start from [Default]: a zero field is zero, not a default.
type Spec struct {
	Layers, Hidden, FFN, Heads, KVHeads int
	Context                             int // positions
	Vocab                               int // tokens; at least [MinVocab]

	Type  quant.Type // of the matrices of the layers
	Embed quant.Type // of the embedding
	Head  quant.Type // of the head, when it is not tied

	TiedHead     bool // the embedding serves as the head
	RopeFreqs    bool // with rope_freqs.weight, rising from 1 to 8 as in Llama 3.1
	ChatTemplate bool // ChatML; then <|im_end|> ends a turn too

	Seed uint64 // the same seed gives the same weights before quantisation, whatever the types
}

// Default is a model of 0.3 million parameters, 8 layers and a separate head, all Q8_0.
func Default() Spec {
	return Spec{
		Layers: 8, Hidden: 64, FFN: 128, Heads: 4, KVHeads: 2, Context: 512, Vocab: 320,
		Type: quant.Q8_0, Embed: quant.Q8_0, Head: quant.Q8_0, Seed: 1,
	}
}

// Write writes the model's GGUF file.
func Write(w io.Writer, spec Spec) error {
	if err := spec.validate(); err != nil {
		return fmt.Errorf("test model: %w", err)
	}
	tensors, err := spec.tensors()
	if err != nil {
		return fmt.Errorf("test model: %w", err)
	}
	return gguf.Write(w, spec.metadata(), tensors)
}

// Bytes returns the model's GGUF file. It panics on a spec that [Write] refuses: specs are written in tests.
func Bytes(spec Spec) []byte {
	var b bytes.Buffer
	if err := Write(&b, spec); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// MinVocab is the smallest vocabulary.
const MinVocab = synth.MinVocab

// Bounds: far more than a test needs, and small enough that no size overflows.
const (
	maxLayers = 1 << 10
	maxWidth  = 1 << 16
)

func (s *Spec) validate() error {
	for _, c := range []struct {
		what              string
		value, least, top int
	}{
		{"layers", s.Layers, 1, maxLayers},
		{"hidden size", s.Hidden, 2, maxWidth},
		{"feed-forward size", s.FFN, 1, maxWidth},
		{"heads", s.Heads, 1, maxWidth},
		{"KV heads", s.KVHeads, 1, maxWidth},
		{"context", s.Context, 1, 1 << 30},
		{"vocabulary", s.Vocab, MinVocab, synth.MaxVocab},
	} {
		if c.value < c.least || c.value > c.top {
			return fmt.Errorf("%s of %d: want %d to %d", c.what, c.value, c.least, c.top)
		}
	}
	switch {
	case s.Hidden%(2*s.Heads) != 0:
		return fmt.Errorf("%d heads in a hidden size of %d: want heads of an even size", s.Heads, s.Hidden)
	case s.Heads%s.KVHeads != 0:
		return fmt.Errorf("%d KV heads for %d heads: want a divisor", s.KVHeads, s.Heads)
	}
	return nil
}

func (s *Spec) headDim() int { return s.Hidden / s.Heads }

func (s *Spec) metadata() *gguf.Metadata {
	m := &gguf.Metadata{}
	m.Set("general.architecture", "llama")
	m.Set("general.name", "test model")
	m.Set("llama.block_count", uint32(s.Layers))
	m.Set("llama.context_length", uint32(s.Context))
	m.Set("llama.embedding_length", uint32(s.Hidden))
	m.Set("llama.feed_forward_length", uint32(s.FFN))
	m.Set("llama.attention.head_count", uint32(s.Heads))
	m.Set("llama.attention.head_count_kv", uint32(s.KVHeads))
	m.Set("llama.attention.layer_norm_rms_epsilon", float32(1e-5))
	m.Set("llama.rope.dimension_count", uint32(s.headDim()))
	m.Set("llama.rope.freq_base", float32(10000))
	m.Set("llama.vocab_size", uint32(s.Vocab))
	synth.SetVocabulary(m, s.Vocab, s.ChatTemplate)
	return m
}
