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

// TensorSource is a tensor to write whose data need not be in memory together.
type TensorSource struct {
	Name string
	Type quant.Type // of known block size
	Dims []uint64   // GGUF order: Dims[0] is the row length

	// Write writes the data, as many bytes as type and dimensions make.
	Write func(w io.Writer) error
}

// Write writes a GGUF v3 file with the alignment that meta names (32 without one). What [Parse] would refuse is an error before the
// first byte is written.
func Write(w io.Writer, meta *Metadata, tensors []TensorData) error {
	list := make([]Tensor, len(tensors))
	for i, t := range tensors {
		list[i] = Tensor{Name: t.Name, Type: t.Type, Dims: t.Dims, Size: uint64(len(t.Data))}
	}
	return write(w, meta, list, func(i int, w io.Writer) error {
		_, err := w.Write(tensors[i].Data)
		return err
	})
}

// WriteStream is [Write] for tensors whose data is made as it is written, one tensor after the other.
func WriteStream(w io.Writer, meta *Metadata, tensors []TensorSource) error {
	list := make([]Tensor, len(tensors))
	for i, t := range tensors {
		size, err := checkTensor(t.Name, t.Type, t.Dims)
		if err == nil && size == 0 {
			err = fmt.Errorf("tensor %q: the size of type %s is not known", t.Name, t.Type)
		}
		if err != nil {
			return fmt.Errorf("write model: %w", err)
		}
		list[i] = Tensor{Name: t.Name, Type: t.Type, Dims: t.Dims, Size: size}
	}
	return write(w, meta, list, func(i int, w io.Writer) error { return tensors[i].Write(w) })
}

// write writes a file of these tensors, whose offsets it sets; data writes the i-th tensor's bytes.
func write(w io.Writer, meta *Metadata, tensors []Tensor, data func(i int, w io.Writer) error) error {
	alignment, err := alignmentOf(meta)
	if err != nil {
		return fmt.Errorf("write model: %w", err)
	}
	head, err := appendHead(meta, tensors, alignment)
	if err != nil {
		return fmt.Errorf("write model: %w", err)
	}
	out := &paddedWriter{w: bufio.NewWriterSize(w, 1<<16), alignment: alignment}
	_, _ = out.Write(head) // the error comes back from pad
	if err := out.pad(); err != nil {
		return err
	}
	for i, t := range tensors {
		begin := out.n
		if err := data(i, out); err != nil {
			return fmt.Errorf("write model: tensor %q: %w", t.Name, err)
		}
		if n := out.n - begin; n != t.Size && out.err == nil {
			return fmt.Errorf("write model: tensor %q: %d bytes were written of %d", t.Name, n, t.Size)
		}
		if err := out.pad(); err != nil {
			return err
		}
	}
	return out.w.Flush()
}

// appendHead makes everything up to the data and sets the tensors' offsets, from the beginning of the data.
func appendHead(meta *Metadata, tensors []Tensor, alignment uint64) ([]byte, error) {
	if len(meta.Keys) > maxKeys || len(tensors) > maxTensors {
		return nil, fmt.Errorf("%d metadata keys and %d tensors, at most %d and %d are supported", len(meta.Keys), len(tensors), maxKeys, maxTensors)
	}
	b := []byte(magic)
	b = binary.LittleEndian.AppendUint32(b, 3)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(tensors)))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(meta.Keys)))
	for _, key := range meta.Keys {
		value, _ := meta.Get(key)
		if key == "" || len(key) > maxKey {
			return nil, fmt.Errorf("metadata key of %d bytes, want 1 to %d", len(key), maxKey)
		}
		b = appendText(b, key)
		var err error
		if b, err = appendValue(b, value); err != nil {
			return nil, fmt.Errorf("metadata key %q: %w", key, err)
		}
	}
	offset := uint64(0)
	names := make(map[string]bool, len(tensors))
	for i := range tensors {
		t := &tensors[i]
		size, err := checkTensor(t.Name, t.Type, t.Dims)
		switch {
		case err != nil:
			return nil, err
		case size > 0 && size != t.Size:
			return nil, fmt.Errorf("tensor %q: %s of dimensions %d takes %d bytes, found %d", t.Name, t.Type, t.Dims, size, t.Size)
		case names[t.Name]:
			return nil, fmt.Errorf("tensor %q is listed twice", t.Name)
		}
		names[t.Name] = true
		b = appendText(b, t.Name)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(t.Dims)))
		for _, d := range t.Dims {
			b = binary.LittleEndian.AppendUint64(b, d)
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(t.Type))
		t.Offset = offset
		b = binary.LittleEndian.AppendUint64(b, offset)
		offset = alignUp(offset+t.Size, alignment)
	}
	return b, nil
}

// paddedWriter counts what it writes and keeps the first error.
type paddedWriter struct {
	w         *bufio.Writer
	alignment uint64
	n         uint64
	err       error
}

// Write implements [io.Writer].
func (p *paddedWriter) Write(b []byte) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	n, err := p.w.Write(b)
	p.n, p.err = p.n+uint64(n), err
	return n, err
}

// pad fills up to the alignment with zeros.
func (p *paddedWriter) pad() error {
	_, err := p.Write(make([]byte, alignUp(p.n, p.alignment)-p.n))
	return err
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
