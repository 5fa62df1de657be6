// SPDX-License-Identifier: MIT

package layers

// qwen3 is Llama with a norm of each head's query and key (Yang et al., "Qwen3 Technical Report", 2025).
var qwen3 = family{
	config: func(_ *keyReader, c *Config) { c.RopeNeox = true },
	block: func(l *loader, c *Config, i int) *block {
		b := &block{attention: l.attention(c, i)}
		b.headNorms(l, c, i)
		b.feedForward = l.feedForward(c, i)
		return b
	},
}

// headNorms takes the norms of queries and keys.
func (a *attention) headNorms(l *loader, c *Config, i int) {
	a.qNorm = l.vector(weight(i, "attn_q_norm"), c.HeadDim)
	a.kNorm = l.vector(weight(i, "attn_k_norm"), c.HeadDim)
}
