// SPDX-License-Identifier: MIT

package kernel

import (
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestSinCos compares with package math for the same angles.
func TestSinCos(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(14, 14))
	check := func(x float64) {
		s, c := sinCos(x)
		if ds, dc := math.Abs(s-math.Sin(x)), math.Abs(c-math.Cos(x)); ds > 5e-16 || dc > 5e-16 {
			t.Fatalf("sinCos(%v) = %v, %v: off by %.1e, %.1e", x, s, c, ds, dc)
		}
	}
	for range 500_000 {
		check(math.Ldexp(rng.Float64(), rng.IntN(27)))
	}
	for n := range 300_000 { // next to the points where the reduction cancels most
		check(float64(n) * (math.Pi / 4))
	}
	for n := range 1 << 16 {
		check(float64(n))
	}
	if s, c := sinCos(0); s != 0 || c != 1 {
		t.Errorf("sinCos(0) = %v, %v", s, c)
	}
}

// TestInvPower holds (base**(-num/den))**den against base**-num, which is exact, in arithmetic of 400 bits.
func TestInvPower(t *testing.T) {
	t.Parallel()
	var worst float64
	for _, base := range []float64{1, 2, 100, 10000, 500000, 1e6, 5e6, 1e8, 12345.678} {
		for _, den := range []int{2, 20, 32, 64, 80, 96, 128, 256} {
			for num := 0; num < den; num += 2 {
				f := big.NewFloat(invPower(base, float64(num), float64(den))).SetPrec(400)
				product := big.NewFloat(1).SetPrec(400)
				for range den {
					product.Mul(product, f)
				}
				for range num {
					product.Mul(product, big.NewFloat(base))
				}
				// (f·(1+e))**den = 1 + den·e
				e, _ := product.Sub(product, big.NewFloat(1)).Float64()
				worst = max(worst, math.Abs(e)/float64(den))
			}
		}
	}
	t.Logf("largest relative error %.1e", worst)
	if worst > 1e-15 {
		t.Errorf("relative error %.1e, documented as below 1e-15", worst)
	}
	if f := invPower(10000, 0, 64); f != 1 {
		t.Errorf("10000**0 = %v", f)
	}
}

// TestRopeAngles compares whole tables with package math.
func TestRopeAngles(t *testing.T) {
	t.Parallel()
	factors := make([]float32, 32)
	for i := range factors {
		factors[i] = 1 + float32(i)/4
	}
	for _, base := range []float64{10000, 500000, 1e6} {
		for _, linear := range []float64{1, 4} {
			r, err := NewRope(64, base, factors, linear)
			if err != nil {
				t.Fatal(err)
			}
			cos, sin := make([]float32, 32), make([]float32, 32)
			for _, pos := range []int{0, 1, 2, 63, 100, 1000} {
				r.Angles(cos, sin, pos)
				for i := range 32 {
					angle := float64(pos) * math.Pow(base, -float64(i)/32) / float64(factors[i]) / linear
					s, c := sinCos(float64(float64(pos)*r.frequency[i]) / linear)
					if math.Abs(s-math.Sin(angle)) > 1e-12 || math.Abs(c-math.Cos(angle)) > 1e-12 {
						t.Fatalf("base %v, position %d, pair %d: %v, %v, want %v, %v", base, pos, i, c, s, math.Cos(angle), math.Sin(angle))
					}
					if cos[i] != float32(c) || sin[i] != float32(s) {
						t.Fatalf("base %v, position %d, pair %d: table has %v, %v of %v, %v", base, pos, i, cos[i], sin[i], c, s)
					}
				}
			}
		}
	}
}

func TestRopeEqualsReference(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		pairs := rapid.IntRange(1, 70).Draw(t, "pairs")
		x, cos, sin := drawFloats(t, rng, 2*pairs), drawFloats(t, rng, pairs), drawFloats(t, rng, pairs)
		norm, neox := slices.Clone(x), slices.Clone(x)
		RopeNorm(norm, cos, sin)
		diff(t, "norm", norm, refRope(x, cos, sin, false))
		RopeNeox(neox, cos, sin)
		diff(t, "neox", neox, refRope(x, cos, sin, true))
	})
}

func TestRopePairs(t *testing.T) {
	t.Parallel()
	cos, sin := []float32{1, 0, -1}, []float32{0, 1, 0} // by 0, 90 and 180 degrees
	x := []float32{1, 2, 3, 4, 5, 6}
	RopeNorm(x, cos, sin)
	diff(t, "norm", x, []float32{1, 2, -4, 3, -5, -6})
	x = []float32{1, 2, 3, 4, 5, 6}
	RopeNeox(x, cos, sin)
	diff(t, "neox", x, []float32{1, -5, -3, 4, 2, -6})

	// No product is fused with the sum: the rounded squares cancel, where one fma would leave the rounding error. Nine pairs meet both
	// the vectors and the rest.
	const c = 1 + 0x1p-23
	x = slices.Repeat([]float32{c}, 18)
	cos, sin = slices.Repeat([]float32{c}, 9), slices.Repeat([]float32{c}, 9)
	RopeNorm(x, cos, sin)
	diff(t, "rounding", x, slices.Repeat([]float32{0, 2 + 0x1p-21}, 9))
	x = slices.Repeat([]float32{c}, 18)
	RopeNeox(x, cos, sin)
	diff(t, "rounding", x, slices.Concat(make([]float32, 9), slices.Repeat([]float32{2 + 0x1p-21}, 9)))
	square := float32(c * c)
	if FMA(c, c, -square) == 0 {
		t.Error("the square is exact: the case tests nothing")
	}
}

func TestRopeRefuses(t *testing.T) {
	t.Parallel()
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		dim     int
		base    float64
		factors []float32
		linear  float64
	}{
		{0, 10000, nil, 1},
		{63, 10000, nil, 1},
		{1 << 20, 10000, nil, 1},
		{64, 0, nil, 1},
		{64, 0.5, nil, 1},
		{64, nan, nil, 1},
		{64, inf, nil, 1},
		{64, 10000, nil, 0},
		{64, 10000, nil, nan},
		{64, 10000, nil, 0.01},
		{64, 10000, make([]float32, 31), 1},
		{2, 10000, []float32{0}, 1},
		{2, 10000, []float32{-1}, 1},
		{2, 10000, []float32{float32(nan)}, 1},
		{2, 10000, []float32{1e-30}, 1},
	} {
		if _, err := NewRope(c.dim, c.base, c.factors, c.linear); err == nil {
			t.Errorf("NewRope(%d, %v, %v, %v): no error", c.dim, c.base, c.factors, c.linear)
		}
	}
}
