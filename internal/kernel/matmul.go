// SPDX-License-Identifier: MIT

package kernel

import "github.com/shardnode/shardnode/internal/quant"

// chunkBytes is about how many bytes of weights one claimed piece of a product has: long enough to keep prefetching alive, short enough to
// share.
const chunkBytes = 64 << 10

// matMulJob is the matrix product a pool is computing.
type matMulJob struct {
	dst       []float32
	m         *Matrix
	a         *Acts
	chunkRows int
	workers   []matMulScratch // one a worker
}

// matMulScratch is a worker's memory within a product.
type matMulScratch struct {
	acc []float32    // [activation rows]
	par [][4]float32 // [activation rows] partial sums of float products
	q   [256]int8    // a block's integers
	w   []float32    // a row's floats
	_   [64 - 8]byte // keeps neighbours' lines apart
}

// MatMul computes dst = a·mᵀ, [a.Rows][m.Rows], on all threads of the pool. An element's value depends on its weight row and its
// activation row alone. It allocates nothing in steady state.
func (p *Pool) MatMul(dst []float32, m *Matrix, a *Acts) {
	j := &p.job
	j.dst, j.m, j.a = dst[:a.rows*m.Rows], m, a
	if len(j.workers) == 0 {
		j.workers = make([]matMulScratch, p.Threads())
	}
	for i := range j.workers {
		w := &j.workers[i]
		if len(w.acc) < a.rows {
			w.acc, w.par = make([]float32, a.rows), make([][4]float32, a.rows)
		}
		if !quantised(m.Type) && len(w.w) < m.Cols {
			w.w = make([]float32, m.Cols)
		}
	}
	if quantised(m.Type) && !a.quantised {
		p.Run(a.rows, p.runActs)
		a.quantised = true
	}
	j.chunkRows = max(1, chunkBytes/m.rowBytes)
	p.Run((m.Rows+j.chunkRows-1)/j.chunkRows, p.runProd)
	j.dst, j.m, j.a = nil, nil, nil
}

// quantised reports whether products with a type use int8 activations.
func quantised(t quant.Type) bool { return t != quant.F32 && t != quant.F16 && t != quant.BF16 }

func (p *Pool) quantizeChunk(_, i int) { p.job.a.quantise(i) }

func (p *Pool) matMulChunk(worker, i int) {
	j := &p.job
	w := &j.workers[worker]
	for r := i * j.chunkRows; r < min((i+1)*j.chunkRows, j.m.Rows); r++ {
		if quantised(j.m.Type) {
			acc := w.acc[:j.a.rows]
			clear(acc)
			dotRow(acc, j.m.Type, j.m.row(r), j.a, &w.q)
			for t, v := range acc {
				j.dst[t*j.m.Rows+r] = v
			}
		} else {
			row := w.w[:j.m.Cols]
			j.m.EmbedRow(row, r)
			for t := range j.a.rows {
				j.dst[t*j.m.Rows+r] = dotFloat(row, j.a.x[t*j.a.cols:(t+1)*j.a.cols])
			}
		}
	}
}

// dotFloat is the product of two float rows: four strided partial sums, (p0+p2)+(p1+p3) (docs/numerics.md §3).
func dotFloat(w, x []float32) float32 {
	var p0, p1, p2, p3 float32
	x = x[:len(w)]
	k := 0
	for ; k+4 <= len(w); k += 4 {
		p0 = FMA(w[k], x[k], p0)
		p1 = FMA(w[k+1], x[k+1], p1)
		p2 = FMA(w[k+2], x[k+2], p2)
		p3 = FMA(w[k+3], x[k+3], p3)
	}
	if k < len(w) {
		p0 = FMA(w[k], x[k], p0)
	}
	if k+1 < len(w) {
		p1 = FMA(w[k+1], x[k+1], p1)
	}
	if k+2 < len(w) {
		p2 = FMA(w[k+2], x[k+2], p2)
	}
	return (p0 + p2) + (p1 + p3)
}
