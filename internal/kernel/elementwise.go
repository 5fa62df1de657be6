// SPDX-License-Identifier: MIT

package kernel

import "math"

// SwiGLU writes silu(gate)*up to dst, which may be either of them (docs/numerics.md §8).
func SwiGLU(dst, gate, up []float32) {
	if activeOps != nil {
		activeOps.swigluRow(dst, gate, up)
		return
	}
	swigluPortable(dst, gate, up)
}

func swigluPortable(dst, gate, up []float32) {
	gate, up = gate[:len(dst)], up[:len(dst)]
	for i, g := range gate {
		dst[i] = float32(g/(1+Exp(-g))) * up[i]
	}
}

// Add adds x to dst.
func Add(dst, x []float32) {
	if activeOps != nil {
		activeOps.addRow(dst, x)
		return
	}
	addPortable(dst, x)
}

func addPortable(dst, x []float32) {
	x = x[:len(dst)]
	for i, v := range x {
		dst[i] += v
	}
}

// ArgMax returns the index of the largest element, the lowest of equals; NaN counts as -Inf. It is 0 where no element is larger
// than -Inf.
func ArgMax(x []float32) int {
	best, at := float32(math.Inf(-1)), 0
	for i, v := range x {
		if v > best {
			best, at = v, i
		}
	}
	return at
}
