// SPDX-License-Identifier: MIT

package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// drawFloats returns n numbers, now and then wild ones.
func drawFloats(t *rapid.T, rng *rand.Rand, n int) []float32 {
	x := randomFloats(rng, n, math.Ldexp(1, rapid.IntRange(-60, 60).Draw(t, "exponent")))
	if n > 0 {
		for range rapid.IntRange(0, 2).Draw(t, "wild values") {
			x[rng.IntN(n)] = wildFloat(rng)
		}
	}
	return x
}

func TestNormEqualsReference(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		n := rapid.IntRange(1, 400).Draw(t, "length")
		x, w, y := drawFloats(t, rng, n), drawFloats(t, rng, n), make([]float32, n)
		want := refNorm(x, w, 1e-5)
		RMSNorm(y, x, w, 1e-5)
		diff(t, "norm", y, want)
		RMSNorm(x, x, w, 1e-5)
		diff(t, "norm in place", x, want)
	})
}

func TestGatesEqualReference(t *testing.T) {
	t.Parallel()
	for _, g := range []struct {
		name string
		gate func(dst, gate, up []float32)
		ref  func(gate, up []float32) []float32
	}{{"swiglu", SwiGLU, refSwiGLU}, {"geglu", GeGLU, refGeGLU}, {"clamped", SwiGLUClamped, refClamped}} {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
				n := rapid.IntRange(0, 100).Draw(t, "length")
				gate, up := drawFloats(t, rng, n), drawFloats(t, rng, n)
				want := g.ref(gate, up)
				g.gate(gate, gate, up)
				diff(t, g.name, gate, want)
			})
		})
	}
}

func TestSoftCapEqualsReference(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		x := drawFloats(t, rng, rapid.IntRange(0, 100).Draw(t, "length"))
		limit := rapid.SampledFrom([]float32{1, 30, 50}).Draw(t, "limit")
		want := make([]float32, len(x))
		for i, v := range x {
			want[i] = refSoftCap(v, limit)
			if exact := float64(limit) * math.Tanh(float64(v)/float64(limit)); !(math.Abs(exact-float64(want[i])) <= 2e-7*float64(limit)) && v == v {
				t.Fatalf("%v is bent to %v, want %v", v, want[i], exact)
			}
		}
		SoftCap(x, limit)
		diff(t, "soft cap", x, want)
	})
	big, small := randomFloats(rand.New(rand.NewPCG(1, 1)), 2*softCapPiece+13, 40), make([]float32, 1) // several calls
	for i := 0; i < len(big); i += 999 {
		small[0] = big[i]
		SoftCap(small, 30)
		if i+999 >= len(big) {
			SoftCap(big, 30)
			diff(t, "the last", big[i:i+1], small)
		}
	}
}

func TestScale(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 5))
	for n := range 40 {
		x, y := randomFloats(rng, n, 10), randomFloats(rng, n, 10)
		sum, times := slices.Clone(x), slices.Clone(x)
		for i := range x {
			sum[i] += float32(-1.7 * y[i])
			times[i] = float32(times[i] * 0.3)
		}
		scaled := slices.Clone(x)
		Scale(scaled, 0.3)
		diff(t, "scaled", scaled, times)
		AddScaled(x, y, -1.7)
		diff(t, "added", x, sum)
	}
}

// Ties go to the lowest index, whatever the logits are.
func TestRouteEqualsReference(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		x := drawFloats(t, rng, rapid.IntRange(1, 140).Draw(t, "experts"))
		if levels := rapid.IntRange(0, 4).Draw(t, "levels"); levels > 0 { // many ties
			for i := range x {
				x[i] = []float32{float32(math.Inf(-1)), float32(math.NaN()), 1, 2}[rng.IntN(levels)]
			}
		}
		k := rapid.IntRange(1, len(x)).Draw(t, "chosen")
		chosen, shares := make([]int, k), make([]float32, k)
		Route(chosen, shares, x)
		wantChosen, wantShares := refRoute(x, k)
		if !slices.Equal(chosen, wantChosen) {
			t.Fatalf("chosen of %v: %v, want %v", x, chosen, wantChosen)
		}
		diff(t, "shares", shares, wantShares)
	})
}

// TestGeGLUError compares a sample of all gates with float64 arithmetic; the limits are documented.
func TestGeGLUError(t *testing.T) {
	t.Parallel()
	gate, one, y := make([]float32, 64), slices.Repeat([]float32{1}, 64), make([]float32, 64)
	var above, below float64
	for bits := uint64(0); bits < 1<<32; {
		for i := range gate {
			gate[i] = math.Float32frombits(uint32(bits))
			bits += 2003
		}
		GeGLU(y, gate, one)
		for i, g := range gate {
			x := float64(g)
			exact := x / (1 + math.Exp(-2*math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x))) // 0.5·x·(1 + tanh(…)) without cancellation
			off := math.Abs(float64(y[i]) - exact)
			switch {
			case g != g || math.IsInf(x, -1):
				if y[i] == y[i] {
					t.Fatalf("gelu(%v) = %v, want NaN", g, y[i])
				}
			case math.IsInf(x, 1):
				if y[i] != g {
					t.Fatalf("gelu(%v) = %v", g, y[i])
				}
			case g < 0:
				below = max(below, off)
			default:
				_, e := math.Frexp(exact)
				above = max(above, off/math.Ldexp(1, max(e, -125)-24))
			}
		}
	}
	t.Logf("off by %.3f ulp from 0 on, by %.2g below", above, below)
	if above > 2 || below > 5e-8 {
		t.Errorf("off by %.3f ulp from 0 on, by %.2g below: documented are 2 and 5e-8", above, below)
	}
	for i, g := range []float32{0, 0x1p64, -0x1p64, 3e38, -3e38} { // the square of most of them is infinite
		want := []float32{0, 0x1p64, float32(math.Copysign(0, -1)), 3e38, float32(math.Copysign(0, -1))}[i]
		if GeGLU(y[:1], []float32{g}, one); math.Float32bits(y[0]) != math.Float32bits(want) {
			t.Errorf("gelu(%v) = %v, want %v", g, y[0], want)
		}
	}
}

