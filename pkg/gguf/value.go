// SPDX-License-Identifier: MIT

package gguf

import (
	"encoding/binary"
	"math"
)

// Value type numbers (GGUF specification, gguf_metadata_value_type).
const (
	typeUint8   = 0
	typeInt8    = 1
	typeUint16  = 2
	typeInt16   = 3
	typeUint32  = 4
	typeInt32   = 5
	typeFloat32 = 6
	typeBool    = 7
	typeString  = 8
	typeArray   = 9
	typeUint64  = 10
	typeInt64   = 11
	typeFloat64 = 12
)

// minString is the least bytes of a string: its length.
const minString = 8

func (r *reader) value(key string, kind uint32) any {
	switch kind {
	case typeUint8:
		return uint8(r.small(1))
	case typeInt8:
		return int8(r.small(1))
	case typeUint16:
		return uint16(r.small(2))
	case typeInt16:
		return int16(r.small(2))
	case typeUint32:
		return r.u32()
	case typeInt32:
		return int32(r.u32())
	case typeFloat32:
		return math.Float32frombits(r.u32())
	case typeBool:
		return r.bool(key)
	case typeString:
		return r.text("string", uint64(len(r.data)))
	case typeArray:
		return r.array(key)
	case typeUint64:
		return r.u64()
	case typeInt64:
		return int64(r.u64())
	case typeFloat64:
		return math.Float64frombits(r.u64())
	}
	r.fail("metadata key %q has the unknown value type %d", key, kind)
	return nil
}

// small reads an unsigned integer of n < 4 bytes.
func (r *reader) small(n uint64) uint32 {
	var v uint32
	for i, b := range r.next(n) {
		v |= uint32(b) << (8 * i)
	}
	return v
}

func (r *reader) bool(key string) bool {
	v := r.small(1)
	if v > 1 {
		r.fail("metadata key %q: a bool is 0 or 1, found %d", key, v)
	}
	return v == 1
}

func (r *reader) array(key string) any {
	switch kind := r.u32(); kind {
	case typeUint8:
		return readArray(r, 1, func(b []byte) uint8 { return b[0] })
	case typeInt8:
		return readArray(r, 1, func(b []byte) int8 { return int8(b[0]) })
	case typeUint16:
		return readArray(r, 2, binary.LittleEndian.Uint16)
	case typeInt16:
		return readArray(r, 2, func(b []byte) int16 { return int16(binary.LittleEndian.Uint16(b)) })
	case typeUint32:
		return readArray(r, 4, binary.LittleEndian.Uint32)
	case typeInt32:
		return readArray(r, 4, func(b []byte) int32 { return int32(binary.LittleEndian.Uint32(b)) })
	case typeFloat32:
		return readArray(r, 4, func(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) })
	case typeBool:
		out := make([]bool, r.count("array elements", 0, 1))
		for i := range out {
			out[i] = r.bool(key)
		}
		return out
	case typeString:
		out := make([]string, r.count("strings", 0, minString))
		for i := range out {
			out[i] = r.text("string", uint64(len(r.data)))
		}
		return out
	case typeUint64:
		return readArray(r, 8, binary.LittleEndian.Uint64)
	case typeInt64:
		return readArray(r, 8, func(b []byte) int64 { return int64(binary.LittleEndian.Uint64(b)) })
	case typeFloat64:
		return readArray(r, 8, func(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b)) })
	case typeArray:
		r.fail("metadata key %q: arrays of arrays are not supported", key)
	default:
		r.fail("metadata key %q: array of the unknown type %d", key, kind)
	}
	return nil
}

// readArray reads elements of size bytes; [reader.count] has checked that the file holds them before memory is allocated.
func readArray[T any](r *reader, size uint64, decode func([]byte) T) []T {
	n := r.count("array elements", 0, size)
	b := r.next(uint64(n) * size)
	if r.err != nil {
		return nil
	}
	out := make([]T, n)
	for i := range out {
		out[i] = decode(b[uint64(i)*size:])
	}
	return out
}
