// SPDX-License-Identifier: MIT

package kernel

import "math"

// FMA returns x*y + z rounded once to float32: what the hardware instruction gives (docs/numerics.md §1).
func FMA(x, y, z float32) float32 {
	s := float64(x)*float64(y) + float64(z) // fused or not is the same: the product is exact
	if undecided(s) {
		return fmaOdd(x, y, z)
	}
	return float32(s)
}

// undecided reports whether rounding s, a sum of float32 products already rounded to float64, to float32 may differ from rounding
// the exact sum: where s lies exactly between two neighbouring float32, so that its low 29 bits are a lone leading one, or below
// the normal range, where the halfway points are at other bits. A zero sum is exact. Hot loops use it in place of [FMA], which is
// too long to be inlined.
func undecided(s float64) bool {
	b := math.Float64bits(s)
	return uint32(b)<<3 == 1<<31 || b<<1-1 < 0x381<<53-1
}

// fmaOdd rounds the exact sum to odd in float64: an inexact result gets an odd last bit, so that the second rounding sees on
// which side of a halfway point the exact sum lies (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008).
func fmaOdd(x, y, z float32) float32 {
	p, c := float64(x)*float64(y), float64(z)
	s := p + c
	t := s - p
	e := (p - (s - t)) + (c - t) // Knuth's two-sum: p + c = s + e, exactly
	b := math.Float64bits(s)
	if e != 0 && b&1 == 0 {
		if (e > 0) == (s > 0) {
			b++
		} else {
			b--
		}
	}
	return float32(math.Float64frombits(b))
}

// fmaChains continues four chains, c[i] = FMA(x[k], m[k*stride+i], c[i]), over all k in rising order.
func fmaChains(c *[4]float32, x, m []float32, stride int) {
	c0, c1, c2, c3 := c[0], c[1], c[2], c[3]
	for k, v := range x {
		y, w := (*[4]float32)(m[k*stride:]), float64(v)
		s0, s1 := w*float64(y[0])+float64(c0), w*float64(y[1])+float64(c1)
		s2, s3 := w*float64(y[2])+float64(c2), w*float64(y[3])+float64(c3)
		if undecided(s0) || undecided(s1) || undecided(s2) || undecided(s3) {
			c0, c1, c2, c3 = FMA(v, y[0], c0), FMA(v, y[1], c1), FMA(v, y[2], c2), FMA(v, y[3], c3)
		} else {
			c0, c1, c2, c3 = float32(s0), float32(s1), float32(s2), float32(s3)
		}
	}
	*c = [4]float32{c0, c1, c2, c3}
}
