// SPDX-License-Identifier: MIT

package kernel

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

// Of -2·sqrt(2/π)·(g + 0.044715·g³), the exponent of GeGLU, as bits in docs/numerics.md §8.
const (
	geluLinear = -0x1.988454p+0
	geluCubic  = -0x1.2444f2p-4
)

// GeGLU writes gelu(gate)*up to dst, which may be either of them, with GELU as networks are trained that approximate it by a hyperbolic
// tangent (docs/numerics.md §8).
func GeGLU(dst, gate, up []float32) {
	if activeOps != nil {
		activeOps.gegluRow(dst, gate, up)
		return
	}
	gegluPortable(dst, gate, up)
}

func gegluPortable(dst, gate, up []float32) {
	gate, up = gate[:len(dst)], up[:len(dst)]
	for i, g := range gate {
		z := float32(g * FMA(geluCubic, float32(g*g), geluLinear))
		dst[i] = float32(g/(1+Exp(z))) * up[i]
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
