// SPDX-License-Identifier: MIT

package layers

import "math"

// gemma3 is Gemma 2 with norms of each head's query and key in place of soft caps; five of six layers see a window, and have a rotary table of
// their own, which is not stretched when that of the others is (Gemma Team, "Gemma 3 Technical Report", 2025). Text only.
var gemma3 = family{
	config: func(r *keyReader, c *Config) {
		c.gemma()
		if !r.meta.Has(r.prefix + "rope.freq_base") {
			c.RopeBase = 1e6
		}
		c.LocalRopeBase = r.floatOr("rope.freq_base_swa", 10000)
		c.LogitCap = float32(r.floatOr("final_logit_softcapping", 0))
		c.Window = r.intOr("attention.sliding_window", 1, maxContext, 1024)
		c.localExceptEvery(r.intOr("attention.sliding_window_pattern", 1, maxLayers, 6))
		if c.NLayers == 62 { // as in gemma2: 27B parameters
			c.AttnScale = float32(1 / math.Sqrt(float64(c.Hidden/c.Heads)))
		}
	},
	block: func(l *loader, c *Config, i int) *block {
		b := gemma2.block(l, c, i)
		b.headNorms(l, c, i)
		return b
	},
}
