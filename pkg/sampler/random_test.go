// SPDX-License-Identifier: MIT

package sampler

import "testing"

// The vectors are those of the Random123 distribution (kat_vectors, "philox4x32 10").
func TestPhiloxVectors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		ctr  [4]uint32
		key  [2]uint32
		want [4]uint32
	}{
		{[4]uint32{}, [2]uint32{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{
			[4]uint32{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, [2]uint32{0xffffffff, 0xffffffff},
			[4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
		},
		{
			[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, [2]uint32{0xa4093822, 0x299f31d0},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
		},
	} {
		if got := philox(c.ctr, c.key); got != c.want {
			t.Errorf("philox(%08x, %08x) = %08x, want %08x", c.ctr, c.key, got, c.want)
		}
	}
}

// Pinned: another value would change every seeded generation ever made.
func TestUniformVectors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		seed uint64
		pos  uint32
		want float64
	}{
		{0, 0, float64(0xe169c58d6627e8d5>>11) / (1 << 53)},
		{42, 7, 0x1.a1e132156ef6p-02},
		{1<<63 | 1, 1<<32 - 1, 0x1.74c129821dbaep-02},
	} {
		if got := uniform(c.seed, c.pos); got != c.want {
			t.Errorf("uniform(%d, %d) = %x, want %x", c.seed, c.pos, got, c.want)
		}
	}
}

// 100 equal cells over positions and over seeds; the limits are the 99.9 % quantiles of chi-square with 99 degrees.
func TestUniformChiSquare(t *testing.T) {
	t.Parallel()
	const n, cells, limit = 100_000, 100, 148.2
	for name, at := range map[string]func(i int) float64{
		"positions": func(i int) float64 { return uniform(1, uint32(i)) },
		"seeds":     func(i int) float64 { return uniform(uint64(i), 3) },
	} {
		var count [cells]int
		for i := range n {
			u := at(i)
			if u < 0 || u >= 1 {
				t.Fatalf("%s: draw %d = %g outside [0,1)", name, i, u)
			}
			count[int(u*cells)]++
		}
		chi := 0.0
		for _, c := range count {
			d := float64(c) - n/cells
			chi += d * d / (n / cells)
		}
		if chi > limit {
			t.Errorf("%s: chi-square %.1f > %.1f", name, chi, limit)
		}
	}
}
