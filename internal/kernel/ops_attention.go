// SPDX-License-Identifier: MIT

package kernel

import "unsafe"

// kvOps are the routines of attention over keys and values of a type.
type kvOps struct {
	put     func(k, v *byte, key, value *float32, dims int)
	queries func(d0, d1, d2, d3, q0, q1, q2, q3 *float32, k *byte, dims int)    // four queries, a tile of keys; any dims
	tiles   func(d0, d1, d2, d3, q *float32, k0, k1, k2, k3 *byte, dims int)    // a query, four tiles of keys; any dims
	mix4    func(d0, d1, d2, d3, e0, e1, e2, e3 *float32, v *byte, n, dims int) // four rows of scores, n values
	mix1    func(d, e *float32, v *byte, n, dims int)
}

// mixSpan is the number of positions whose values are used for all rows and heads at a time: they fit into the first cache.
const mixSpan = 64

// kv returns the routines for the head's type.
func (o *ops) kv(h *KVHead) *kvOps {
	if h.k16 == nil {
		return &o.kv32
	}
	return &o.kv16
}

// putRow stores the dimensions of key and value that the routines take, and returns how many.
//
//go:noinline
func (o *ops) putRow(h *KVHead, pos int, k, v []float32) int {
	n := whole(h.headDim)
	if n > 0 {
		o.kv(h).put(h.key(pos), h.value(pos), &k[:n][0], &v[:n][0], n)
	}
	return n
}

// attend is KVHead.Attend for head dimensions that are a multiple of vectorLanes.
func (o *ops) attend(h *KVHead, a *Attention) {
	kv, stride, units := o.kv(h), tiled(a.Pos+a.Rows), a.Rows*a.Heads
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
		o.scaleRow(h.out(a, u), 1/a.Scores[units*stride+u])
	}
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

// keyTile returns where the keys of a tile begin, whatever their type is.
func (h *KVHead) keyTile(first int) *byte {
	n := kvTile * h.headDim
	if at := first * h.headDim; h.k16 == nil {
		return (*byte)(unsafe.Pointer(&h.k32[at:][:n][0]))
	} else {
		return (*byte)(unsafe.Pointer(&h.k16[at:][:n][0]))
	}
}

// key returns where the key of a position begins: its elements lie a tile apart.
func (h *KVHead) key(pos int) *byte {
	at, n := h.keyAt(pos), (h.headDim-1)*kvTile+1
	if h.k16 == nil {
		return (*byte)(unsafe.Pointer(&h.k32[at:][:n][0]))
	}
	return (*byte)(unsafe.Pointer(&h.k16[at:][:n][0]))
}

// value returns where the values from a position on begin.
func (h *KVHead) value(pos int) *byte {
	at, n := pos*h.headDim, h.headDim
	if h.k16 == nil {
		return (*byte)(unsafe.Pointer(&h.v32[at:][:n][0]))
	}
	return (*byte)(unsafe.Pointer(&h.v16[at:][:n][0]))
}
