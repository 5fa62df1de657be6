// SPDX-License-Identifier: MIT

package synth

import "math/rand/v2"

// Normal draws from the sum of twelve uniform distributions: mean 0, variance 1, and, unlike a method that takes logarithms, the same bits
// on every platform.
func Normal(src *rand.PCG) float64 {
	sum := 0
	for range 3 {
		u := src.Uint64()
		sum += int(u&0xffff) + int(u>>16&0xffff) + int(u>>32&0xffff) + int(u>>48)
	}
	return float64(2*sum-12*0xffff) / (2 << 16)
}
