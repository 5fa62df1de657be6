// SPDX-License-Identifier: MIT

package layers

// phi3 is Llama with queries, keys and values in one tensor, and both branches of the feed-forward network in another (Abdin et al., "Phi-3 Technical
// Report", 2024). Long contexts are stretched by two sets of frequency factors, LongRoPE, of which the model's context decides: had a
// session's length a say, the same tokens would give other results in a longer session.
var phi3 = family{
	config: func(r *keyReader, c *Config) {
		c.RopeNeox, c.RopeFactors = true, ""
		original := r.intOr("rope.scaling.original_context_length", 1, maxContext, c.Context)
		if r.meta.Has(r.prefix + "rope.scaling.attn_factor") { // converters write it with the factors
			c.RopeFactors, c.RopeUnused = "rope_factors_short.weight", "rope_factors_long.weight"
			if c.Context > original {
				c.RopeFactors, c.RopeUnused = c.RopeUnused, c.RopeFactors
			}
		}
		if c.Window = r.intOr("attention.sliding_window", 0, maxContext, 0); c.Window > 0 {
			c.localExceptEvery(c.NLayers + 1) // all are
		}
	},
	block: func(l *loader, c *Config, i int) *block {
		heads, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
		qkv, gateUp := []int{c.Hidden, heads + 2*kv}, []int{c.Hidden, 2 * c.FFN}
		b := new(block)
		b.attnNorm = l.vector(weight(i, "attn_norm"), c.Hidden)
		b.q = l.part(weight(i, "attn_qkv"), qkv, 0, heads)
		b.k = l.part(weight(i, "attn_qkv"), qkv, heads, kv)
		b.v = l.part(weight(i, "attn_qkv"), qkv, heads+kv, kv)
		b.o = l.matrix(weight(i, "attn_output"), c.Hidden, heads)
		b.ffnNorm = l.vector(weight(i, "ffn_norm"), c.Hidden)
		b.gate = l.part(weight(i, "ffn_up"), gateUp, 0, c.FFN)
		b.up = l.part(weight(i, "ffn_up"), gateUp, c.FFN, c.FFN)
		b.down = l.matrix(weight(i, "ffn_down"), c.Hidden, c.FFN)
		return b
	},
}
