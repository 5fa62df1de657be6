// SPDX-License-Identifier: MIT

package layers

import "math"

// gemma2 has a norm before and behind each branch, soft caps of scores and logits, and every other layer sees a window only, beginning with
// the first (Gemma Team, "Gemma 2", 2024). Files have Gemma's norms as factors: converters add the one.
var gemma2 = family{
	config: func(r *keyReader, c *Config) {
		c.gemma()
		c.AttnCap = float32(r.floatOr("attn_logit_softcapping", 50))
		c.LogitCap = float32(r.floatOr("final_logit_softcapping", 30))
		c.Window = r.intOr("attention.sliding_window", 1, maxContext, 4096)
		c.localExceptEvery(2)
		if c.NLayers == 46 { // the one of 27B parameters, whose heads are smaller than their scale says
			c.AttnScale = float32(1 / math.Sqrt(float64(c.Hidden/c.Heads)))
		}
	},
	block: func(l *loader, c *Config, i int) *block {
		b := &block{attention: l.attention(c, i)}
		b.attnPost = l.vector(weight(i, "post_attention_norm"), c.Hidden)
		b.feedForward = l.feedForward(c, i)
		b.ffnPost = l.vector(weight(i, "post_ffw_norm"), c.Hidden)
		return b
	},
}

// gemma sets what all Gemma models share.
func (c *Config) gemma() {
	c.RopeNeox, c.Activation, c.RopeFactors = true, GeGLU, ""
	c.EmbedScale = float32(math.Sqrt(float64(c.Hidden)))
}

// localExceptEvery makes layers local but for every n-th.
func (c *Config) localExceptEvery(n int) {
	c.Local = make([]bool, c.NLayers)
	for i := range c.Local {
		c.Local[i] = (i+1)%n != 0
	}
}
