// SPDX-License-Identifier: MIT

package kernel

import (
	"bytes"
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
			o.gegluRow(got, gx, gy)
			gegluPortable(want, x, y)
			diff(t, fmt.Sprintf("geglu of %d", n), got, want)
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

// TestRopeEqualsPortable has all numbers of pairs.
func TestRopeEqualsPortable(t *testing.T) {
	t.Parallel()
	eachOps(t, func(t *testing.T, o *ops) {
		rng := rand.New(rand.NewPCG(16, 16))
		for pairs := range 150 {
			x, cos, sin := randomFloats(rng, 2*pairs, 10), randomFloats(rng, pairs, 1), randomFloats(rng, pairs, 1)
			if pairs > 0 && pairs%3 == 0 {
				x[rng.IntN(2*pairs)], cos[rng.IntN(pairs)], sin[rng.IntN(pairs)] = wildFloat(rng), wildFloat(rng), wildFloat(rng)
			}
			gc, gs := guardedCopy(t, cos), guardedCopy(t, sin)
			got, want := guardedCopy(t, x), slices.Clone(x)
			o.ropeNormRow(got, gc, gs)
			ropeNormPortable(want, cos, sin)
			diff(t, fmt.Sprintf("norm of %d pairs", pairs), got, want)
			x0, x1 := guardedCopy(t, x[:pairs]), guardedCopy(t, x[pairs:])
			o.ropeNeoxRow(x0, x1, gc, gs)
			ropeNeoxPortable(x[:pairs], x[pairs:], cos, sin)
			diff(t, fmt.Sprintf("neox of %d pairs", pairs), append(slices.Clone(x0), x1...), x)
		}
	})
}

// TestRemainderEqualsPortable has blocks of all magnitudes.
func TestRemainderEqualsPortable(t *testing.T) {
	t.Parallel()
	eachOps(t, func(t *testing.T, o *ops) {
		rng := rand.New(rand.NewPCG(17, 17))
		for blocks := 1; blocks <= 300; blocks += 1 + blocks/9 {
			n := blocks * actBlock
			x, want := randomFloats(rng, n, 1), make([]float32, n)
			for b := range blocks {
				block := x[b*actBlock:][:actBlock]
				scale := float32(math.Ldexp(1, rng.IntN(276)-149))
				for i := range block {
					block[i] *= scale
				}
				if rng.IntN(4) == 0 {
					block[rng.IntN(actBlock)] = wildFloat(rng)
				}
				remainderPortable((*[actBlock]float32)(want[b*actBlock:]), (*[actBlock]float32)(block))
			}
			gx, got := guardedCopy(t, x), guarded[float32](t, n)
			q, d, s, sum := guarded[int8](t, n), guarded[float32](t, blocks), guarded[float32](t, blocks), guarded[int32](t, sums*blocks)
			o.quantizeBlocks(q, d, s, sum, gx, blocks, 1, 0)
			o.remainderBlocks(got, gx, q, d, blocks)
			diff(t, fmt.Sprintf("remainder of %d blocks", blocks), got, want)
		}
	})
}

// TestChooseEqualsPortable has rows with ties, without any order, and of values that need care alone.
func TestChooseEqualsPortable(t *testing.T) {
	t.Parallel()
	eachOps(t, func(t *testing.T, o *ops) {
		rng := rand.New(rand.NewPCG(18, 18))
		check := func(x []float32) (g []float32) {
			t.Helper()
			g = guardedCopy(t, x)
			if got, want := o.argMaxRow(g), argMaxPortable(x); got != want {
				t.Fatalf("ArgMax(%v) = %d, want %d", x, got, want)
			}
			blocks := (len(x) + MaximaBlock - 1) / MaximaBlock
			got, want := guarded[float32](t, blocks), make([]float32, blocks)
			o.maximaRow(got, g)
			maximaPortable(want, x)
			for i := range want {
				if got[i] != want[i] {
					t.Fatalf("Maxima(%v)[%d] = %v, want %v", x, i, got[i], want[i])
				}
			}
			return g
		}
		inf := float32(math.Inf(1))
		for n := range 300 {
			random, ties, wild := randomFloats(rng, n, 10), make([]float32, n), make([]float32, n)
			for i := range n {
				ties[i] = []float32{-inf, -1, float32(math.Copysign(0, -1)), 0, float32(math.NaN())}[rng.IntN(5)]
				wild[i] = wildFloat(rng)
			}
			least := slices.Repeat([]float32{-inf, -inf, float32(math.NaN())}, n)[:n]
			got, want := guarded[float32](t, n), make([]float32, n)
			for _, x := range [][]float32{random, ties, wild, least} {
				g := check(x)
				for _, temperature := range []float32{0.8, 1, 1e-30, 1e-45, 3e38, inf} {
					top := -inf
					for _, v := range x {
						if v > top {
							top = v
						}
					}
					o.weightsRow(got, g, top, temperature)
					weightsPortable(want, x, top, temperature)
					diff(t, fmt.Sprintf("weights of %d at %v", n, temperature), got, want)
				}
			}
			if n > 0 { // the largest at each place, and only NaN and -Inf before it
				ties[n-1], least[n-1] = 1, -3e38
				check(ties)
				check(least)
			}
		}
	})
}

// TestPutEqualsPortable has all head dimensions and positions of a tile, the last of them at the end of memory.
func TestPutEqualsPortable(t *testing.T) {
	t.Parallel()
	eachOps(t, func(t *testing.T, o *ops) {
		rng := rand.New(rand.NewPCG(19, 19))
		for dim := 1; dim <= 140; dim++ {
			for _, typ := range []quant.Type{quant.F16, quant.F32} {
				end := KVPage
				if dim%7 != 0 {
					end = kvTile + 1 + rng.IntN(kvTile)
				}
				got, want := newKVHead(t, typ, end, dim), newKVHead(t, typ, end, dim)
				guardPages(t, got)
				gk, gv := guarded[float32](t, dim), guarded[float32](t, dim)
				for pos := range end {
					k, v := randomFloats(rng, dim, 1), randomFloats(rng, dim, 1)
					k[rng.IntN(dim)], v[rng.IntN(dim)] = wildFloat(rng), wildFloat(rng)
					copy(gk, k)
					copy(gv, v)
					got.putPortable(pos, o.putRow(got, pos, gk, gv), gk, gv)
					want.putPortable(pos, 0, k, v)
				}
				what := fmt.Sprintf("%v, %d dimensions", typ, dim)
				if !bytes.Equal(got.pages.pages[0], want.pages.pages[0]) {
					t.Fatalf("%s: keys or values differ", what)
				}
			}
		}
	})
}

// TestHalvesEqualPortable rounds to 16 bits: all halves, their neighbours, what lies between two of them, and a sample of the rest.
func TestHalvesEqualPortable(t *testing.T) {
	t.Parallel()
	var x []float32
	for h := range 1 << 16 {
		bits := math.Float32bits(quant.F16ToF32(uint16(h)))
		for _, b := range []uint32{bits - 1, bits, bits + 1, bits + 0xfff, bits + 0x1000, bits + 0x1001} {
			x = append(x, math.Float32frombits(b))
		}
	}
	for h := range 1 << 11 { // subnormal halves are wider apart
		bits := math.Float32bits((float32(h) + 0.5) * 0x1p-24)
		x = append(x, math.Float32frombits(bits-1), math.Float32frombits(bits), math.Float32frombits(bits+1))
	}
	for bits := uint64(0); bits < 1<<32; bits += 10_007 {
		x = append(x, math.Float32frombits(uint32(bits)))
	}
	x = x[:whole(len(x))]
	eachOps(t, func(t *testing.T, o *ops) {
		for part := range slices.Chunk(x, 1<<14) {
			got, want := newKVHead(t, quant.F16, 1, len(part)), newKVHead(t, quant.F16, 1, len(part))
			o.putRow(got, 0, part, part)
			want.putPortable(0, 0, part, part)
			for i := range got.f16(0, 0, 2*KVPage*len(part)) {
				if g, w := got.f16(0, i, 1)[0], want.f16(0, i, 1)[0]; g != w {
					t.Fatalf("number %d of a page is %#x, want %#x", i, g, w)
				}
			}
		}
	})
}

// TestExpEqualsPortable takes a sample of all arguments through SwiGLU, GeGLU and weights, and of those up to zero, the largest, through
// softmax.
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
			o.gegluRow(s, x, one)
			gegluPortable(want, x, one)
			diff(t, "geglu", s, want)
			o.weightsRow(s, x, 0, 1)
			weightsPortable(want, x, 0, 1)
			diff(t, "weights", s, want)
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
			for _, dim := range []int{8, 24, 32, 40, 64, 80, 96, 112, 128, 256} {
				t.Run(fmt.Sprintf("%v/%d", typ, dim), func(t *testing.T) { // gives its guarded memory back at its end
					for _, heads := range []int{1, 2, 3, 4, 5, 8} {
						for _, shape := range [][2]int{{1, 1}, {1, 17}, {1, 200}, {2, 2}, {3, 66}, {5, 64}, {7, 131}, {20, 20}, {3, 300}} {
							attentionEqualsPortable(t, o, rng, typ, dim, heads, shape[0], shape[1])
						}
					}
				})
			}
		}
	})
}

