// SPDX-License-Identifier: MIT

package kernel

import "unsafe"

// ops are a path's routines for what is not a product with weights. All of them take at least one element.
type ops struct {
	quantize func(q *int8, d, s *float32, sum *int32, x *float32, blocks, height, offset int)
	softmax  func(s *float32, n int, scale float32) float32 // in groups of 16
	swiglu   func(dst, gate, up *float32, n int)            // n is a multiple of 8
	squares  func(x *float32, n int) float32                // n is a multiple of 16
	norm     func(dst, x, w *float32, r float32, n int)     // n is a multiple of 8
	add      func(dst, x *float32, n int)                   // n is a multiple of 8
	kv16     kvOps
	kv32     kvOps
}

// kvOps are the routines of attention over keys and values of a type.
type kvOps struct {
	queries func(d0, d1, d2, d3, q0, q1, q2, q3 *float32, k *byte, dims int)    // four queries, a tile of keys
	tiles   func(d0, d1, d2, d3, q *float32, k0, k1, k2, k3 *byte, dims int)    // a query, four tiles of keys
	mix4    func(d0, d1, d2, d3, e0, e1, e2, e3 *float32, v *byte, n, dims int) // four rows of scores, n values
	mix1    func(d, e *float32, v *byte, n, dims int)                           // dims is a multiple of 32
}

// vectorLanes is what the routines for elements take a multiple of; the rest of a row is computed in Go.
const vectorLanes = 8

// activeOps are those of the functions that have no pool; nil where the path has none.
var activeOps = opsOf(active)

// quantizeBlocks quantises neighbouring blocks of a row into tiles of that height, for weights with that offset.
//
//go:noinline
func (o *ops) quantizeBlocks(q []int8, d, s []float32, sum []int32, x []float32, blocks, height, offset int) {
	o.quantize(&q[0], &d[0], &s[0], &sum[0], &x[0], blocks, height, offset)
}

// swigluRow is SwiGLU.
//
//go:noinline
func (o *ops) swigluRow(dst, gate, up []float32) {
	n := len(dst) / vectorLanes * vectorLanes
	if n > 0 {
		o.swiglu(&dst[0], &gate[:n][0], &up[:n][0], n)
	}
	swigluPortable(dst[n:], gate[n:], up[n:])
}

// addRow is Add.
//
//go:noinline
func (o *ops) addRow(dst, x []float32) {
	n := len(dst) / vectorLanes * vectorLanes
	if n > 0 {
		o.add(&dst[0], &x[:n][0], n)
	}
	addPortable(dst[n:], x[n:])
}

// normRow is RMSNorm for rows of whole groups of lanes.
//
//go:noinline
func (o *ops) normRow(dst, x, w []float32, eps float32) {
	n := len(x)
	r := rootMean(o.squares(&x[0], n), n, eps)
	o.norm(&dst[:n][0], &x[0], &w[:n][0], r, n)
}

// mixSpan is the number of positions whose values are used for all rows and heads at a time: they fit into the first cache.
const mixSpan = 64

// attend is KVHead.Attend for head dimensions that are a multiple of 32.
func (o *ops) attend(h *KVHead, a *Attention) {
	kv, stride, units := &o.kv16, tiled(a.Pos+a.Rows), a.Rows*a.Heads
	if h.k16 == nil {
		kv = &o.kv32
	}
	if units == 1 {
		for first := 0; first < stride; first += 4 * kvTile {
			kv.scoreTiles(h, a, first, stride-kvTile)
		}
	} else {
		for first := 0; first < stride; first += kvTile {
			for u := max(0, first-a.Pos) * a.Heads; u < units; u += 4 {
				kv.scoreQueries(h, a, first, u)
			}
		}
	}
	for u := range units {
		a.Scores[units*stride+u] = o.softmaxRow(a.Scores[u*stride:][:stride], a.Pos+u/a.Heads+1, a.Scale)
		clear(h.out(a, u)) // the queries are not needed any more
	}
	for first := 0; first < a.Pos+a.Rows; first += mixSpan {
		for u := max(0, first-a.Pos) * a.Heads; u < units; {
			u += kv.mixUnits(h, a, first, u)
		}
	}
	for u := range units {
		inv := 1 / a.Scores[units*stride+u]
		out := h.out(a, u)
		for d := range out {
			out[d] *= inv
		}
	}
}

