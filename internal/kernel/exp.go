// SPDX-License-Identifier: MIT

package kernel

import "math"

// Constants of [Exp], as bits in docs/numerics.md §7.
const (
	expOverflow  = 0x1.62e42ep+6  // 88.72283: above it e**x exceeds float32
	expUnderflow = -0x1.5d589ep+6 // -87.33654: below it e**x is subnormal
	log2E        = 0x1.715476p+0
	ln2Hi        = 0x1.63p-1 // ten bits, so that n*ln2Hi is exact
	ln2Lo        = -0x1.bd0106p-13

	// roundShift makes the last bit of a float32 sum worth one: x + roundShift - roundShift is x rounded to an integer, ties to
	// even, for |x| < 2^22.
	roundShift = 0x1.8p23

	// Minimax polynomial of e**r on |r| ≤ ln2/2 with the coefficients of 1 and r fixed at 1, each coefficient rounded to
	// float32 before the next ones were fitted; relative error 3.2e-9.
	exp2 = 0x1.fffffcp-2
	exp3 = 0x1.55548cp-3
	exp4 = 0x1.555858p-5
	exp5 = 0x1.123dep-7
	exp6 = 0x1.6ac74cp-10
)

// Exp returns e**x with an error below 0.9 ulp, +Inf above 88.72283 and 0 below -87.33654 (docs/numerics.md §7).
func Exp(x float32) float32 {
	switch {
	case x > expOverflow:
		return float32(math.Inf(1))
	case x < expUnderflow:
		return 0
	case x != x:
		return x
	}
	t := float32(x*log2E) + roundShift
	n := t - roundShift
	r := FMA(n, -ln2Hi, x)
	r = FMA(n, -ln2Lo, r)
	p := FMA(exp6, r, exp5)
	p = FMA(p, r, exp4)
	p = FMA(p, r, exp3)
	p = FMA(p, r, exp2)
	p = FMA(p, r, 1)
	p = FMA(p, r, 1)
	// p*2^n by its exponent bits: the bounds on x keep the result normal, also for n = 128, where p is below 1.
	return math.Float32frombits(math.Float32bits(p) + (math.Float32bits(t)-math.Float32bits(roundShift))<<23)
}
