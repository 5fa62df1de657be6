// SPDX-License-Identifier: MIT

package layers

// qwen3moe is Qwen 3 with experts in each layer.
var qwen3moe = family{
	config: func(r *keyReader, c *Config) {
		qwen3.config(r, c)
		if c.Experts == 0 {
			r.fail("%sexpert_count is missing or 0: want the number of experts", r.prefix)
		}
	},
	block: qwen3.block,
}
