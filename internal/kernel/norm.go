// SPDX-License-Identifier: MIT

package kernel

import "math"

// RMSNorm writes x, divided by its root mean square, times w to dst; dst may be x.
func RMSNorm(dst, x, w []float32, eps float32) {
	var p [lanes]float32
	for k, v := range x {
		p[k%lanes] = FMA(v, v, p[k%lanes])
	}
	mean := sumLanes(&p) / float32(len(x))
	r := 1 / float32(math.Sqrt(float64(mean+eps)))
	for k, v := range x {
		dst[k] = float32(v*r) * w[k]
	}
}

// lanes is the number of strided partial sums of a reduction: one vector of the widest instruction set.
const lanes = 16

// sumLanes adds partial sums as a tree of halves: the upper half onto the lower one until one is left.
func sumLanes(p *[lanes]float32) float32 {
	for half := lanes / 2; half > 0; half /= 2 {
		for j := range half {
			p[j] += p[j+half]
		}
	}
	return p[0]
}
