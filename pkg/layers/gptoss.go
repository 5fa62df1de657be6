// SPDX-License-Identifier: MIT

package layers

// gptoss has experts with biases and an activation of its own, a sink in each head's attention, and a window in every other layer, beginning with
// the first (OpenAI, "gpt-oss-120b & gpt-oss-20b Model Card", 2025). Its YaRN does not round where its ramp begins and ends, which files do not say.
var gptoss = family{
	config: func(r *keyReader, c *Config) {
		c.RopeNeox, c.Activation = true, SwiGLUClamped
		c.Window = r.intOr("attention.sliding_window", 1, maxContext, 128)
		c.localExceptEvery(2)
		if c.Yarn != nil {
			c.Yarn.Truncate = false
		}
		if c.Experts == 0 {
			r.fail("%sexpert_count is missing or 0: want the number of experts", r.prefix)
		}
	},
	block: func(l *loader, c *Config, i int) *block {
		b := &block{attention: l.attention(c, i)}
		b.qBias = l.vector(bias(i, "attn_q"), c.Heads*c.HeadDim)
		b.kBias = l.vector(bias(i, "attn_k"), c.KVHeads*c.HeadDim)
		b.vBias = l.vector(bias(i, "attn_v"), c.KVHeads*c.HeadDim)
		b.oBias = l.vector(bias(i, "attn_output"), c.Hidden)
		b.sinks = l.vector(weight(i, "attn_sinks"), c.Heads)
		b.ffnNorm = l.vector(weight(i, "post_attention_norm"), c.Hidden)
		b.experts = l.mixtureOf(c, i)
		b.experts.routerBias = l.vector(bias(i, "ffn_gate_inp"), c.Experts)
		b.experts.gateBias = l.vector(bias(i, "ffn_gate_exps"), c.FFN, c.Experts)
		b.experts.upBias = l.vector(bias(i, "ffn_up_exps"), c.FFN, c.Experts)
		b.experts.downBias = l.vector(bias(i, "ffn_down_exps"), c.Hidden, c.Experts)
		return b
	},
}
