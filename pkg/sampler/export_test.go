// SPDX-License-Identifier: MIT

package sampler

import "github.com/shardnode/shardnode/internal/kernel"

// Uniform is the draw's number, for tests that follow it.
var Uniform = uniform

// SumsBeforeBlocks returns the sum of all weights that are at least minP, and those before each block.
func SumsBeforeBlocks(logits []float32, top, temperature, minP float32) (before []float64, blockSize int, total float64) {
	s := New(len(logits))
	total = s.weigh(logits, top, temperature, minP)
	return s.sums, kernel.MaximaBlock, total
}
