// SPDX-License-Identifier: MIT

package kernel

import "math"

// ops are a path's routines for what is not a product with weights. All of them take at least one element, and n, pairs and dims that are
// a multiple of 8 where nothing else is said.
type ops struct {
	quantize  func(q *int8, d, s *float32, sum *int32, x *float32, blocks, height, factor int)
	remainder func(dst, x *float32, q *int8, d *float32, blocks int)
	softmax   func(s *float32, n int, scale float32) float32 // in groups of 16
	swiglu    func(dst, gate, up *float32, n int)
	geglu     func(dst, gate, up *float32, n int)
	clamped   func(dst, gate, up *float32, n int)
	softCap   func(x *float32, limit, by float32, n int)
	squares   func(x *float32, n int) float32 // n is a multiple of 16
	norm      func(dst, x, w *float32, r float32, n int)
	add       func(dst, x *float32, n int)
	scale     func(x *float32, by float32, n int)
	ropeNorm  func(x, cos, sin *float32, pairs int)
	ropeNeox  func(x0, x1, cos, sin *float32, pairs int)
	argMax    func(x *float32, n int) int
	maxima    func(dst, x *float32, blocks int)
	weights   func(dst, x *float32, top, temperature float32, n int)
	kv16      kvOps
	kv32      kvOps
}

// vectorLanes is what the routines for elements take a multiple of; the rest of a row is computed in Go.
const vectorLanes = 8

// whole returns how many of n elements the routines take.
func whole(n int) int { return n / vectorLanes * vectorLanes }

// activeOps are those of the functions that have no pool; nil where the path has none.
var activeOps = opsOf(active)

// quantizeBlocks quantises neighbouring blocks of a row into tiles of that height, their sums times factor.
//
//go:noinline
func (o *ops) quantizeBlocks(q []int8, d, s []float32, sum []int32, x []float32, blocks, height, factor int) {
	o.quantize(&q[0], &d[0], &s[0], &sum[0], &x[0], blocks, height, factor)
}

// remainderBlocks is remainderPortable for neighbouring blocks that are quantised.
//
//go:noinline
func (o *ops) remainderBlocks(dst, x []float32, q []int8, d []float32, blocks int) {
	n := blocks * actBlock
	o.remainder(&dst[:n][0], &x[:n][0], &q[:n][0], &d[:blocks][0], blocks)
}

// swigluRow is SwiGLU.
//
//go:noinline
func (o *ops) swigluRow(dst, gate, up []float32) {
	n := whole(len(dst))
	if n > 0 {
		o.swiglu(&dst[0], &gate[:n][0], &up[:n][0], n)
	}
	swigluPortable(dst[n:], gate[n:], up[n:])
}

// gegluRow is GeGLU.
//
//go:noinline
func (o *ops) gegluRow(dst, gate, up []float32) {
	n := whole(len(dst))
	if n > 0 {
		o.geglu(&dst[0], &gate[:n][0], &up[:n][0], n)
	}
	gegluPortable(dst[n:], gate[n:], up[n:])
}

// swigluClampedRow is SwiGLUClamped.
//
//go:noinline
func (o *ops) swigluClampedRow(dst, gate, up []float32) {
	n := whole(len(dst))
	if n > 0 {
		o.clamped(&dst[0], &gate[:n][0], &up[:n][0], n)
	}
	swigluClampedPortable(dst[n:], gate[n:], up[n:])
}

// softCapPiece is how many elements one call bends: the logits of a large vocabulary take several.
const softCapPiece = 1 << 16

// softCapRow is SoftCap.
func (o *ops) softCapRow(x []float32, limit float32) {
	for ; len(x) > softCapPiece; x = x[softCapPiece:] {
		o.softCapPart(x[:softCapPiece], limit)
	}
	o.softCapPart(x, limit)
}

//go:noinline
func (o *ops) softCapPart(x []float32, limit float32) {
	n := whole(len(x))
	if n > 0 {
		o.softCap(&x[0], limit, -2/limit, n)
	}
	softCapPortable(x[n:], limit)
}

// addRow is Add.
//
//go:noinline
func (o *ops) addRow(dst, x []float32) {
	n := whole(len(dst))
	if n > 0 {
		o.add(&dst[0], &x[:n][0], n)
	}
	addPortable(dst[n:], x[n:])
}

// ropeNormRow is RopeNorm.
//
//go:noinline
func (o *ops) ropeNormRow(x, cos, sin []float32) {
	n := whole(len(cos))
	if n > 0 {
		o.ropeNorm(&x[:2*n][0], &cos[0], &sin[:n][0], n)
	}
	ropeNormPortable(x[2*n:], cos[n:], sin[n:])
}

// ropeNeoxRow is RopeNeox for the two halves of a head's rotary part.
//
//go:noinline
func (o *ops) ropeNeoxRow(x0, x1, cos, sin []float32) {
	n := whole(len(cos))
	if n > 0 {
		o.ropeNeox(&x0[:n][0], &x1[:n][0], &cos[0], &sin[:n][0], n)
	}
	ropeNeoxPortable(x0[n:], x1[n:], cos[n:], sin[n:])
}

// argMaxRow is ArgMax.
//
//go:noinline
func (o *ops) argMaxRow(x []float32) int {
	n := whole(len(x))
	if n == 0 {
		return argMaxPortable(x)
	}
	at := o.argMax(&x[0], n)
	top := x[at]
	if top != top { // at is 0, since there is nothing above -Inf
		top = float32(math.Inf(-1))
	}
	for i, v := range x[n:] {
		if v > top {
			top, at = v, n+i
		}
	}
	return at
}

// maximaRow is Maxima.
//
//go:noinline
func (o *ops) maximaRow(dst, x []float32) {
	blocks := len(x) / MaximaBlock
	if blocks > 0 {
		o.maxima(&dst[:blocks][0], &x[0], blocks)
	}
	maximaPortable(dst[blocks:], x[blocks*MaximaBlock:])
}

// weightsRow is Weights.
//
//go:noinline
func (o *ops) weightsRow(dst, x []float32, top, temperature float32) {
	n := whole(len(dst))
	if n > 0 {
		o.weights(&dst[0], &x[:n][0], top, temperature, n)
	}
	weightsPortable(dst[n:], x[n:], top, temperature)
}

// normRow is RMSNorm for rows of whole groups of lanes.
//
//go:noinline
func (o *ops) normRow(dst, x, w []float32, eps float32) {
	n := len(x)
	r := rootMean(o.squares(&x[0], n), n, eps)
	o.norm(&dst[:n][0], &x[0], &w[:n][0], r, n)
}

// scaleRow multiplies the elements of x, a multiple of vectorLanes.
//
//go:noinline
func (o *ops) scaleRow(x []float32, by float32) { o.scale(&x[0], by, len(x)) }

// softmaxRow is softmax for n scores, and returns sumStrided of the results. It writes to whole tiles.
//
//go:noinline
func (o *ops) softmaxRow(s []float32, n int, scale float32) float32 {
	return o.softmax(&s[:tiled(n)][0], n, scale)
}
