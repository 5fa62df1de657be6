// SPDX-License-Identifier: MIT

package kernel

import (
	"cmp"
	"fmt"

	"github.com/shardnode/shardnode/internal/quant"
)

const (
	// pieceBytes is about how many bytes of weights a thread claims at a time: smaller pieces break the processor's prefetching.
	pieceBytes = 128 << 10
	// piecesPerThread keeps all threads busy to the end where a matrix is small.
	piecesPerThread = 4
	// rowTile is what the number of weight rows of a piece is a multiple of: two panels.
	rowTile = 2 * panelRows
	// actTile is the number of activation rows that a weight block is used for after it has been decoded.
	actTile = 64
)

// matMulJob is the matrix product a pool is computing.
type matMulJob struct {
	dst  []float32 // [a.rows][m.Rows]
	m    *Matrix
	a    *Acts
	rows int // weight rows of a piece

	ahead int // bytes
}

// MatMul computes dst = a·mᵀ, [a.Rows()][m.Rows], on all threads of the pool (docs/numerics.md §2 and §3). An element depends on
// its weight row and its activation row alone. MatMul allocates nothing.
func (p *Pool) MatMul(dst []float32, m *Matrix, a *Acts) {
	if a.cols != m.Cols || len(dst) < a.rows*m.Rows {
		panic(fmt.Sprintf("kernel: product of %d rows of %d with a matrix of %dx%d into %d elements", a.rows, a.cols, m.Rows, m.Cols, len(dst)))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	rows := min(pieceBytes/m.rowBytes, m.Rows/(piecesPerThread*p.threads))
	p.job = matMulJob{dst: dst, m: m, a: a, rows: (rows/rowTile + 1) * rowTile, ahead: p.ahead}
	if isQuantized(m.Type) {
		if height, offset := m.tileHeight(a.rows), offsetOf(m.Type); a.height != height || offset != 0 && offset != a.offset {
			a.height, a.offset = height, cmp.Or(offset, offsetOf(quant.Q6_K)) // which most files mix with types without
			p.run(a.pieces(), p.quantize)
		}
	}
	p.run((m.Rows+p.job.rows-1)/p.job.rows, p.product)
	p.job = matMulJob{} // keep nothing alive
}

// isQuantized reports whether products with weights of type t use the int8 blocks of the activations.
func isQuantized(t quant.Type) bool { return t != quant.F32 && t != quant.F16 && t != quant.BF16 }

// offsetOf returns what routines for panels take from each weight of type t, all at once by the sums of the activations; 0 for nothing.
func offsetOf(t quant.Type) int {
	switch t {
	case quant.Q8_0, quant.IQ4_NL, quant.IQ4_XS:
		return 128
	case quant.MXFP4:
		return 12
	case quant.Q3_K:
		return 4
	case quant.Q2_K:
		return 1 // nothing, but the sums are needed for what is the same for all weights of a half
	case quant.Q4_0:
		return 8
	case quant.Q5_0:
		return 16
	case quant.Q6_K:
		return 32
	default:
		return 0
	}
}

// tileHeight returns the height of the tiles that quantised products of n activation rows are computed by: all of them where there
// are no panels.
func (m *Matrix) tileHeight(n int) int {
	if m.panels == nil {
		return max(n, 1)
	}
	return m.tiles.height()
}

func (p *Pool) quantizePiece(_, i int) { p.job.a.quantizePiece(i, p.ops) }

// matMulPiece computes the columns of dst that belong to the i-th piece of the weight rows.
func (p *Pool) matMulPiece(worker, i int) {
	j := &p.job
	end := min((i+1)*j.rows, j.m.Rows)
	switch {
	case j.m.panels == nil:
	case isQuantized(j.m.Type):
		j.panelPiece(&p.out[worker], i*j.rows, end)
		return
	default:
		j.floatPiece(&p.out[worker], i*j.rows, end)
		return
	}
	for t := 0; t < j.a.rows; t += actTile {
		n := min(actTile, j.a.rows-t)
		r := i * j.rows
		switch {
		case !isQuantized(j.m.Type):
			for ; r < end; r++ {
				j.floatRow(r, t, n)
			}
		case n >= packedRows:
			for ; r+packedRows <= end; r += packedRows {
				j.packedRows(r, t, n)
			}
			fallthrough
		default:
			for ; r < end; r++ {
				j.quantRow(r, t, n)
			}
		}
	}
}
