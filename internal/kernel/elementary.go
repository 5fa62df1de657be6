// SPDX-License-Identifier: MIT

package kernel

import "math"

// Elementary functions in float64 for rotary tables. Package math has assembly for some targets, and the compiler fuses products and
// sums on some, so both would make the bits depend on the machine: here every product that is added to something is converted, which
// forbids fusing, and of package math only exact or correctly rounded functions are used (FMA, Frexp, Ldexp, RoundToEven).

// ln 2 in two parts (fdlibm, e_exp.c): an integer below 2^20 times the first is exact.
const (
	ln2High = 6.93147180369123816490e-01
	ln2Low  = 1.90821492927058770002e-10
)

// logPair returns ln x, for x > 0, as an unevaluated sum whose error is about 1e-16 absolute.
func logPair(x float64) (hi, lo float64) {
	m, e := math.Frexp(x)
	if m < math.Sqrt2/2 {
		m, e = 2*m, e-1
	}
	// ln m = 2·artanh s = 2·(s + s³/3 + s⁵/5 + …), |s| ≤ 0.172: the terms left out are below 1e-19.
	s := (m - 1) / (m + 1)
	z := float64(s * s)
	var sum float64
	for k := 23; k >= 1; k -= 2 {
		sum = float64(sum*z) + 1/float64(k)
	}
	lnM := float64(2 * float64(s*sum))
	n := float64(e)
	hi = float64(n*ln2High) + lnM
	lo = lnM - (hi - float64(n*ln2High)) + float64(n*ln2Low)
	return hi, lo
}

// expPair returns e**(hi+lo) for |hi| ≤ 700 and lo far smaller, relative error below 5e-16.
func expPair(hi, lo float64) float64 {
	n := math.RoundToEven(float64(hi * (1 / math.Ln2)))
	r := hi - float64(n*ln2High)
	r += lo - float64(n*ln2Low)
	// Taylor, |r| ≤ 0.35: the terms left out are below 1e-19.
	sum := 1.0
	for k := 16; k >= 1; k-- {
		sum = 1 + float64(r*sum)/float64(k)
	}
	return math.Ldexp(sum, int(n))
}

// invPower returns base**(-num/den), relative error below 1e-15.
func invPower(base, num, den float64) float64 {
	hi, lo := logPair(base)
	// -num·(hi+lo)/den with the errors of product and quotient carried along.
	p := float64(-num * hi)
	pe := math.FMA(-num, hi, -p) - float64(num*lo)
	q := p / den
	qe := (math.FMA(-q, den, p) + pe) / den
	return expPair(q, qe)
}

// sinCos returns sine and cosine of x for 0 ≤ x < 2^26, absolute error below 3e-16.
func sinCos(x float64) (sin, cos float64) {
	// π/2 in parts of 26, 26 and 53 bits: an integer below 2^27 times one of the first two is exact, and so are the differences
	// they are subtracted in.
	const (
		p1 = 0x1.921fb5p+0
		p2 = 0x1.110b46p-26
		p3 = 0x1.1a62633145c07p-54
	)
	n := math.RoundToEven(float64(x * (2 / math.Pi)))
	r := x - float64(n*p1)
	r -= float64(n * p2)
	r -= float64(n * p3)
	s, c := sinPoly(r), cosPoly(r)
	switch int64(n) & 3 {
	case 0:
		return s, c
	case 1:
		return c, -s
	case 2:
		return -s, -c
	default:
		return -c, s
	}
}

// sinPoly and cosPoly are fdlibm's polynomials on |r| ≤ π/4 (k_sin.c, k_cos.c).
func sinPoly(r float64) float64 {
	z := float64(r * r)
	p := 1.58969099521155010221e-10
	p = float64(p*z) - 2.50507602534068634195e-08
	p = float64(p*z) + 2.75573137070700676789e-06
	p = float64(p*z) - 1.98412698298579493134e-04
	p = float64(p*z) + 8.33333333332248946124e-03
	p = float64(p*z) - 1.66666666666666324348e-01
	return r + float64(float64(z*r)*p)
}

func cosPoly(r float64) float64 {
	z := float64(r * r)
	p := -1.13596475577881948265e-11
	p = float64(p*z) + 2.08757232129817482790e-09
	p = float64(p*z) - 2.75573143513906633035e-07
	p = float64(p*z) + 2.48015872894767294178e-05
	p = float64(p*z) - 1.38888888888741095749e-03
	p = float64(p*z) + 4.16666666666666019037e-02
	half := float64(z * 0.5)
	w := 1 - half
	return w + (((1 - w) - half) + float64(float64(z*z)*p))
}
