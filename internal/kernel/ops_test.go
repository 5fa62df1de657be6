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

func TestSwiGLUEqualsReference(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		n := rapid.IntRange(0, 100).Draw(t, "length")
		gate, up := drawFloats(t, rng, n), drawFloats(t, rng, n)
		want := refSwiGLU(gate, up)
		SwiGLU(gate, gate, up)
		diff(t, "swiglu", gate, want)
	})
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
