// SPDX-License-Identifier: MIT

package kernel

import "math"

// lanes is the number of strided partial sums of a reduction: one vector of the widest instruction set.
const lanes = 16

// RMSNorm writes x divided by its root mean square, times w, to dst, which may be x (docs/numerics.md §4).
func RMSNorm(dst, x, w []float32, eps float32) {
	if activeOps != nil && len(x) > 0 && len(x)%lanes == 0 {
		activeOps.normRow(dst, x, w, eps)
		return
	}
	normPortable(dst, x, w, eps)
}

func normPortable(dst, x, w []float32, eps float32) {
	var p [lanes]float32
	for k, v := range x {
		p[k%lanes] = FMA(v, v, p[k%lanes])
	}
	r := rootMean(sumLanes(&p), len(x), eps)
	dst, w = dst[:len(x)], w[:len(x)]
	for k, v := range x {
		dst[k] = float32(v*r) * w[k]
	}
}

// rootMean returns 1/sqrt(sum/n + eps).
func rootMean(sum float32, n int, eps float32) float32 {
	mean := sum / float32(n)
	return 1 / float32(math.Sqrt(float64(mean+eps))) // sqrt in float64, rounded, is the correctly rounded float32 sqrt
}

// sumLanes adds partial sums by halves: the upper half onto the lower one until one is left.
func sumLanes(p *[lanes]float32) float32 {
	for half := lanes / 2; half > 0; half /= 2 {
		for j := range half {
			p[j] += p[j+half]
		}
	}
	return p[0]
}
