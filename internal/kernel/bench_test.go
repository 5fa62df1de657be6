// SPDX-License-Identifier: MIT

package kernel

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/shardnode/shardnode/internal/quant"
)

// BenchmarkMatMul reports weight bytes read a second for decode (one row, and eight sessions), from a matrix larger than the caches, and operations a
// second for prefill (64 rows), by each path.
func BenchmarkMatMul(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, which := range supported() {
		for _, t := range allTypes {
			for _, n := range []int{1, 8, 64} {
				rows, cols := 16384, 4096
				if n > 8 || which == generic {
					rows = 1024
				}
				for _, threads := range []int{1, 2} {
					b.Run(fmt.Sprintf("%s/%v/rows=%d/threads=%d", which, t, n, threads), func(b *testing.B) {
						p := newPool(threads, which)
						defer p.Close()
						m := packed(b, p, tiledMatrix(b, rng, t, rows, cols))
						a := NewActs(n, cols)
						x, dst := randomFloats(rng, n*cols, 1), make([]float32, n*rows)
						b.SetBytes(m.Bytes())
						for b.Loop() {
							a.Set(x, n, cols)
							p.MatMul(dst, m, a)
						}
						b.ReportMetric(2*float64(n)*float64(rows)*float64(cols)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GOP/s")
					})
				}
			}
		}
	}
}

// BenchmarkFetch reads matrices far larger than the caches with weights fetched so many bytes ahead of their use: fetchAhead chooses by processor.
func BenchmarkFetch(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	which := supported()[len(supported())-1]
	const rows, cols = 131072, 4096
	for _, t := range []quant.Type{quant.Q8_0, quant.Q4_0, quant.Q4_K} {
		for _, threads := range []int{1, 2} {
			p := newPool(threads, which)
			m := packed(b, p, tiledMatrix(b, rng, t, rows, cols))
			a := NewActs(1, cols)
			a.Set(randomFloats(rng, cols, 1), 1, cols)
			dst := make([]float32, rows)
			for _, p.ahead = range []int{0, 2048, 8192} {
				b.Run(fmt.Sprintf("%s/%v/threads=%d/ahead=%d", which, t, threads, p.ahead), func(b *testing.B) {
					b.SetBytes(m.Bytes())
					for b.Loop() {
						p.MatMul(dst, m, a)
					}
				})
			}
			p.Close()
		}
	}
}

// tiledMatrix repeats 64 random rows.
func tiledMatrix(b *testing.B, rng *rand.Rand, t quant.Type, rows, cols int) *Matrix {
	part := randomMatrix(b, rng, t, 64, cols)
	return newMatrix(b, t, rows, cols, bytes.Repeat(part.data, rows/64))
}

func BenchmarkAttend(b *testing.B) {
	const dim, heads, n = 128, 4, 1024
	rng := rand.New(rand.NewPCG(3, 4))
	h, err := NewKVHead(quant.F16, n, dim)
	if err != nil {
		b.Fatal(err)
	}
	for pos := range n {
		h.Put(pos, randomFloats(rng, dim, 1), randomFloats(rng, dim, 1))
	}
	for _, rows := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			q := randomFloats(rng, rows*heads*dim, 1)
			a := Attention{Dst: make([]float32, len(q)), Q: q, Stride: heads * dim, Rows: rows, Heads: heads, Pos: n - rows, Scale: 0.088, Scores: make([]float32, ScoresLen(rows, heads, n))}
			for b.Loop() {
				h.Attend(&a)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(rows*heads*n), "ns/key")
		})
	}
}

func BenchmarkExp(b *testing.B) {
	x := randomFloats(rand.New(rand.NewPCG(5, 6)), 1024, 10)
	var sum float32
	for b.Loop() {
		for _, v := range x {
			sum += Exp(v)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(x)), "ns/exp")
}

// BenchmarkPack reports weight bytes repacked a second, on two threads.
func BenchmarkPack(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	paths := supported()
	for _, t := range allTypes {
		b.Run(t.String(), func(b *testing.B) {
			p := newPool(2, paths[len(paths)-1])
			defer p.Close()
			m := tiledMatrix(b, rng, t, 2048, 4096)
			b.SetBytes(m.Bytes())
			for b.Loop() {
				var mem Memory
				if _, err := p.Pack(m, &mem); err != nil {
					b.Fatal(err)
				}
				if err := mem.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
