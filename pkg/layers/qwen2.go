// SPDX-License-Identifier: MIT

package layers

// qwen2 is Llama with biases of queries, keys and values (Yang et al., "Qwen2 Technical Report", 2024; also Qwen 2.5 and its distillations).
var qwen2 = family{
	config: func(_ *keyReader, c *Config) { c.RopeNeox = true },
	block: func(l *loader, c *Config, i int) *block {
		b := &block{attention: l.attention(c, i)}
		b.qBias = l.vector(bias(i, "attn_q"), c.Heads*c.HeadDim)
		b.kBias = l.vector(bias(i, "attn_k"), c.KVHeads*c.HeadDim)
		b.vBias = l.vector(bias(i, "attn_v"), c.KVHeads*c.HeadDim)
		b.feedForward = l.feedForward(c, i)
		return b
	},
}
