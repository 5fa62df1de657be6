// SPDX-License-Identifier: MIT

package layers

import (
	"errors"
	"fmt"
	"math"

	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// Config is a model's shape, from its metadata.
type Config struct {
	Arch      string // general.architecture
	NLayers   int    // block_count
	Hidden    int    // embedding_length
	FFN       int    // feed_forward_length
	Heads     int    // attention.head_count
	KVHeads   int    // attention.head_count_kv; each serves Heads/KVHeads query heads
	HeadDim   int    // attention.key_length, else Hidden/Heads
	Vocab     int    // rows of the embedding
	Context   int    // context_length: positions of one session at the most
	NormEps   float32
	RopeDim   int     // rope.dimension_count: the rotary part of a head
	RopeBase  float64 // rope.freq_base
	RopeScale float64 // linear scaling: angles are divided by it; 1: none
}

// Bounds on a configuration. They keep products of two of them within an int and allocations within reason; published models stay far below.
const (
	maxLayers  = protocol.MaxLayers
	maxHidden  = 1 << 17 // DeepSeek-V3: 7,168
	maxFFN     = 1 << 19
	maxHeads   = 1 << 12
	maxHeadDim = 1 << 12
	maxContext = 1 << 20 // also the bound of the exactness of rotary angles (docs/numerics.md §5)
)

// ParseConfig reads a model's shape. An architecture or feature that is not supported is an error that names it.
func ParseConfig(meta *gguf.Metadata) (*Config, error) {
	arch, err := meta.String("general.architecture")
	if err != nil {
		return nil, fmt.Errorf("model configuration: %w", err)
	}
	if arch != "llama" {
		return nil, fmt.Errorf("architecture %q is not supported (llama is)", arch)
	}
	c, err := parseLlama(meta)
	if err != nil {
		return nil, fmt.Errorf("model configuration: %w", err)
	}
	return c, nil
}

// parseLlama reads the keys of general.architecture "llama".
func parseLlama(meta *gguf.Metadata) (*Config, error) {
	r := &keyReader{meta: meta, prefix: "llama."}
	c := &Config{Arch: "llama"}
	c.NLayers = r.int("block_count", maxLayers)
	c.Hidden = r.int("embedding_length", maxHidden)
	c.FFN = r.int("feed_forward_length", maxFFN)
	c.Heads = r.int("attention.head_count", maxHeads)
	c.KVHeads = r.intOr("attention.head_count_kv", maxHeads, c.Heads)
	c.Context = r.int("context_length", maxContext)
	c.NormEps = float32(r.float("attention.layer_norm_rms_epsilon"))
	if r.err != nil {
		return nil, r.err
	}
	c.HeadDim = r.intOr("attention.key_length", maxHeadDim, c.Hidden/c.Heads)
	if v := r.intOr("attention.value_length", maxHeadDim, c.HeadDim); v != c.HeadDim {
		r.fail("llama.attention.value_length %d differs from the key length %d, which is not supported", v, c.HeadDim)
	}
	c.RopeDim = r.intOr("rope.dimension_count", maxHeadDim, c.HeadDim)
	c.RopeBase = r.floatOr("rope.freq_base", 10000)
	c.RopeScale = r.ropeScale()
	if n := r.intOr("expert_count", 1<<16, 0); n > 0 {
		r.fail("a mixture of %d experts is not supported", n)
	}
	var err error
	if c.Vocab, err = vocabSize(meta); err != nil && r.err == nil {
		r.err = err
	}
	if r.err != nil {
		return nil, r.err
	}
	return c, c.validate()
}

func (c *Config) validate() error {
	switch {
	case c.Heads%c.KVHeads != 0:
		return fmt.Errorf("%d attention heads are not a multiple of %d KV heads", c.Heads, c.KVHeads)
	case c.RopeDim > c.HeadDim || c.RopeDim%2 != 0:
		return fmt.Errorf("rotary dimension %d does not fit heads of %d", c.RopeDim, c.HeadDim)
	case c.HeadDim < 1:
		return fmt.Errorf("%d heads in a hidden size of %d", c.Heads, c.Hidden)
	case !(c.NormEps > 0 && c.NormEps < 1):
		return fmt.Errorf("norm epsilon %g: want a number between 0 and 1", c.NormEps)
	case !(c.RopeBase >= 1 && c.RopeBase <= 1e12):
		return fmt.Errorf("rope base %g: want a number from 1 to 1e12", c.RopeBase)
	case !(c.RopeScale > 0 && c.RopeScale <= 1e6):
		return fmt.Errorf("rope scaling factor %g: want a number above 0 and up to 1e6", c.RopeScale)
	case c.Heads > math.MaxInt32/c.HeadDim/4:
		return fmt.Errorf("%d heads of %d elements are too many", c.Heads, c.HeadDim)
	}
	return nil
}

// vocabSize is the number of tokens, which every file with a tokenizer lists; models without one name it.
func vocabSize(meta *gguf.Metadata) (int, error) {
	if meta.Has("tokenizer.ggml.tokens") {
		tokens, err := meta.Strings("tokenizer.ggml.tokens")
		return len(tokens), err
	}
	n, err := meta.Uint("llama.vocab_size")
	if err == nil && (n < 1 || n > protocol.MaxVocab) {
		err = fmt.Errorf("llama.vocab_size %d: want 1 to %d", n, protocol.MaxVocab)
	}
	return int(n), err
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

// intOr reads an optional number up to limit.
func (r *keyReader) intOr(key string, limit, absent int) int {
	n, err := r.meta.Uint(r.prefix + key)
	switch {
	case errors.Is(err, gguf.ErrNoKey):
		return absent
	case err != nil:
		r.fail("%w", err)
	case n > uint64(limit):
		r.fail("%s%s is %d: want at most %d", r.prefix, key, n, limit)
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

// ropeScale reads the linear scaling factor; other kinds of scaling than none and linear are refused.
func (r *keyReader) ropeScale() float64 {
	if !r.meta.Has(r.prefix + "rope.scaling.type") {
		return r.floatOr("rope.scale_linear", 1)
	}
	kind, err := r.meta.String(r.prefix + "rope.scaling.type")
	if err != nil {
		r.fail("%w", err)
		return 1
	}
	switch kind {
	case "none":
		return 1
	case "linear":
		return r.float("rope.scaling.factor")
	}
	r.fail("rope scaling %q is not supported (none and linear are)", kind)
	return 1
}