func attentionEqualsPortable(t *testing.T, o *ops, rng *rand.Rand, typ quant.Type, dim, heads, rows, end int) {
	t.Helper()
	h := newKVHead(t, typ, end, dim)
	nan := float32(math.NaN())
	for page := range h.pages.pages { // keys that nobody may see
		for i := range KVPage * dim {
			if typ == quant.F16 {
				h.f16(page, i, 1)[0] = 0x7e00
			} else {
				h.f32(page, i, 1)[0] = nan
			}
		}
	}
	for pos := range end {
		h.Put(pos, randomFloats(rng, dim, 1), randomFloats(rng, dim, 1))
	}
	guardPages(t, h)
	q := randomFloats(rng, rows*heads*dim, 1)
	a := Attention{Stride: heads * dim, Rows: rows, Heads: heads, Pos: end - rows, Scale: 0.1}
	want, got := a, a
	want.Dst, want.Q, want.Scores = make([]float32, len(q)), q, make([]float32, ScoresLen(rows, heads, end))
	got.Dst, got.Q, got.Scores = guarded[float32](t, len(q)), guardedCopy(t, q), guarded[float32](t, ScoresLen(rows, heads, end))
	h.attendPortable(&want)
	o.attend(h, &got)
	diff(t, fmt.Sprintf("%d heads, %d rows of %d", heads, rows, end), got.Dst, want.Dst)
	got.Dst = got.Q // in place
	o.attend(h, &got)
	diff(t, "in place", got.Dst, want.Dst)
}

// guardPages puts each page at the end of memory.
func guardPages(t *testing.T, h *KVHead) {
	t.Helper()
	for i, page := range h.pages.pages {
		h.pages.pages[i] = guardedCopy(t, page)
	}
}
