// SPDX-License-Identifier: MIT

package kernel

// kvOps are the routines of attention over keys and values of a type. dims of put and mix is a multiple of vectorLanes.
type kvOps struct {
	put func(k, v *byte, key, value *float32, dims int)

	// Products of four, two or one queries with tiles of keys; and of as many rows of scores with n values, added to d.
	scores4 func(d0, d1, d2, d3, q0, q1, q2, q3 *float32, k *byte, dims, tiles int)
	scores2 func(d0, d1, q0, q1 *float32, k *byte, dims, tiles int)
	scores1 func(d, q *float32, k *byte, dims, tiles int)
	mix4    func(d0, d1, d2, d3, e0, e1, e2, e3 *float32, v *byte, n, dims int)
	mix2    func(d0, d1, e0, e1 *float32, v *byte, n, dims int)
	mix1    func(d, e *float32, v *byte, n, dims int)
}

// pageEnd returns the first position behind the page of pos: keys and values are used page by page for all rows and heads.
func pageEnd(pos int) int { return (pos/KVPage + 1) * KVPage }

// kv returns the routines for the head's type.
func (o *ops) kv(h *KVHead) *kvOps {
	if !h.narrow() {
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
		o.kv(h).put(h.key(pos), h.valuesAt(pos, 1), &k[:n][0], &v[:n][0], n)
	}
	return n
}

// attend is KVHead.Attend for head dimensions that are a multiple of vectorLanes.
func (o *ops) attend(h *KVHead, a *Attention) {
	kv, stride, units := o.kv(h), a.stride(), a.Rows*a.Heads
	for first := a.base(); first < a.Pos+a.Rows; first = pageEnd(first) {
		for u := max(0, first-a.Pos) * a.Heads; u < units; {
			u += kv.scoreUnits(h, a, first, u)
		}
	}
	for u := range units {
		s := a.Scores[u*stride+a.base() : (u+1)*stride]
		n, scale := a.finish(s, u)
		a.Scores[units*stride+u] = o.softmaxRow(s, n, scale)
		clear(h.out(a, u)) // the queries are not needed any more
	}
	for first := a.from; first < a.Pos+a.Rows; first = pageEnd(first) {
		for u := max(0, first-a.Pos) * a.Heads; u < units; {
			u += kv.mixUnits(h, a, first, u)
		}
	}
	for u := range units {
		o.scaleRow(h.out(a, u), 1/a.Scores[units*stride+u])
	}
}

// scoreUnits computes the scores of the positions from first to its page's end for four, two or one units from u on, and returns how many. Those of positions that a unit
// does not see mean nothing.
//
//go:noinline
func (kv *kvOps) scoreUnits(h *KVHead, a *Attention, first, u int) int {
	stride, n := a.stride(), min(pageEnd(first), tiled(a.Pos+a.Rows))-first
	k := h.keyTiles(first, n)
	score := func(u int) *float32 { return &a.Scores[u*stride+first:][:n][0] }
	query := func(u int) *float32 { return &a.Q[u/a.Heads*a.Stride+u%a.Heads*h.headDim:][:h.headDim][0] }
	switch left := a.Rows*a.Heads - u; {
	case left >= 4:
		kv.scores4(score(u), score(u+1), score(u+2), score(u+3), query(u), query(u+1), query(u+2), query(u+3), k, h.headDim, n/kvTile)
		return 4
	case left >= 2:
		kv.scores2(score(u), score(u+1), query(u), query(u+1), k, h.headDim, n/kvTile)
		return 2
	default:
		kv.scores1(score(u), query(u), k, h.headDim, n/kvTile)
		return 1
	}
}

// mixUnits adds the values of the positions from first to its page's end to four, two or one units from u on, and returns how many.
//
//go:noinline
func (kv *kvOps) mixUnits(h *KVHead, a *Attention, first, u int) int {
	stride := a.stride()
	seen := func(u int) int { return min(pageEnd(first), a.Pos+u/a.Heads+1) - first }
	score := func(u int) *float32 { return &a.Scores[u*stride+first:][:seen(u)][0] }
	out := func(u int) *float32 { return &h.out(a, u)[0] }
	n, v := seen(u), h.valuesAt(first, seen(u)) // units further on see at least as many
	together := 1
	switch left := a.Rows*a.Heads - u; {
	case left >= 4:
		kv.mix4(out(u), out(u+1), out(u+2), out(u+3), score(u), score(u+1), score(u+2), score(u+3), v, n, h.headDim)
		together = 4
	case left >= 2:
		kv.mix2(out(u), out(u+1), score(u), score(u+1), v, n, h.headDim)
		together = 2
	default:
		kv.mix1(out(u), score(u), v, n, h.headDim)
	}
	for i := u + 1; i < u+together; i++ {
		if more := seen(i) - n; more > 0 {
			kv.mix1(out(i), &a.Scores[i*stride+first+n:][:more][0], h.valuesAt(first+n, more), more, h.headDim)
		}
	}
	return together
}

// keyTiles, key and valuesAt return where the keys of n positions of one page, in whole tiles, the key of one, whose elements lie a tile
// apart, and the values of n positions of one page begin, whatever their type is.
func (h *KVHead) keyTiles(first, n int) *byte {
	page, i := h.keyAt(first)
	return &h.bytes(page, i, n*h.headDim)[0]
}

func (h *KVHead) key(pos int) *byte {
	page, i := h.keyAt(pos)
	return &h.bytes(page, i, (h.headDim-1)*kvTile+1)[0]
}

func (h *KVHead) valuesAt(first, n int) *byte {
	page, i := h.valueAt(first)
	return &h.bytes(page, i, n*h.headDim)[0]
}
