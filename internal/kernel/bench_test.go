// SPDX-License-Identifier: MIT

package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/shardnode/shardnode/internal/quant"
)

// BenchmarkMatMul reports weight bytes read a second for decode (one row) and prefill (64 rows), on one thread.
func BenchmarkMatMul(b *testing.B) {
	const rows, cols = 512, 4096
	rng := rand.New(rand.NewPCG(1, 2))
	for _, t := range allTypes {
		m := randomMatrix(b, rng, t, rows, cols)
		for _, n := range []int{1, 64} {
			b.Run(fmt.Sprintf("%v/rows=%d", t, n), func(b *testing.B) {
				p := NewPool(1)
				a := NewActs(n, cols)
				x, dst := randomFloats(rng, n*cols, 1), make([]float32, n*rows)
				b.SetBytes(m.Bytes())
				for b.Loop() {
					a.Set(x, n, cols)
					p.MatMul(dst, m, a)
				}
				b.ReportMetric(2*float64(n)*rows*cols*float64(b.N)/b.Elapsed().Seconds()/1e9, "GOP/s")
			})
		}
	}
}

// BenchmarkRun is the cost of sharing out an empty job.
func BenchmarkRun(b *testing.B) {
	p := NewPool(2)
	defer p.Close()
	f := func(int, int) {}
	for b.Loop() {
		p.Run(8, f)
	}
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
	for _, rows := range []int{1, 8} {
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
