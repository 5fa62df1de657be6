// SPDX-License-Identifier: MIT

package layers

import (
	"errors"
	"fmt"
	"math"

	"github.com/shardnode/shardnode/internal/kernel"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// Config is a model's shape, from its metadata.
type Config struct {
	Arch    string // general.architecture
	NLayers int    // block_count
	Hidden  int    // embedding_length
	FFN     int    // feed_forward_length; of an expert where there are some
	Heads   int    // attention.head_count
	KVHeads int    // attention.head_count_kv; each serves Heads/KVHeads query heads
	HeadDim int    // attention.key_length, else Hidden/Heads
	Vocab   int    // rows of the embedding
	Context int    // context_length: positions of one session at the most
	NormEps float32

	EmbedScale float32 // embeddings are multiplied by it; 1: as they are
	AttnScale  float32 // scores are multiplied by it: 1/√HeadDim in most models
	AttnCap    float32 // scores are bent to stay within it; 0: not
	LogitCap   float32 // logits are; 0: not
	Window     int     // positions that a local layer sees, its own among them; 0: no layer is local
	Local      []bool  // [NLayers] which layers are; nil: none
	Activation Activation

	Experts     int // expert_count: feed-forward networks of a layer; 0: one for all rows
	ExpertsUsed int // expert_used_count: that each row goes through

	RopeDim       int     // rope.dimension_count: the rotary part of a head
	RopeNeox      bool    // its pairs lie half of it apart, not side by side
	RopeBase      float64 // rope.freq_base
	RopeScale     float64 // linear scaling: angles are divided by it; 1: none
	RopeMagnitude float64 // rotation stretches by it; 1: not
	RopeFactors   string  // tensor of what frequencies are divided by, each; "": none
	RopeUnused    string  // such a tensor that is not used with this context; "": none
	Yarn          *kernel.Yarn
	LocalRopeBase float64 // of local layers, which are not scaled then; 0: as all others
}

// Activation is what joins the two branches of a gated feed-forward network.
type Activation int

// Activations, as in docs/numerics.md §8.
const (
	SwiGLU Activation = iota
	GeGLU
	SwiGLUClamped // of gpt-oss
)

// Bounds on a configuration: several times what is published, and small enough that no product of them overflows: the KV cache of the largest
// allowed model (2·4 bytes × context × width × layers) stays below 2^60 bytes.
const (
	maxLayers  = protocol.MaxLayers
	maxHidden  = 1 << 16             // a row of hidden states must fit a frame many times over; Llama 3.1 405B: 16,384
	maxFFN     = 1 << 19             // Llama 3.1 405B: 53,248
	maxHeads   = 1 << 12             // Llama 3.1 405B: 128
	maxHeadDim = 1 << 8              // what the attention kernels are made for; Llama: 128, Gemma: 256
	maxContext = kernel.MaxPositions // beyond it rotary angles are not accurate
	maxExperts = 1 << 10             // of a layer; the largest published: 512
)

// ParseConfig reads a model's shape. An architecture or feature that is not supported is an error that names it.
func ParseConfig(meta *gguf.Metadata) (*Config, error) {
	arch, err := meta.String("general.architecture")
	if err != nil {
		return nil, fmt.Errorf("model configuration: %w", err)
	}
	f := familyOf(arch)
	if f == nil {
		return nil, fmt.Errorf("architecture %q is not supported: docs/models.md lists those that are; llama, qwen3 and gemma3 are some", arch)
	}
	r := &keyReader{meta: meta, prefix: arch + "."}
	c := r.common(arch)
	if r.err == nil {
		f.config(r, c)
	}
	if r.err == nil {
		r.err = c.validate()
	}
	if r.err != nil {
		return nil, fmt.Errorf("model configuration: %w", r.err)
	}
	return c, nil
}

// common reads the keys that files of all architectures have, and sets what most models do.
func (r *keyReader) common(arch string) *Config {
	c := &Config{Arch: arch, EmbedScale: 1, RopeFactors: llamaFactors}
	c.NLayers = r.int("block_count", maxLayers)
	c.Hidden = r.int("embedding_length", maxHidden)
	c.FFN = r.int("feed_forward_length", maxFFN)
	c.Heads = r.int("attention.head_count", maxHeads)
	c.KVHeads = r.intOr("attention.head_count_kv", 1, maxHeads, c.Heads)
	c.Context = r.int("context_length", maxContext)
	c.NormEps = float32(r.float("attention.layer_norm_rms_epsilon"))
	c.HeadDim = r.intOr("attention.key_length", 1, maxHeadDim, c.Hidden/c.Heads)
	if v := r.intOr("attention.value_length", 1, maxHeadDim, c.HeadDim); v != c.HeadDim {
		r.fail("%sattention.value_length %d differs from the key length %d, which is not supported", r.prefix, v, c.HeadDim)
	}
	c.AttnScale = float32(1 / math.Sqrt(float64(c.HeadDim)))
	c.RopeDim = r.intOr("rope.dimension_count", 2, maxHeadDim, c.HeadDim)
	c.RopeBase = r.floatOr("rope.freq_base", 10000)
	r.scaling(c)
	r.mixture(c)
	if !r.boolOr("attention.causal", true) {
		r.fail("%sattention.causal is false: models that look ahead are not supported (causal ones are)", r.prefix)
	}
	c.Vocab = r.vocab()
	return c
}

func (c *Config) validate() error {
	switch {
	case c.Heads%c.KVHeads != 0:
		return fmt.Errorf("%d attention heads are not a multiple of %d KV heads", c.Heads, c.KVHeads)
	case c.HeadDim < 1 || c.HeadDim > maxHeadDim:
		return fmt.Errorf("%d heads in a hidden size of %d: a head of %d elements, want 1 to %d", c.Heads, c.Hidden, c.HeadDim, maxHeadDim)
	case c.RopeDim > c.HeadDim || c.RopeDim%2 != 0:
		return fmt.Errorf("rotary dimension %d does not fit heads of %d: want an even number up to it", c.RopeDim, c.HeadDim)
	case !(c.NormEps > 0 && c.NormEps < 1): // so written, NaN is refused too
		return fmt.Errorf("norm epsilon %g: want a number between 0 and 1", c.NormEps)
	case !(c.RopeBase >= 1 && c.RopeBase <= 1e12):
		return fmt.Errorf("rope base %g: want a number from 1 to 1e12", c.RopeBase)
	case !(c.RopeScale > 0 && c.RopeScale <= 1e6):
		return fmt.Errorf("rope scaling factor %g: want a number above 0 and up to 1e6", c.RopeScale)
	case !(c.RopeMagnitude > 0 && c.RopeMagnitude <= 100):
		return fmt.Errorf("rope scaling attn_factor %g: want a number above 0 and up to 100", c.RopeMagnitude)
	case c.LocalRopeBase != 0 && !(c.LocalRopeBase >= 1 && c.LocalRopeBase <= 1e12):
		return fmt.Errorf("rope base of local layers %g: want a number from 1 to 1e12", c.LocalRopeBase)
	case !(c.AttnCap >= 0 && c.AttnCap <= 1e6) || !(c.LogitCap >= 0 && c.LogitCap <= 1e6):
		return fmt.Errorf("soft caps %g and %g: want numbers from 0 to 1e6", c.AttnCap, c.LogitCap)
	}
	return nil
}

// keyReader reads an architecture's keys and keeps the first error.
type keyReader struct {
	meta   *gguf.Metadata
	prefix string
	err    error
}

func (r *keyReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

// int reads a required number from 1 to limit.
func (r *keyReader) int(key string, limit int) int {
	n, err := r.meta.Uint(r.prefix + key)
	switch {
	case err != nil:
		r.fail("%w", err)
		return 1
	case n < 1 || n > uint64(limit):
		r.fail("%s%s is %d: want 1 to %d", r.prefix, key, n, limit)
		return 1
	}
	return int(n)
}

// intOr reads an optional number from least to limit.
func (r *keyReader) intOr(key string, least, limit, absent int) int {
	n, err := r.meta.Uint(r.prefix + key)
	switch {
	case errors.Is(err, gguf.ErrNoKey):
		return absent
	case err != nil:
		r.fail("%w", err)
	case n < uint64(least) || n > uint64(limit):
		r.fail("%s%s is %d: want %d to %d", r.prefix, key, n, least, limit)
	default:
		return int(n)
	}
	return absent
}

func (r *keyReader) float(key string) float64 {
	v, err := r.meta.Float(r.prefix + key)
	if err != nil {
		r.fail("%w", err)
	}
	return v
}

func (r *keyReader) floatOr(key string, absent float64) float64 {
	if !r.meta.Has(r.prefix + key) {
		return absent
	}
	return r.float(key)
}

func (r *keyReader) boolOr(key string, absent bool) bool {
	v, err := r.meta.Bool(r.prefix + key)
	switch {
	case errors.Is(err, gguf.ErrNoKey):
		return absent
	case err != nil:
		r.fail("%w", err)
	}
	return v
}

// vocab is the number of tokens, which every file with a tokenizer lists; models without one name it.
func (r *keyReader) vocab() int {
	if !r.meta.Has("tokenizer.ggml.tokens") {
		return r.int("vocab_size", protocol.MaxVocab)
	}
	tokens, err := r.meta.Strings("tokenizer.ggml.tokens")
	if err != nil {
		r.fail("%w", err)
	} else if len(tokens) == 0 || len(tokens) > protocol.MaxVocab {
		r.fail("tokenizer.ggml.tokens lists %d tokens: want 1 to %d", len(tokens), protocol.MaxVocab)
	}
	return len(tokens)
}
