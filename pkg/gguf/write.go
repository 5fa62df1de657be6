// SPDX-License-Identifier: MIT

package gguf

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/shardnode/shardnode/internal/quant"
)

// TensorData is a tensor to write.
type TensorData struct {
	Name string
	Type quant.Type
	Dims []uint64 // GGUF order: Dims[0] is the row length
	Data []byte
}

// Write writes a GGUF v3 file with the alignment that meta names (32 without one). What [Parse] would refuse is an error before the
// first byte is written.
func Write(w io.Writer, meta *Metadata, tensors []TensorData) error {
	alignment, err := alignmentOf(meta)
	if err != nil {
		return fmt.Errorf("write model: %w", err)
	}
	if len(meta.Keys) > maxKeys || len(tensors) > maxTensors {
		return fmt.Errorf("write model: %d metadata keys and %d tensors, at most %d and %d are supported",
			len(meta.Keys), len(tensors), maxKeys, maxTensors)
	}
	b := []byte(magic)
	b = binary.LittleEndian.AppendUint32(b, 3)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(tensors)))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(meta.Keys)))
	for _, key := range meta.Keys {
		value, _ := meta.Get(key)
		if key == "" || len(key) > maxKey {
			return fmt.Errorf("write model: metadata key of %d bytes, want 1 to %d", len(key), maxKey)
		}
		b = appendText(b, key)
		if b, err = appendValue(b, value); err != nil {
			return fmt.Errorf("write model: metadata key %q: %w", key, err)
		}
	}
	offset := uint64(0)
	names := make(map[string]bool, len(tensors))
	for _, t := range tensors {
		size, err := checkTensor(t.Name, t.Type, t.Dims)
		switch {
		case err != nil:
			return fmt.Errorf("write model: %w", err)
		case size > 0 && size != uint64(len(t.Data)):
			return fmt.Errorf("write model: tensor %q: %s of dimensions %d takes %d bytes, found %d", t.Name, t.Type, t.Dims, size, len(t.Data))
		case names[t.Name]:
			return fmt.Errorf("write model: tensor %q is listed twice", t.Name)
		}
		names[t.Name] = true
		b = appendText(b, t.Name)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(t.Dims)))
		for _, d := range t.Dims {
			b = binary.LittleEndian.AppendUint64(b, d)
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(t.Type))
		b = binary.LittleEndian.AppendUint64(b, offset)
		offset = alignUp(offset+uint64(len(t.Data)), alignment)
	}
	out := bufio.NewWriter(w)
	if err := writePadded(out, b, alignment); err != nil {
		return err
	}
	for _, t := range tensors {
		if err := writePadded(out, t.Data, alignment); err != nil {
			return err
		}
	}
	return out.Flush()
}

func writePadded(w *bufio.Writer, b []byte, alignment uint64) error {
	if _, err := w.Write(b); err != nil {
		return err
	}
	for range alignUp(uint64(len(b)), alignment) - uint64(len(b)) {
		if err := w.WriteByte(0); err != nil {
			return err
		}
	}
	return nil
}

func appendText(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(len(s)))
	return append(b, s...)
}

// appendValue writes the type number and the value.
func appendValue(b []byte, value any) ([]byte, error) {
	kind, isArray, ok := typeOf(value)
	if !ok {
		return nil, fmt.Errorf("GGUF has no type for %T", value)
	}
	if !isArray {
		b = binary.LittleEndian.AppendUint32(b, kind)
		return appendScalar(b, value), nil
	}
	b = binary.LittleEndian.AppendUint32(b, typeArray)
	b = binary.LittleEndian.AppendUint32(b, kind)
	n := 0
	forEach(value, func(any) { n++ })
	b = binary.LittleEndian.AppendUint64(b, uint64(n))
	forEach(value, func(v any) { b = appendScalar(b, v) })
	return b, nil
}

func appendScalar(b []byte, value any) []byte {
	switch v := value.(type) {
	case uint8:
		return append(b, v)
	case int8:
		return append(b, byte(v))
	case uint16:
		return binary.LittleEndian.AppendUint16(b, v)
	case int16:
		return binary.LittleEndian.AppendUint16(b, uint16(v))
	case uint32:
		return binary.LittleEndian.AppendUint32(b, v)
	case int32:
		return binary.LittleEndian.AppendUint32(b, uint32(v))
	case float32:
		return binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	case bool:
		if v {
			return append(b, 1)
		}
		return append(b, 0)
	case string:
		return appendText(b, v)
	case uint64:
		return binary.LittleEndian.AppendUint64(b, v)
	case int64:
		return binary.LittleEndian.AppendUint64(b, uint64(v))
	case float64:
		return binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
	}
	return b
}

// typeOf returns the value's GGUF type, of an array its elements'.
func typeOf(value any) (kind uint32, isArray, ok bool) {
	switch value.(type) {
	case uint8:
		return typeUint8, false, true
	case []uint8:
		return typeUint8, true, true
	case int8:
		return typeInt8, false, true
	case []int8:
		return typeInt8, true, true
	case uint16:
		return typeUint16, false, true
	case []uint16:
		return typeUint16, true, true
	case int16:
		return typeInt16, false, true
	case []int16:
		return typeInt16, true, true
	case uint32:
		return typeUint32, false, true
	case []uint32:
		return typeUint32, true, true
	case int32:
		return typeInt32, false, true
	case []int32:
		return typeInt32, true, true
	case float32:
		return typeFloat32, false, true
	case []float32:
		return typeFloat32, true, true
	case bool:
		return typeBool, false, true
	case []bool:
		return typeBool, true, true
	case string:
		return typeString, false, true
	case []string:
		return typeString, true, true
	case uint64:
		return typeUint64, false, true
	case []uint64:
		return typeUint64, true, true
	case int64:
		return typeInt64, false, true
	case []int64:
		return typeInt64, true, true
	case float64:
		return typeFloat64, false, true
	case []float64:
		return typeFloat64, true, true
	}
	return 0, false, false
}

// forEach calls f for each element of an array value.
func forEach(value any, f func(any)) {
	switch v := value.(type) {
	case []uint8:
		each(v, f)
	case []int8:
		each(v, f)
	case []uint16:
		each(v, f)
	case []int16:
		each(v, f)
	case []uint32:
		each(v, f)
	case []int32:
		each(v, f)
	case []float32:
		each(v, f)
	case []bool:
		each(v, f)
	case []string:
		each(v, f)
	case []uint64:
		each(v, f)
	case []int64:
		each(v, f)
	case []float64:
		each(v, f)
	}
}

func each[T any](s []T, f func(any)) {
	for _, v := range s {
		f(v)
	}
}
