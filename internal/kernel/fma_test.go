// SPDX-License-Identifier: MIT

package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestFMARandom(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1))
	n := 1_000_000
	if testing.Short() {
		n = 50_000
	}
	for range n {
		checkFMA(t, wildFloat(rng), wildFloat(rng), wildFloat(rng))
	}
}

// TestFMAHalfway aims at sums that lie on, or a hair beside, the middle between two neighbouring float32: those that a double rounding
// gets wrong.
func TestFMAHalfway(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(2, 2))
	n, decided, twice := 300_000, 0, 0
	if testing.Short() {
		n = 30_000
	}
	for range n {
		// z has 24 bits; x·y is half a unit of z's last place, times 1 ± a bit so small that float64 drops it.
		z := math.Float32frombits(rng.Uint32()&0x007fffff | uint32(60+rng.IntN(130))<<23)
		ulp := math.Float32frombits(math.Float32bits(z)&0x7f800000) * 0x1p-23
		x, y := float32(1), ulp/2
		switch rng.IntN(4) {
		case 0: // exactly halfway
		case 1: // (1+2^-23)·(1-2^-23) = 1-2^-46: the sum is 70 bits long
			x, y = 1+0x1p-23, y*(1-0x1p-23)
		case 2: // 1+2^-22+2^-46
			x, y = 1+0x1p-23, y*(1+0x1p-23)
		case 3:
			x, y = 1-0x1p-24, y*(1-0x1p-24)
		}
		if rng.IntN(2) == 0 {
			x = -x
		}
		if rng.IntN(2) == 0 {
			z = -z
		}
		checkFMA(t, x, y, z)
		decided++
		if got := float32(math.FMA(float64(x), float64(y), float64(z))); !same(got, refFMA(x, y, z)) {
			twice++
		}
	}
	if twice == 0 {
		t.Errorf("none of %d cases is wrong when rounded twice: they test nothing", decided)
	}
}

// TestFMASubnormal has sums below the normal range, where the halfway points are at other bits of a float64.
func TestFMASubnormal(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 3))
	n := 300_000
	if testing.Short() {
		n = 30_000
	}
	for range n {
		z := math.Float32frombits(rng.Uint32()&(1<<(1+rng.IntN(24))-1) | rng.Uint32()&(1<<31))
		// x·y is an odd number of halves of the least float32, times 1 ± a bit that float64 drops beside a large z.
		halves := float64(2*rng.IntN(1<<rng.IntN(12)) + 1)
		x, y := float32(math.Ldexp(halves, -90)), float32(0x1p-60)
		switch rng.IntN(4) {
		case 0:
			x, y = 0x1p-90*(1+0x1p-23), 0x1p-60*(1-0x1p-23) // 1-2^-46
		case 1:
			x, y = 0x1p-90*(1+0x1p-12), 0x1p-60*(1-0x1p-12+0x1p-24) // 1+2^-36
		case 2:
			y = math.Float32frombits(math.Float32bits(y) + rng.Uint32()%3 - 1)
		}
		if rng.IntN(2) == 0 {
			x = -x
		}
		checkFMA(t, x, y, z)
	}
}

func TestFMACases(t *testing.T) {
	t.Parallel()
	inf, nan, zero := float32(math.Inf(1)), float32(math.NaN()), float32(math.Copysign(0, -1))
	const tiny, big = math.SmallestNonzeroFloat32, math.MaxFloat32
	for _, c := range []struct{ x, y, z, want float32 }{
		{2, 3, 4, 10},
		{1 + 0x1p-23, 1 - 0x1p-23, -1, -0x1p-46},
		{big, 1, 0x1p103, inf},        // halfway to 2^128 rounds to even: infinity
		{big, 1, 0x1.fffffep102, big}, // just below
		{big, 2, -big, big},           // the product alone would overflow
		{tiny, 0.5, 0, 0},
		{tiny, 0.5, tiny, 2 * tiny},
		{tiny, 0.75, 0, tiny},
		{-tiny, 0.5, zero, zero},
		{zero, 1, zero, zero},
		{zero, 1, 0, 0},
		{1, 1, -1, 0},
		{inf, 1, 1, inf},
		{inf, 1, -inf, nan},
		{inf, 0, 1, nan},
		{nan, 1, 1, nan},
		{1, 1, nan, nan},
	} {
		if got := FMA(c.x, c.y, c.z); !same(got, c.want) {
			t.Errorf("FMA(%v, %v, %v) = %v, want %v", c.x, c.y, c.z, got, c.want)
		}
		checkFMA(t, c.x, c.y, c.z)
	}
}

func checkFMA(t *testing.T, x, y, z float32) {
	t.Helper()
	want := refFMA(x, y, z)
	if got := FMA(x, y, z); !same(got, want) {
		t.Fatalf("FMA(%x, %x, %x) = %x, want %x", x, y, z, got, want)
	}
	// The hot loops have their own copies of the fast path.
	for lane := range 4 {
		var c, w, a [4]float32
		c[lane], w[lane], a[lane] = z, y, x
		fmaChains(&c, []float32{x}, w[:], 4)
		if !same(c[lane], want) {
			t.Fatalf("lane %d of fmaChains(%x, %x, %x) = %x, want %x", lane, x, y, z, c[lane], want)
		}
		c[lane] = z
		dotFloat(&c, w[:], a[:])
		if !same(c[lane], want) {
			t.Fatalf("lane %d of dotFloat(%x, %x, %x) = %x, want %x", lane, x, y, z, c[lane], want)
		}
	}
}
