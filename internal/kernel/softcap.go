// SPDX-License-Identifier: MIT

package kernel

import "math"

// SoftCap bends x to stay within ±limit: limit·tanh(x/limit), by way of e^(-2|x|/limit) (docs/numerics.md §8).
func SoftCap(x []float32, limit float32) {
	if activeOps != nil {
		activeOps.softCapRow(x, limit)
		return
	}
	softCapPortable(x, limit)
}

func softCapPortable(x []float32, limit float32) {
	by := -2 / limit
	for i, v := range x {
		bits := math.Float32bits(v)
		e := Exp(float32(math.Float32frombits(bits&0x7fffffff) * by))
		y := float32(limit * ((1 - e) / (1 + e)))
		x[i] = math.Float32frombits(math.Float32bits(y) | bits&0x80000000)
	}
}

// SwiGLUClamped writes gate/(1 + e^(-1.702·gate))·(up + 1) to dst, which may be either of them, with gate at most 7 and up from -7 to 7
// (docs/numerics.md §8): the activation of gpt-oss.
func SwiGLUClamped(dst, gate, up []float32) {
	if activeOps != nil {
		activeOps.swigluClampedRow(dst, gate, up)
		return
	}
	swigluClampedPortable(dst, gate, up)
}

// Of [SwiGLUClamped].
const (
	clampedSlope = -1.702
	clampedLimit = 7
)

func swigluClampedPortable(dst, gate, up []float32) {
	gate, up = gate[:len(dst)], up[:len(dst)]
	for i, g := range gate {
		u := up[i]
		switch { // NaN stays
		case u > clampedLimit:
			u = clampedLimit
		case u < -clampedLimit:
			u = -clampedLimit
		}
		if g > clampedLimit {
			g = clampedLimit
		}
		dst[i] = float32(g/(1+Exp(float32(g*clampedSlope)))) * (u + 1)
	}
}

// AddScaled adds by·x to dst, the product rounded first (docs/numerics.md §8).
func AddScaled(dst, x []float32, by float32) {
	x = x[:len(dst)]
	for i, v := range x {
		dst[i] += float32(by * v)
	}
}

// Scale multiplies x by a number.
func Scale(x []float32, by float32) {
	if n := whole(len(x)); activeOps != nil && n > 0 {
		activeOps.scaleRow(x[:n], by)
		x = x[n:]
	}
	for i, v := range x {
		x[i] = float32(v * by)
	}
}
