// SPDX-License-Identifier: MIT

package kernel

import (
	"fmt"

	"github.com/shardnode/shardnode/internal/quant"
)

// kvTile is the number of positions whose keys are interleaved: one vector of the widest instruction set.
const kvTile = 16

// KVHead keeps keys and values of one KV head of one layer for the positions of a session. Keys lie transposed in tiles of 16
// positions, so that neighbouring scores are neighbouring lanes; values lie by position.
type KVHead struct {
	positions, headDim int
	// One pair is set: keys [positions/16, rounded up][headDim][16], values [positions][headDim].
	k16, v16 []uint16
	k32, v32 []float32
}

// NewKVHead allocates for positions 0 to positions-1, stored as t: F16 or F32.
func NewKVHead(t quant.Type, positions, headDim int) (*KVHead, error) {
	if positions < 0 || headDim <= 0 {
		return nil, fmt.Errorf("KV head of %d positions and %d dimensions: neither can be less than that", positions, headDim)
	}
	h := &KVHead{positions: positions, headDim: headDim}
	switch keys, values := tiled(positions)*headDim, positions*headDim; t {
	case quant.F16:
		h.k16, h.v16 = make([]uint16, keys), make([]uint16, values)
	case quant.F32:
		h.k32, h.v32 = make([]float32, keys), make([]float32, values)
	default:
		return nil, fmt.Errorf("KV cache of type %v: use F16 or F32", t)
	}
	return h, nil
}

// KVHeadBytes returns the memory that NewKVHead takes.
func KVHeadBytes(t quant.Type, positions, headDim int) int64 {
	n := (int64(tiled(positions)) + int64(positions)) * int64(headDim)
	if t == quant.F16 {
		return 2 * n
	}
	return 4 * n
}

// tiled rounds a number of positions up to whole tiles.
func tiled(positions int) int { return (positions + kvTile - 1) / kvTile * kvTile }

// Put stores key and value of a position, [headDim] each, rounded to the head's type.
func (h *KVHead) Put(pos int, k, v []float32) {
	done := 0
	if activeOps != nil {
		done = activeOps.putRow(h, pos, k, v)
	}
	h.putPortable(pos, done, k, v)
}

// putPortable stores the dimensions from d on.
func (h *KVHead) putPortable(pos, d int, k, v []float32) {
	k, v = k[d:h.headDim], v[d:h.headDim]
	key, value := h.keyAt(pos)+d*kvTile, pos*h.headDim+d
	if h.k16 == nil {
		copy(h.v32[value:][:len(v)], v)
		for i, x := range k {
			h.k32[key+i*kvTile] = x
		}
		return
	}
	for i, x := range v {
		h.v16[value+i] = quant.F32ToF16(x)
	}
	for i, x := range k {
		h.k16[key+i*kvTile] = quant.F32ToF16(x)
	}
}

// keyAt returns where the first element of a position's key lies; the next ones lie a tile apart.
func (h *KVHead) keyAt(pos int) int { return pos/kvTile*kvTile*h.headDim + pos%kvTile }
