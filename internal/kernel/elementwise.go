// SPDX-License-Identifier: MIT

package kernel

import "math"

// Add adds x to dst.
func Add(dst, x []float32) {
	x = x[:len(dst)]
	for i := range dst {
		dst[i] += x[i]
	}
}

// SwiGLU writes silu(gate)·up to dst, which may be gate: g/(1+e^-g), then the product, each operation rounded (docs/numerics.md §8).
func SwiGLU(dst, gate, up []float32) {
	gate, up = gate[:len(dst)], up[:len(dst)]
	for i, g := range gate {
		dst[i] = float32(g/(1+Exp(-g))) * up[i]
	}
}

// ArgMax returns the index of the largest value, the lowest of equals; NaN counts as -Inf. 0 when x is empty.
func ArgMax(x []float32) int {
	best, at := float32(math.Inf(-1)), 0
	for i, v := range x {
		if v > best {
			best, at = v, i
		}
	}
	return at
}
