// SPDX-License-Identifier: MIT

package layers

// llama has Llama 1 to 3, and what came after it with the same layers: Mistral, TinyLlama, SmolLM2 and others whose files say llama
// (Touvron et al., "LLaMA", 2023), with experts Mixtral (Jiang et al., "Mixtral of Experts", 2024).
var llama = family{
	config: func(*keyReader, *Config) {},
	block: func(l *loader, c *Config, i int) *block {
		return &block{attention: l.attention(c, i), feedForward: l.feedForward(c, i)}
	},
}
