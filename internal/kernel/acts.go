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

	// Blocks lie by tile of rows, then column block, then row of the tile: a block of weights meets its activations side by
	// side. Tiles have height rows; those that remain are cut into halves of it, quarters and so on.
	height int       // 0 until quantised
	offset int       // of the weights that the sums are for
	q      []int8    // [tiles][cols/32][rows of the tile][32]
	d      []float32 // [tiles][cols/32][rows of the tile] scales
	s      []float32 // [tiles][cols/32][rows of the tile] sum of the block's q, times its scale
	sum    []int32   // [tiles][cols/32][sums][rows of the tile] sums of q, times -offset: of the block, its first half and its second half
}

// sums is the number of integer sums of a block.
const sums = 3

// actBlocks is the number of blocks that there is room for.
func actBlocks(maxRows, maxCols int) int {
	return maxRows * ((maxCols + actBlock - 1) / actBlock)
}

// ActsBytes returns the memory that [NewActs] takes.
func ActsBytes(maxRows, maxCols int) int64 {
	return int64(actBlocks(maxRows, maxCols)) * (actBlock + 4 + 4 + 4*sums)
}

// NewActs allocates for up to maxRows rows of up to maxCols columns.
func NewActs(maxRows, maxCols int) *Acts {
	blocks := actBlocks(maxRows, maxCols)
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

// tile returns the tile that a row belongs to.
func (a *Acts) tile(row int) (first, height int) {
	first, height = row/a.height*a.height, a.height
	for first+height > a.rows || first+height <= row {
		if first+height <= row {
			first += height
		}
		height /= 2
	}
	return first, height
}

// pieces returns how many pieces the blocks are cut into for quantising: some neighbouring blocks of all rows of a tile, which share
// cache lines. Rows beyond the last whole tile count as one.
func (a *Acts) pieces() int {
	return (a.rows + a.height - 1) / a.height * a.spans()
}

// spans returns the pieces of a tile.
func (a *Acts) spans() int { return (a.cols/actBlock + a.span() - 1) / a.span() }

// span returns the blocks of a row that a piece has.
func (a *Acts) span() int { return max(1, actPiece/a.height) }

// quantizePiece quantises the i-th piece.
func (a *Acts) quantizePiece(i int, o *ops) {
	blocks, top := a.cols/actBlock, i/a.spans()*a.height
	b := i % a.spans() * a.span()
	n := min(a.span(), blocks-b)
	for row := top; row < min(top+a.height, a.rows); row++ {
		first, height := a.tile(row)
		to := first*blocks + b*height // of the tile's first row
		x, in := a.x[row*a.cols+b*actBlock:], row-first
		if o != nil {
			o.quantizeBlocks(a.q[(to+in)*actBlock:], a.d[to+in:], a.s[to+in:], a.sum[to*sums+in:], x, n, height, -a.offset)
			continue
		}
		for k := range n {
			at := to + k*height
			q, sum := (*[actBlock]int8)(a.q[(at+in)*actBlock:]), a.sum[at*sums+in:]
			var lo, hi int32
			a.d[at+in], a.s[at+in], lo, hi = quantizeBlock(q, (*[actBlock]float32)(x[k*actBlock:]))
			lo, hi = -lo*int32(a.offset), -hi*int32(a.offset)
			sum[0], sum[height], sum[2*height] = lo+hi, lo, hi
		}
	}
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
