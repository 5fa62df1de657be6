// SPDX-License-Identifier: MIT

package layers_test

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shardnode/shardnode/internal/kernel"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/layers"
)

// llamaMeta is the metadata of a model of 2 layers, with changes: a nil value leaves a key out.
func llamaMeta(changes map[string]any) *gguf.Metadata {
	values := map[string]any{
		"general.architecture": "llama", "llama.block_count": uint32(2), "llama.embedding_length": uint32(64),
		"llama.feed_forward_length": uint32(96), "llama.attention.head_count": uint32(4), "llama.context_length": uint32(100),
		"llama.attention.layer_norm_rms_epsilon": float32(1e-5), "llama.vocab_size": uint32(10),
	}
	for k, v := range changes {
		values[k] = v
	}
	meta := new(gguf.Metadata)
	for k, v := range values {
		if v != nil {
			meta.Set(k, v)
		}
	}
	return meta
}

func TestParseConfig(t *testing.T) {
	t.Parallel()
	base := layers.Config{
		Arch: "llama", NLayers: 2, Hidden: 64, FFN: 96, Heads: 4, KVHeads: 4, HeadDim: 16, Vocab: 10, Context: 100, NormEps: 1e-5,
		EmbedScale: 1, AttnScale: 0.25, RopeDim: 16, RopeBase: 10000, RopeScale: 1, RopeMagnitude: 1, RopeFactors: "rope_freqs.weight",
	}
	for _, c := range []struct {
		name    string
		changes map[string]any
		want    func(*layers.Config)
	}{
		{"defaults", nil, func(*layers.Config) {}},
		{"all given", map[string]any{
			"llama.attention.head_count_kv": uint32(2), "llama.attention.key_length": uint32(32), "llama.attention.value_length": uint32(32),
			"llama.rope.dimension_count": uint32(8), "llama.rope.freq_base": float32(500000),
		}, func(c *layers.Config) {
			c.KVHeads, c.HeadDim, c.RopeDim, c.RopeBase, c.AttnScale = 2, 32, 8, 500000, float32(1/math.Sqrt(32))
		}},
		{"other integer types", map[string]any{"llama.block_count": uint64(3), "llama.context_length": int32(7)}, func(c *layers.Config) { c.NLayers, c.Context = 3, 7 }},
		{"vocabulary of the tokenizer", map[string]any{"tokenizer.ggml.tokens": []string{"a", "b", "c"}}, func(c *layers.Config) { c.Vocab = 3 }},
		{"no scaling", map[string]any{"llama.rope.scaling.type": "none", "llama.rope.scaling.factor": float32(4)}, func(*layers.Config) {}},
		{"linear scaling", map[string]any{"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": float32(4)}, func(c *layers.Config) { c.RopeScale = 4 }},
		{"factor without a kind", map[string]any{"llama.rope.scaling.factor": float32(2)}, func(c *layers.Config) { c.RopeScale = 2 }},
		{"old key", map[string]any{"llama.rope.scale_linear": float32(8)}, func(c *layers.Config) { c.RopeScale = 8 }},
		{"factor of zero", map[string]any{"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": float32(0)}, func(*layers.Config) {}},
		{"magnitude", map[string]any{"llama.rope.scaling.attn_factor": float32(1.25)}, func(c *layers.Config) { c.RopeMagnitude = 1.25 }},
		{"yarn", map[string]any{
			"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": float32(4), "llama.rope.scaling.original_context_length": uint32(25),
			"llama.rope.scaling.yarn_beta_fast": float32(16),
		}, func(c *layers.Config) {
			c.Yarn = &kernel.Yarn{Factor: 4, Context: 25, Fast: 16, Slow: 1, Truncate: true}
			c.RopeMagnitude = c.Yarn.Magnitude()
		}},
		{"experts", map[string]any{"llama.expert_count": uint32(8), "llama.expert_used_count": uint32(2), "llama.expert_feed_forward_length": uint32(64)}, func(c *layers.Config) {
			c.Experts, c.ExpertsUsed, c.FFN = 8, 2, 64
		}},
		{"no experts", map[string]any{"llama.expert_count": uint32(0)}, func(*layers.Config) {}},
	} {
		want := base
		c.want(&want)
		got, err := layers.ParseConfig(llamaMeta(c.changes))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if d := cmp.Diff(&want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
	}
}

// Each refusal names what is wrong, and what would do.
func TestParseConfigRefuses(t *testing.T) {
	t.Parallel()
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		key   string
		value any
		words string
	}{
		{"general.architecture", nil, "general.architecture"},
		{"general.architecture", uint32(1), "general.architecture"},
		{"general.architecture", "mamba", "mamba llama"},
		{"llama.expert_count", uint32(8), "expert_used_count"},
		{"llama.expert_count", uint32(1 << 20), "expert_count 1024"},
		{"llama.rope.scaling.type", "dynamic", "dynamic yarn linear none"},
		{"llama.rope.scaling.type", uint32(1), "rope.scaling.type"},
		{"llama.rope.scaling.factor", float32(1e9), "scaling 1e6"},
		{"llama.rope.scaling.factor", float32(-1), "scaling"},
		{"llama.rope.scaling.factor", nan, "scaling"},
		{"llama.rope.scaling.attn_factor", float32(0), "attn_factor"},
		{"llama.attention.causal", false, "causal"},
		{"llama.attention.causal", "no", "causal"},
		{"llama.block_count", nil, "block_count"},
		{"llama.block_count", uint32(0), "block_count 0"},
		{"llama.block_count", uint32(1 << 20), "block_count 4096"},
		{"llama.block_count", "two", "block_count"},
		{"llama.embedding_length", uint64(math.MaxUint64), "embedding_length"},
		{"llama.embedding_length", uint32(1 << 30), "embedding_length 65536"},
		{"llama.embedding_length", uint32(3), "4 heads hidden size of 3"},
		{"llama.embedding_length", uint32(4096), "head of 1024"},
		{"llama.feed_forward_length", []int32{96, 96}, "feed_forward_length"},
		{"llama.feed_forward_length", int32(-5), "feed_forward_length"},
		{"llama.attention.head_count", uint32(0), "head_count 0"},
		{"llama.attention.head_count_kv", uint32(0), "head_count_kv 0"},
		{"llama.attention.head_count_kv", uint32(3), "multiple 3 KV heads"},
		{"llama.attention.head_count_kv", uint32(8), "multiple 8 KV heads"},
		{"llama.attention.key_length", uint32(0), "key_length 0"},
		{"llama.attention.key_length", uint32(512), "key_length 256"},
		{"llama.attention.value_length", uint32(8), "value_length 8 16"},
		{"llama.rope.dimension_count", uint32(0), "dimension_count"},
		{"llama.rope.dimension_count", uint32(18), "rotary dimension 18"},
		{"llama.rope.dimension_count", uint32(7), "rotary dimension 7"},
		{"llama.rope.freq_base", float32(0), "rope base"},
		{"llama.rope.freq_base", inf, "rope base"},
		{"llama.context_length", uint32(1 << 31), "context_length"},
		{"llama.attention.layer_norm_rms_epsilon", nil, "layer_norm_rms_epsilon"},
		{"llama.attention.layer_norm_rms_epsilon", nan, "epsilon"},
		{"llama.attention.layer_norm_rms_epsilon", float32(0), "epsilon"},
		{"llama.attention.layer_norm_rms_epsilon", float32(2), "epsilon"},
		{"llama.vocab_size", nil, "vocab_size"},
		{"llama.vocab_size", uint32(1 << 31), "vocab_size"},
		{"tokenizer.ggml.tokens", []string{}, "0 tokens"},
		{"tokenizer.ggml.tokens", uint32(3), "tokens"},
	} {
		got, err := layers.ParseConfig(llamaMeta(map[string]any{c.key: c.value}))
		if err == nil {
			t.Errorf("%s = %v was accepted: %+v", c.key, c.value, got)
			continue
		}
		for word := range strings.FieldsSeq(c.words) {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s = %v: the error %q does not mention %q", c.key, c.value, err, word)
			}
		}
	}
}
