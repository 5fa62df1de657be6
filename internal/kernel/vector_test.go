// SPDX-License-Identifier: MIT

package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/shardnode/shardnode/internal/quant"
)

// eachOps runs f for every path that has routines of its own.
func eachOps(t *testing.T, f func(t *testing.T, o *ops)) {
	for _, which := range supported()[1:] {
		t.Run(string(which), func(t *testing.T) {
			t.Parallel()
			f(t, opsOf(which))
		})
	}
}

// TestRowsEqualPortable compares what works on single rows, in guarded memory and at every length, with the portable code.
func TestRowsEqualPortable(t *testing.T) {
	t.Parallel()
	eachOps(t, func(t *testing.T, o *ops) {
		rng := rand.New(rand.NewPCG(14, 14))
		for n := 1; n <= 300; n++ {
			x, y := randomFloats(rng, n, math.Ldexp(1, n%12-4)), randomFloats(rng, n, 10)
			if n%3 == 0 {
				x[rng.IntN(n)], y[rng.IntN(n)] = wildFloat(rng), wildFloat(rng)
			}
			gx, gy, got, want := guardedCopy(t, x), guardedCopy(t, y), guarded[float32](t, n), make([]float32, n)
			o.swigluRow(got, gx, gy)
			swigluPortable(want, x, y)
			diff(t, fmt.Sprintf("swiglu of %d", n), got, want)
			if n%lanes == 0 {
				o.normRow(got, gx, gy, 1e-5)
				normPortable(want, x, y, 1e-5)
				diff(t, fmt.Sprintf("norm of %d", n), got, want)
			}
			s := guarded[float32](t, tiled(n)) // the rest of its tile has anything
			for i := range s {
				s[i] = wildFloat(rng)
			}
			copy(s, x)
			sum := o.softmaxRow(s, n, 0.3)
			want = slices.Clone(x)
			softmax(want, 0.3)
			diff(t, fmt.Sprintf("softmax of %d", n), append(s[:n:n], sum), append(want, sumStrided(want)))
			o.addRow(gx, gy)
			addPortable(x, y)
			diff(t, fmt.Sprintf("sum of %d", n), gx, x)
		}
	})
}

// TestExpEqualsPortable takes a sample of all arguments through SwiGLU, and of those up to zero, the largest, through softmax.
func TestExpEqualsPortable(t *testing.T) {
	t.Parallel()
	eachOps(t, func(t *testing.T, o *ops) {
		s, x, one := make([]float32, 64), make([]float32, 64), slices.Repeat([]float32{1}, 64)
		for bits := uint64(0); bits < 1<<32; {
			for i := range s {
				x[i] = math.Float32frombits(uint32(bits))
				bits += 40_009
			}
			want := make([]float32, len(x))
			o.swigluRow(s, x, one)
			swigluPortable(want, x, one)
			diff(t, "swiglu", s, want)
			for i := range x {
				x[i] = -float32(math.Abs(float64(x[i])))
			}
			x[0] = 0
			copy(s, x)
			o.softmaxRow(s, len(s), 1)
			for i := range x {
				x[i] = Exp(x[i])
			}
			diff(t, "exp", s, x)
		}
	})
}

// TestAttentionEqualsPortable has all kinds of groups, chunks and lengths, caches that are full of NaN beyond the positions put, and ends
// of memory that must not be touched.
func TestAttentionEqualsPortable(t *testing.T) {
	t.Parallel()
	eachOps(t, func(t *testing.T, o *ops) {
		rng := rand.New(rand.NewPCG(15, 15))
		for _, typ := range []quant.Type{quant.F16, quant.F32} {
			for _, dim := range []int{32, 64, 96, 128, 256} {
				for _, heads := range []int{1, 2, 3, 4, 5, 8} {
					for _, shape := range [][2]int{{1, 1}, {1, 17}, {1, 200}, {2, 2}, {3, 66}, {5, 64}, {7, 131}, {20, 20}} {
						rows, end := shape[0], shape[1]
						h := newKVHead(t, typ, end, dim)
						nan := float32(math.NaN())
						for i := range h.k16 {
							h.k16[i] = 0x7e00
						}
						for i := range h.k32 {
							h.k32[i] = nan
						}
						for pos := range end {
							h.Put(pos, randomFloats(rng, dim, 1), randomFloats(rng, dim, 1))
						}
						h.k16, h.v16 = guardedIf(t, h.k16), guardedIf(t, h.v16)
						h.k32, h.v32 = guardedIf(t, h.k32), guardedIf(t, h.v32)
						q := randomFloats(rng, rows*heads*dim, 1)
						a := Attention{Stride: heads * dim, Rows: rows, Heads: heads, Pos: end - rows, Scale: 0.1}
						want, got := a, a
						want.Dst, want.Q, want.Scores = make([]float32, len(q)), q, make([]float32, ScoresLen(rows, heads, end))
						got.Dst, got.Q, got.Scores = guarded[float32](t, len(q)), guardedCopy(t, q), guarded[float32](t, ScoresLen(rows, heads, end))
						h.attendPortable(&want)
						o.attend(h, &got)
						diff(t, fmt.Sprintf("%v, %d dimensions, %d heads, %d rows of %d", typ, dim, heads, rows, end), got.Dst, want.Dst)
						got.Dst = got.Q // in place
						o.attend(h, &got)
						diff(t, "in place", got.Dst, want.Dst)
					}
				}
			}
		}
	})
}

func guardedIf[T any](t *testing.T, x []T) []T {
	if x == nil {
		return nil
	}
	return guardedCopy(t, x)
}
