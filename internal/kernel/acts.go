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

	// Blocks lie by tile of height rows, then column block, then row of the tile: a block of weights meets its activations side by
	// side. The last tile is filled up with zeros.
	height int       // 0 until quantised
	q      []int8    // [tiles][cols/32][height][32]
	d      []float32 // [tiles][cols/32][height] scales
	s      []float32 // [tiles][cols/32][height] sum of the block's q, times its scale
	sum    []int32   // [tiles][cols/32][sums][height] sums of q: of the block, its first half and its second half
}

// sums is the number of integer sums of a block.
const sums = 3

// NewActs allocates for up to maxRows rows of up to maxCols columns.
func NewActs(maxRows, maxCols int) *Acts {
	blocks := (maxRows + tileRows - 1) / tileRows * tileRows * ((maxCols + actBlock - 1) / actBlock)
	return &Acts{
		maxRows: maxRows, maxCols: maxCols,
		q: make([]int8, blocks*actBlock), d: make([]float32, blocks), s: make([]float32, blocks), sum: make([]int32, blocks*sums),
	}
}

// Set points at x, [rows][cols], which must not change until the products that use it are done.
func (a *Acts) Set(x []float32, rows, cols int) {
	if rows < 0 || rows > a.maxRows || cols < 0 || cols > a.maxCols {
		panic(fmt.Sprintf("kernel: %d activation rows of %d columns in room for %d of %d", rows, cols, a.maxRows, a.maxCols))
	}
	a.x, a.rows, a.cols, a.height = x[:rows*cols], rows, cols, 0
}

// Rows returns the number of rows set.
func (a *Acts) Rows() int { return a.rows }

// padded returns the number of rows of all tiles.
func (a *Acts) padded() int { return (a.rows + a.height - 1) / a.height * a.height }

// quantizePiece quantises the i-th piece of the blocks, counted row by row.
func (a *Acts) quantizePiece(i int, o *ops) {
	blocks := a.cols / actBlock
	for n, end := i*actPiece, min((i+1)*actPiece, a.padded()*blocks); n < end; {
		row, b := n/blocks, n%blocks
		run := min(end-n, blocks-b) // blocks of the same row
		if o != nil && row < a.rows {
			to := a.place(row, b)
			first := to - row%a.height
			o.quantizeBlocks(a.q[to*actBlock:], a.d[to:], a.s[to:], a.sum[first*sums+row%a.height:], a.x[n*actBlock:], run, a.height)
		} else {
			for ; b < n%blocks+run; b++ {
				a.quantizeOne(row, b)
			}
		}
		n += run
	}
}

// place returns where a block lies.
func (a *Acts) place(row, b int) int {
	return row/a.height*(a.cols/actBlock)*a.height + b*a.height + row%a.height
}

// quantizeOne quantises block b of a row, or clears it in a row that is there only to fill a tile up.
func (a *Acts) quantizeOne(row, b int) {
	to := a.place(row, b)
	q, sum := (*[actBlock]int8)(a.q[to*actBlock:]), a.sum[(to-row%a.height)*sums+row%a.height:]
	var lo, hi int32
	if row < a.rows {
		a.d[to], a.s[to], lo, hi = quantizeBlock(q, (*[actBlock]float32)(a.x[row*a.cols+b*actBlock:]))
	} else {
		clear(q[:])
		a.d[to], a.s[to] = 0, 0
	}
	sum[0], sum[a.height], sum[2*a.height] = lo+hi, lo, hi
}

// quantizeBlock rounds x to q, and returns the scale, the scale times the sum of q, and the sums of both halves of q
// (docs/numerics.md §2).
func quantizeBlock(q *[actBlock]int8, x *[actBlock]float32) (d, s float32, lo, hi int32) {
	var top uint32 // magnitudes compare as integers, NaN above infinity
	for _, v := range x {
		top = max(top, math.Float32bits(v)&0x7fffffff)
	}
	amax := math.Float32frombits(top)
	switch {
	case top >= 0x7f800000:
		clear(q[:])
		nan := float32(math.NaN())
		return nan, nan, 0, 0
	case amax < 0x1p-120: // 127/amax would overflow soon
		clear(q[:])
		return 0, 0, 0, 0
	}
	d = amax / 127
	inv := 127 / amax
	for i, v := range x[:actBlock/2] {
		n := nearest(float32(v * inv))
		q[i] = int8(n)
		lo += n
	}
	for i, v := range x[actBlock/2:] {
		n := nearest(float32(v * inv))
		q[actBlock/2+i] = int8(n)
		hi += n
	}
	return d, float32(lo+hi) * d, lo, hi
}

// nearest rounds x to an integer, ties to even.
func nearest(x float32) int32 {
	return int32(math.Float32bits(x+roundShift) - math.Float32bits(roundShift))
}
