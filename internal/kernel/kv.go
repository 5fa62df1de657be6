// SPDX-License-Identifier: MIT

package kernel

import (
	"fmt"

	"github.com/shardnode/shardnode/internal/quant"
)

// kvTile is the number of positions whose keys are interleaved: one vector of the widest instruction set.
const kvTile = 16

// KVHead keeps the keys and values of one KV head of one layer for the positions of a session. Keys lie transposed in tiles of 16
// positions, so that neighbouring scores are neighbouring lanes; values lie by position.
type KVHead struct {
	positions, headDim int
	// One pair is set, by the type the head was made for.
	k16, v16 []uint16
	k32, v32 []float32 // k: [positions/16][headDim][16], v: [positions][headDim]
}

// NewKVHead allocates for positions 0..positions-1; t, how they are stored, is F16 or F32.
func NewKVHead(t quant.Type, positions, headDim int) (*KVHead, error) {
	if positions < 0 || headDim <= 0 {
		return nil, fmt.Errorf("KV head of %d positions and %d dimensions", positions, headDim)
	}
	h := &KVHead{positions: positions, headDim: headDim}
	nk, nv := (positions+kvTile-1)/kvTile*kvTile*headDim, positions*headDim
	switch t {
	case quant.F16:
		h.k16, h.v16 = make([]uint16, nk), make([]uint16, nv)
	case quant.F32:
		h.k32, h.v32 = make([]float32, nk), make([]float32, nv)
	default:
		return nil, fmt.Errorf("KV cache of type %v: use f16 or f32", t)
	}
	return h, nil
}

// KVHeadBytes returns the memory that NewKVHead takes.
func KVHeadBytes(t quant.Type, positions, headDim int) int64 {
	elems := int64((positions+kvTile-1)/kvTile*kvTile+positions) * int64(headDim)
	if t == quant.F16 {
		return 2 * elems
	}
	return 4 * elems
}

// Put stores key and value, [headDim] each, of a position, rounded to the head's type.
func (h *KVHead) Put(pos int, k, v []float32) {
	at := pos/kvTile*kvTile*h.headDim + pos%kvTile
	if h.k16 != nil {
		for d, x := range k[:h.headDim] {
			h.k16[at+d*kvTile] = quant.F32ToF16(x)
		}
		row := h.v16[pos*h.headDim:][:h.headDim]
		for d, x := range v[:h.headDim] {
			row[d] = quant.F32ToF16(x)
		}
		return
	}
	for d, x := range k[:h.headDim] {
		h.k32[at+d*kvTile] = x
	}
	copy(h.v32[pos*h.headDim:][:h.headDim], v[:h.headDim])
}
