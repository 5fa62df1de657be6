// SPDX-License-Identifier: MIT

package kernel

import "math"

// FMA returns x·y + z with one rounding to f32 (docs/numerics.md §1). float32(math.FMA(…)) would round twice.
//
// The product is exact in f64 (24 + 24 bits), so the sum s is the exact result rounded once to 53 bits. Rounding s again to 24 bits gives
// the right answer unless s lies exactly between two f32 values, or the result is subnormal in f32: then [fmaOdd] decides.
func FMA(x, y, z float32) float32 {
	s := float64(x)*float64(y) + float64(z)
	b := math.Float64bits(s)
	if b&0x1fffffff != 0x10000000 && b&^(1<<63) >= 0x3810000000000000 {
		return float32(s)
	}
	return fmaOdd(x, y, z)
}

// fmaOdd rounds the sum to 53 bits to odd: where the 53-bit sum is not exact, its last bit is set. A second rounding to 24 bits, or to the
// fewer of a subnormal, then sees on which side of a tie the exact value lies (Boldo and Melquiond, "Emulation of FMA and correctly
// rounded sums", 2008).
func fmaOdd(x, y, z float32) float32 {
	p := float64(x) * float64(y)
	c := float64(z)
	s := p + c
	if math.IsInf(s, 0) || s != s {
		return float32(s)
	}
	// TwoSum (Knuth): err is exactly p + c - s.
	t := s - p
	err := (p - (s - t)) + (c - t)
	b := math.Float64bits(s)
	if err != 0 && b&1 == 0 {
		if (err > 0) == (s > 0) {
			b++
		} else {
			b--
		}
	}
	return float32(math.Float64frombits(b))
}
