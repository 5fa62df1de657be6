// SPDX-License-Identifier: MIT

package kernel

import "math"

// blockElems is the length of an activation block.
const blockElems = 32

// Acts are the activations of some rows, made ready for matrices: the f32 values, and int8 blocks of 32 once a quantised matrix asks for them.
// It belongs to one goroutine; the buffers are allocated once.
type Acts struct {
	rows, cols int
	x          []float32 // [rows][cols], the caller's

	quantised bool
	q         []int8    // [rows][cols]
	d         []float32 // [rows][cols/32] scales
	s         []float32 // [rows][cols/32] scale times the sum of the block's q
}

// NewActs returns activations with room for maxRows rows of maxCols values.
func NewActs(maxRows, maxCols int) *Acts {
	n := maxRows * maxCols
	return &Acts{q: make([]int8, n), d: make([]float32, (n+blockElems-1)/blockElems), s: make([]float32, (n+blockElems-1)/blockElems)}
}

// Set takes x, [rows][cols], which must not change until the next Set.
func (a *Acts) Set(x []float32, rows, cols int) {
	a.x, a.rows, a.cols = x[:rows*cols], rows, cols
	a.quantised = false
}

// Rows returns the number of rows.
func (a *Acts) Rows() int { return a.rows }

// quantise fills the int8 blocks of row r.
func (a *Acts) quantise(r int) {
	blocks := a.cols / blockElems
	x := a.x[r*a.cols : (r+1)*a.cols]
	q := a.q[r*a.cols : (r+1)*a.cols]
	for b := range blocks {
		i := r*blocks + b
		a.d[i], a.s[i] = quantiseBlock((*[blockElems]int8)(q[b*blockElems:]), (*[blockElems]float32)(x[b*blockElems:]))
	}
}

// tiny is the magnitude below which a block counts as zero: 127/amax must be finite.
const tiny = float32(0x1p-120)

// quantiseBlock rounds a block to int8 (docs/numerics.md §2) and returns its scale, and the scale times the sum of q. A block with
// an infinity or NaN has scale NaN, so that whatever depends on it is NaN.
func quantiseBlock(q *[blockElems]int8, x *[blockElems]float32) (d, s float32) {
	var bits uint32 // magnitudes compare as unsigned integers, NaN above infinity
	for _, v := range x {
		bits = max(bits, math.Float32bits(v)&0x7fffffff)
	}
	amax := math.Float32frombits(bits)
	if bits >= 0x7f800000 {
		clear(q[:])
		nan := float32(math.NaN())
		return nan, nan
	}
	if amax < tiny {
		clear(q[:])
		return 0, 0
	}
	d = amax / 127
	inv := 127 / amax
	var sum int32
	for i, v := range x {
		n := roundEven(v * inv)
		q[i] = int8(n)
		sum += n
	}
	return d, float32(sum) * d
}

// roundEven rounds to the nearest integer, ties to even, for |x| < 2^22: the sum with 1.5·2^23 has no bits below one.
func roundEven(x float32) int32 {
	const shift = 0x1.8p23
	return int32(math.Float32bits(x+shift)) - int32(math.Float32bits(shift))
}
