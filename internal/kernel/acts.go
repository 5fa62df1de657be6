// SPDX-License-Identifier: MIT

package kernel

import (
	"fmt"
	"math"
)

// actBlock is the number of neighbouring activations of a row that share a scale. Every supported weight format's sub-block is
// as long, or half as long.
const actBlock = 32

// actPiece is the number of blocks that one thread quantises at a time.
const actPiece = 64

// Acts are activation rows prepared for matrix products: the float32 rows, and their int8 blocks once a quantised matrix
// has asked for them.
type Acts struct {
	maxRows, maxCols int

	x          []float32 // [rows][cols], the caller's
	rows, cols int
	quantized  bool
	// Blocks lie by column block, then row: a block of weights meets its activations side by side.
	q []int8    // [cols/32][rows][32]
	d []float32 // [cols/32][rows] scales
	s []float32 // [cols/32][rows] sum of the block's q, times its scale
}

// NewActs allocates for up to maxRows rows of up to maxCols columns.
func NewActs(maxRows, maxCols int) *Acts {
	blocks := maxRows * ((maxCols + actBlock - 1) / actBlock)
	return &Acts{
		maxRows: maxRows, maxCols: maxCols,
		q: make([]int8, blocks*actBlock), d: make([]float32, blocks), s: make([]float32, blocks),
	}
}

// Set points at x, [rows][cols], which must not change until the products that use it are done.
func (a *Acts) Set(x []float32, rows, cols int) {
	if rows < 0 || rows > a.maxRows || cols < 0 || cols > a.maxCols {
		panic(fmt.Sprintf("kernel: %d activation rows of %d columns in room for %d of %d", rows, cols, a.maxRows, a.maxCols))
	}
	a.x, a.rows, a.cols, a.quantized = x[:rows*cols], rows, cols, false
}

// Rows returns the number of rows set.
func (a *Acts) Rows() int { return a.rows }

// quantizePiece quantises the i-th piece of the blocks, counted row by row.
func (a *Acts) quantizePiece(i int) {
	blocks := a.cols / actBlock
	for n := i * actPiece; n < min((i+1)*actPiece, a.rows*blocks); n++ {
		to := n%blocks*a.rows + n/blocks
		a.d[to], a.s[to] = quantizeBlock((*[actBlock]int8)(a.q[to*actBlock:]), (*[actBlock]float32)(a.x[n*actBlock:]))
	}
}

// quantizeBlock rounds x to q, and returns the scale and the scale times the sum of q (docs/numerics.md §2).
func quantizeBlock(q *[actBlock]int8, x *[actBlock]float32) (d, s float32) {
	var top uint32 // magnitudes compare as integers, NaN above infinity
	for _, v := range x {
		top = max(top, math.Float32bits(v)&0x7fffffff)
	}
	amax := math.Float32frombits(top)
	switch {
	case top >= 0x7f800000:
		clear(q[:])
		nan := float32(math.NaN())
		return nan, nan
	case amax < 0x1p-120: // 127/amax would overflow soon
		clear(q[:])
		return 0, 0
	}
	d = amax / 127
	inv := 127 / amax
	var sum int32
	for i, v := range x {
		n := int32(math.Float32bits(float32(v*inv)+roundShift) - math.Float32bits(roundShift))
		q[i] = int8(n)
		sum += n
	}
	return d, float32(sum) * d
}
