// SPDX-License-Identifier: MIT

package kernel

import "math"

// Constants of [Exp], docs/numerics.md §7.
const (
	expMax = float32(88.72283)  // above: +Inf
	expMin = float32(-87.33654) // below: 0
	log2e  = float32(1.44269504088896341)
	ln2Hi  = float32(0.693359375)
	ln2Lo  = float32(-2.12194440e-4)

	// Minimax polynomial of (e^r - 1 - r)/r² on |r| ≤ ln2/2 (Cephes, expf).
	exp0 = float32(1.9875691500e-4)
	exp1 = float32(1.3981999507e-3)
	exp2 = float32(8.3334519073e-3)
	exp3 = float32(4.1665795894e-2)
	exp4 = float32(1.6666665459e-1)
	exp5 = float32(5.0000001201e-1)
)

// Exp returns e^x with an error below 2 ulp, by the operations of docs/numerics.md §7 in their order.
func Exp(x float32) float32 {
	switch {
	case x != x:
		return x
	case x > expMax:
		return float32(math.Inf(1))
	case x < expMin:
		return 0
	}
	n := float32(math.RoundToEven(float64(x * log2e)))
	r := FMA(n, -ln2Hi, x)
	r = FMA(n, -ln2Lo, r)
	p := FMA(exp0, r, exp1)
	p = FMA(p, r, exp2)
	p = FMA(p, r, exp3)
	p = FMA(p, r, exp4)
	p = FMA(p, r, exp5)
	p = FMA(p, r*r, r)
	p++
	// In two steps: 2^128 is not an f32, and p·2^n is.
	half := int32(n) / 2
	return p * pow2(half) * pow2(int32(n)-half)
}

// pow2 returns 2^n for -126 ≤ n ≤ 127.
func pow2(n int32) float32 { return math.Float32frombits(uint32(n+127) << 23) }