func TestChooseEqualsReference(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		x := drawFloats(t, rng, rapid.IntRange(0, 300).Draw(t, "length"))
		if levels := rapid.IntRange(0, 4).Draw(t, "levels"); levels > 0 { // many ties
			for i := range x {
				x[i] = []float32{float32(math.Inf(-1)), float32(math.NaN()), 1, 2}[rng.IntN(levels)]
			}
		}
		at := ArgMax(x)
		if want := refArgMax(x); at != want {
			t.Fatalf("ArgMax(%v) = %d, want %d", x, at, want)
		}
		maxima := make([]float32, (len(x)+MaximaBlock-1)/MaximaBlock)
		Maxima(maxima, x)
		for b, got := range maxima {
			block := x[b*MaximaBlock : min((b+1)*MaximaBlock, len(x))]
			want := block[refArgMax(block)]
			if want != want {
				want = float32(math.Inf(-1))
			}
			if got != want {
				t.Fatalf("largest of %v is %v, want %v", block, got, want)
			}
		}
		temperature := float32(math.Ldexp(1, rapid.IntRange(-20, 20).Draw(t, "temperature")))
		got, want := make([]float32, len(x)), make([]float32, len(x))
		for i, v := range x {
			want[i] = refWeight(v, x[at], temperature)
		}
		Weights(got, x, slices.Concat(x, []float32{0})[at], temperature)
		diff(t, "weights", got, want)
	})
}

// TestWeightsInPieces has a row that takes more than one call, written over its logits.
func TestWeightsInPieces(t *testing.T) {
	t.Parallel()
	x := randomFloats(rand.New(rand.NewPCG(17, 17)), 2*weightsPiece+5, 3)
	want := make([]float32, len(x))
	weightsPortable(want, x, 12, 0.7)
	Weights(x, x, 12, 0.7)
	diff(t, "weights", x, want)
}

func TestAdd(t *testing.T) {
	t.Parallel()
	x := []float32{1, 0x1p24, float32(math.Inf(1))}
	Add(x, []float32{2, 1, float32(math.Inf(-1))})
	diff(t, "sum", x, []float32{3, 0x1p24, float32(math.NaN())})
}

func TestArgMax(t *testing.T) {
	t.Parallel()
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		x    []float32
		want int
	}{
		{nil, 0},
		{[]float32{3}, 0},
		{[]float32{1, 3, 2, 3}, 1},
		{[]float32{nan, -5, nan, -4}, 3},
		{[]float32{nan, nan}, 0},
		{[]float32{-inf, -inf}, 0},
		{[]float32{0, inf, inf}, 1},
		{[]float32{float32(math.Copysign(0, -1)), 0}, 0}, // zeros are equal
	} {
		if got := ArgMax(c.x); got != c.want {
			t.Errorf("ArgMax(%v) = %d, want %d", c.x, got, c.want)
		}
	}
}

func TestQuantizeBlockEqualsReference(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		x := randomFloats(rng, actBlock, math.Ldexp(1, rapid.IntRange(-149, 127).Draw(t, "exponent")))
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0: // halves, which round to even
			for i := range x {
				x[i] = float32(rng.IntN(508)-254) / 2
			}
			x[rng.IntN(actBlock)] = 127
		case 1:
			x[rng.IntN(actBlock)] = wildFloat(rng)
		}
		var q [actBlock]int8
		d, s, lo, hi := quantizeBlock(&q, (*[actBlock]float32)(x))
		wantQ, wantD, wantS := refQuantize(x)
		diff(t, "scale and sum", []float32{d, s}, []float32{wantD, wantS})
		for _, which := range supported()[1:] { // as second row of a tile of three, the second block of two
			q2, d2, s2, sum2 := make([]int8, 5*32), make([]float32, 5), make([]float32, 5), make([]int32, 18)
			opsOf(which).quantizeBlocks(q2[32:], d2[1:], s2[1:], sum2[1:], append(randomFloats(rng, actBlock, 1), x...), 2, 3, 128)
			diff(t, string(which)+": scale and sum", []float32{d2[4], s2[4]}, []float32{d, s})
			if !slices.Equal(q2[4*32:], q[:]) || !slices.Equal([]int32{sum2[10], sum2[13], sum2[16]}, []int32{128 * (lo + hi), 128 * lo, 128 * hi}) {
				t.Fatalf("%s: %v with the sums %v, want %v with 128 times %d and %d", which, q2[4*32:], sum2, q, lo, hi)
			}
		}
		var halves [2]int32
		for i, v := range q {
			halves[i/16] += int32(v)
			if int(v) != wantQ[i] {
				t.Fatalf("element %d, %v with scale %v, is %d, want %d", i, x[i], d, v, wantQ[i])
			}
		}
		if halves != [2]int32{lo, hi} {
			t.Fatalf("sums %d and %d, want %d", lo, hi, halves)
		}
	})
}
