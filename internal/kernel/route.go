// SPDX-License-Identifier: MIT

package kernel

import "math"

// Route chooses the len(chosen) experts with the largest logits, the lowest index first among equals, and writes their numbers in that order,
// and their shares: a softmax over the chosen ones (docs/numerics.md §9). NaN counts as -Inf. It allocates nothing.
func Route(chosen []int, shares, logits []float32) {
	k := 0
	for i, x := range logits {
		if x != x {
			x = float32(math.Inf(-1))
		}
		if k == len(chosen) {
			if !(x > shares[k-1]) {
				continue
			}
			k--
		}
		at := k
		for ; at > 0 && x > shares[at-1]; at-- {
			chosen[at], shares[at] = chosen[at-1], shares[at-1]
		}
		chosen[at], shares[at] = i, x
		k++
	}
	top, sum := shares[0], float32(0)
	for i, x := range shares[:k] {
		shares[i] = Exp(x - top)
		sum += shares[i]
	}
	for i := range shares[:k] {
		shares[i] /= sum
	}
}