//go:noinline
func (o *ops) softmaxRow(s []float32, n int, scale float32) float32 {
	return o.softmax(&s[:tiled(n)][0], n, scale)
}

// scoreTiles computes the scores of the only unit for four tiles of positions, the last one several times at the end.
//
//go:noinline
func (kv *kvOps) scoreTiles(h *KVHead, a *Attention, first, last int) {
	f1, f2, f3 := min(first+kvTile, last), min(first+2*kvTile, last), min(first+3*kvTile, last)
	s := a.Scores
	kv.tiles(&s[first], &s[f1], &s[f2], &s[f3], &a.Q[:h.headDim][0], h.keyTile(first), h.keyTile(f1), h.keyTile(f2), h.keyTile(f3), h.headDim)
}

// scoreQueries computes the scores of four units from u on for a tile of positions, of the last one several times at the end.
//
//go:noinline
func (kv *kvOps) scoreQueries(h *KVHead, a *Attention, first, u int) {
	stride, last := tiled(a.Pos+a.Rows), a.Rows*a.Heads-1
	u1, u2, u3 := min(u+1, last), min(u+2, last), min(u+3, last)
	s := a.Scores[first:]
	kv.queries(&s[u*stride], &s[u1*stride], &s[u2*stride], &s[u3*stride], h.query(a, u), h.query(a, u1), h.query(a, u2), h.query(a, u3), h.keyTile(first), h.headDim)
}

// mixUnits adds the values of mixSpan positions to one or four units from u on, and returns how many.
//
//go:noinline
func (kv *kvOps) mixUnits(h *KVHead, a *Attention, first, u int) int {
	stride, units := tiled(a.Pos+a.Rows), a.Rows*a.Heads
	seen := func(u int) int { return min(mixSpan, a.Pos+u/a.Heads+1-first) }
	rest := func(u, n int) { // positions that the other units do not see
		if more := seen(u) - n; more > 0 {
			kv.mix1(&h.out(a, u)[0], &a.Scores[u*stride+first+n], h.value(first+n), more, h.headDim)
		}
	}
	if u+4 > units {
		rest(u, 0)
		return 1
	}
	n, s := seen(u), a.Scores[u*stride+first:]
	kv.mix4(&h.out(a, u)[0], &h.out(a, u+1)[0], &h.out(a, u+2)[0], &h.out(a, u+3)[0], &s[0], &s[stride], &s[2*stride], &s[3*stride], h.value(first), n, h.headDim)
	for i := 1; i < 4; i++ {
		rest(u+i, n)
	}
	return 4
}

// query returns the query of unit u.
func (h *KVHead) query(a *Attention, u int) *float32 {
	return &a.Q[u/a.Heads*a.Stride+u%a.Heads*h.headDim:][:h.headDim][0]
}

// keyTile and value return where keys of a tile and values from a position on begin, whatever their type is.
func (h *KVHead) keyTile(first int) *byte {
	n := kvTile * h.headDim
	if at := first * h.headDim; h.k16 == nil {
		return (*byte)(unsafe.Pointer(&h.k32[at:][:n][0]))
	} else {
		return (*byte)(unsafe.Pointer(&h.k16[at:][:n][0]))
	}
}

func (h *KVHead) value(pos int) *byte {
	if at := pos * h.headDim; h.k16 == nil {
		return (*byte)(unsafe.Pointer(&h.v32[at]))
	} else {
		return (*byte)(unsafe.Pointer(&h.v16[at]))
	}
}
