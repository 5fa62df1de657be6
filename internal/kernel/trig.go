// SPDX-License-Identifier: MIT

package kernel

import "math"

// Elementary functions in float64 whose bits do not depend on the target: package math has assembly on some, and the compiler fuses products and sums on others.
// Here every product is converted explicitly, which forbids fusing. docs/numerics.md §5 gives methods and errors.

// sincos returns sine and cosine of x for |x| ≤ 2^20, error below 1e-15.
func sincos(x float64) (sin, cos float64) {
	// π/2 in three parts of 33 bits (fdlibm, e_rem_pio2.c): n·p1 and n·p2 are exact for n below 2^20.
	const (
		p1 = 1.57079632673412561417e+00
		p2 = 6.07710050630396597660e-11
		p3 = 2.02226624879595063154e-21
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
	}
	return -c, s
}

// sinPoly and cosPoly are fdlibm's polynomials on |r| ≤ π/4 (k_sin.c, k_cos.c).
func sinPoly(r float64) float64 {
	z := float64(r * r)
	p := horner(z, 1.58969099521155010221e-10, -2.50507602534068634195e-08, 2.75573137070700676789e-06,
		-1.98412698298579493134e-04, 8.33333333332248946124e-03, -1.66666666666666324348e-01)
	return r + float64(float64(z*r)*p)
}

func cosPoly(r float64) float64 {
	z := float64(r * r)
	p := horner(z, -1.13596475577881948265e-11, 2.08757232129817482790e-09, -2.75573143513906633035e-07,
		2.48015872894767294178e-05, -1.38888888888741095749e-03, 4.16666666666666019037e-02)
	return 1 - (float64(z*0.5) - float64(float64(z*z)*p))
}

func horner(x float64, coefficients ...float64) float64 {
	p := coefficients[0]
	for _, c := range coefficients[1:] {
		p = float64(p*x) + c
	}
	return p
}

// logf64 returns ln(x) for x ≥ 1, relative error below 1e-15.
func logf64(x float64) float64 {
	m, e := math.Frexp(x) // exact
	if m < math.Sqrt2/2 {
		m, e = 2*m, e-1
	}
	// ln m = 2·artanh((m-1)/(m+1)), |s| ≤ 0.172: 12 terms leave less than 1e-19.
	s := (m - 1) / (m + 1)
	z := float64(s * s)
	sum := 0.0
	for k := 23; k >= 1; k -= 2 {
		sum = float64(sum*z) + 1/float64(k)
	}
	return float64(float64(e)*math.Ln2) + float64(2*float64(s*sum))
}

// expf64 returns e^x for -100 ≤ x ≤ 0, relative error below 1e-14.
func expf64(x float64) float64 {
	n := math.RoundToEven(float64(x * (1 / math.Ln2)))
	r := x - float64(n*6.93147180369123816490e-01) // ln2 in two parts (fdlibm, e_exp.c)
	r -= float64(n * 1.90821492927058770002e-10)
	sum := 1.0
	for k := 18; k >= 1; k-- {
		sum = 1 + float64(float64(r*sum)/float64(k))
	}
	return math.Ldexp(sum, int(n)) // exact
}
