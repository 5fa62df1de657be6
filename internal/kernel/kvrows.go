// SPDX-License-Identifier: MIT

package kernel

import (
	"encoding/binary"
	"math"
)

// RowBytes returns the bytes of one position in the form of AppendRow: keys, then values.
func (h *KVHead) RowBytes() int { return 2 * h.headDim * h.size }

// AppendRow appends keys and values of a position as they are stored, little-endian: what SetRow takes.
func (h *KVHead) AppendRow(dst []byte, pos int) []byte {
	page, key := h.keyAt(pos)
	_, value := h.valueAt(pos)
	reach := (h.headDim-1)*kvTile + 1
	if !h.narrow() {
		keys := h.f32(page, key, reach)
		for d := range h.headDim {
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(keys[d*kvTile]))
		}
		for _, x := range h.f32(page, value, h.headDim) {
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(x))
		}
		return dst
	}
	keys := h.f16(page, key, reach)
	for d := range h.headDim {
		dst = binary.LittleEndian.AppendUint16(dst, keys[d*kvTile])
	}
	for _, x := range h.f16(page, value, h.headDim) {
		dst = binary.LittleEndian.AppendUint16(dst, x)
	}
	return dst
}

// SetRow stores what AppendRow of a head of the same type and size gave, bit for bit; b has RowBytes.
func (h *KVHead) SetRow(pos int, b []byte) {
	b = b[:h.RowBytes()]
	page, key := h.keyAt(pos)
	_, value := h.valueAt(pos)
	reach := (h.headDim-1)*kvTile + 1
	rowKeys, rowValues := b[:len(b)/2], b[len(b)/2:]
	if !h.narrow() {
		keys, values := h.f32(page, key, reach), h.f32(page, value, h.headDim)
		for d := range h.headDim {
			keys[d*kvTile] = math.Float32frombits(binary.LittleEndian.Uint32(rowKeys[4*d:]))
			values[d] = math.Float32frombits(binary.LittleEndian.Uint32(rowValues[4*d:]))
		}
		return
	}
	keys, values := h.f16(page, key, reach), h.f16(page, value, h.headDim)
	for d := range h.headDim {
		keys[d*kvTile] = binary.LittleEndian.Uint16(rowKeys[2*d:])
		values[d] = binary.LittleEndian.Uint16(rowValues[2*d:])
	}
}
