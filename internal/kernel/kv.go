// SPDX-License-Identifier: MIT

package kernel

import (
	"fmt"
	"unsafe"

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
	return makeKVHead(nil, t, positions, headDim)
}

// NewKVHead allocates a [KVHead] in m.
func (m *Memory) NewKVHead(t quant.Type, positions, headDim int) (*KVHead, error) {
	return makeKVHead(m, t, positions, headDim)
}

func makeKVHead(mem *Memory, t quant.Type, positions, headDim int) (h *KVHead, err error) {
	if positions < 0 || headDim <= 0 {
		return nil, fmt.Errorf("KV head of %d positions and %d dimensions: neither can be less than that", positions, headDim)
	}
	h = &KVHead{positions: positions, headDim: headDim}
	switch keys, values := tiled(positions)*headDim, positions*headDim; t {
	case quant.F16:
		if h.k16, err = numbers[uint16](mem, keys); err == nil {
			h.v16, err = numbers[uint16](mem, values)
		}
	case quant.F32:
		if h.k32, err = numbers[float32](mem, keys); err == nil {
			h.v32, err = numbers[float32](mem, values)
		}
	default:
		return nil, fmt.Errorf("KV cache of type %v: use F16 or F32", t)
	}
	return h, err
}

// numbers returns n zeros in mem, or in the garbage collector's heap without one.
func numbers[T uint16 | float32](mem *Memory, n int) ([]T, error) {
	if mem == nil || n == 0 {
		return make([]T, n), nil
	}
	var zero T
	b, err := mem.alloc(n * int(unsafe.Sizeof(zero)))
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&b[0])), n), nil
}

// KVHeadBytes returns the memory that [Memory.NewKVHead] takes.
func KVHeadBytes(t quant.Type, positions, headDim int) int64 {
	size := int64(4)
	if t == quant.F16 {
		size = 2
	}
	size *= int64(headDim)
	return MemoryBytes(int64(tiled(positions))*size) + MemoryBytes(int64(positions)*size)
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
