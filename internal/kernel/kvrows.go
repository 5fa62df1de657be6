// SPDX-License-Identifier: MIT

package kernel

import (
	"encoding/binary"
	"math"
)

// RowBytes returns the bytes of one position in the form of AppendRow: keys, then values.
func (h *KVHead) RowBytes() int {
	if h.k16 != nil {
		return 4 * h.headDim
	}
	return 8 * h.headDim
}

// AppendRow appends keys and values of a position as they are stored, little-endian: what SetRow takes.
func (h *KVHead) AppendRow(dst []byte, pos int) []byte {
	key, value := h.keyAt(pos), pos*h.headDim
	if h.k16 == nil {
		for d := range h.headDim {
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(h.k32[key+d*kvTile]))
		}
		for _, x := range h.v32[value:][:h.headDim] {
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(x))
		}
		return dst
	}
	for d := range h.headDim {
		dst = binary.LittleEndian.AppendUint16(dst, h.k16[key+d*kvTile])
	}
	for _, x := range h.v16[value:][:h.headDim] {
		dst = binary.LittleEndian.AppendUint16(dst, x)
	}
	return dst
}

// SetRow stores what AppendRow of a head of the same type and size gave, bit for bit; b has RowBytes.
func (h *KVHead) SetRow(pos int, b []byte) {
	b = b[:h.RowBytes()]
	key, value := h.keyAt(pos), pos*h.headDim
	keys, values := b[:len(b)/2], b[len(b)/2:]
	if h.k16 == nil {
		for d := range h.headDim {
			h.k32[key+d*kvTile] = math.Float32frombits(binary.LittleEndian.Uint32(keys[4*d:]))
			h.v32[value+d] = math.Float32frombits(binary.LittleEndian.Uint32(values[4*d:]))
		}
		return
	}
	for d := range h.headDim {
		h.k16[key+d*kvTile] = binary.LittleEndian.Uint16(keys[2*d:])
		h.v16[value+d] = binary.LittleEndian.Uint16(values[2*d:])
	}
}
