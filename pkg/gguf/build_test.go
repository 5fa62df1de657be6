// SPDX-License-Identifier: MIT

package gguf

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"github.com/shardnode/shardnode/internal/quant"
)

// everyValue returns metadata with a value of each type there is.
func everyValue() *Metadata {
	m := &Metadata{}
	m.Set("general.architecture", "llama")
	m.Set("v.u8", uint8(200))
	m.Set("v.i8", int8(-3))
	m.Set("v.u16", uint16(60000))
	m.Set("v.i16", int16(-300))
	m.Set("v.u32", uint32(4e9))
	m.Set("v.i32", int32(-70000))
	m.Set("v.f32", float32(1.5))
	m.Set("v.bool", true)
	m.Set("v.empty", "")
	m.Set("v.text", "naïve\x00text")
	m.Set("v.u64", uint64(math.MaxUint64))
	m.Set("v.i64", int64(math.MinInt64))
	m.Set("v.f64", math.Pi)
	m.Set("a.u8", []uint8{1, 2})
	m.Set("a.i8", []int8{-1, 2})
	m.Set("a.u16", []uint16{1, 65535})
	m.Set("a.i16", []int16{-1, 2})
	m.Set("a.u32", []uint32{1, math.MaxUint32})
	m.Set("a.i32", []int32{-1, 2, 3})
	m.Set("a.f32", []float32{-0.5, float32(math.Inf(1))})
	m.Set("a.bool", []bool{true, false, true})
	m.Set("a.text", []string{"a", "", "ccc"})
	m.Set("a.u64", []uint64{1, math.MaxUint64})
	m.Set("a.i64", []int64{-1, 2})
	m.Set("a.f64", []float64{math.Inf(-1), 0.25})
	m.Set("a.none", []int32{})
	return m
}

// someTensors has a quantised matrix, a vector, and a type that is only listed.
func someTensors() []TensorData {
	matrix := make([]byte, 3*34)
	for i := range matrix {
		matrix[i] = byte(i)
	}
	return []TensorData{
		{Name: "blk.0.attn_q.weight", Type: quant.Q8_0, Dims: []uint64{32, 3}, Data: matrix},
		{Name: "output_norm.weight", Type: quant.F32, Dims: []uint64{2}, Data: []byte{0, 0, 128, 63, 0, 0, 0, 192}},
		{Name: "listed", Type: 10, Dims: []uint64{256, 1, 1, 1}, Data: bytes.Repeat([]byte{7}, 84)},
	}
}

func written(tb testing.TB, meta *Metadata, tensors []TensorData) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := Write(&b, meta, tensors); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func parsed(tb testing.TB, data []byte) *File {
	tb.Helper()
	f, err := Parse(data)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

// rewritten writes f's contents anew.
func rewritten(tb testing.TB, f *File) []byte {
	tb.Helper()
	tensors := make([]TensorData, len(f.Tensors))
	for i := range f.Tensors {
		t := &f.Tensors[i]
		tensors[i] = TensorData{t.Name, t.Type, t.Dims, f.Data(t)}
	}
	return written(tb, f.Meta, tensors)
}

// raw builds a header from pieces, for files that the writer refuses to write: strings with their length, integers as they are, bytes.
func raw(pieces ...any) []byte {
	var b []byte
	for _, p := range pieces {
		switch v := p.(type) {
		case uint8:
			b = append(b, v)
		case uint32:
			b = binary.LittleEndian.AppendUint32(b, v)
		case uint64:
			b = binary.LittleEndian.AppendUint64(b, v)
		case string:
			b = appendText(b, v)
		case []byte:
			b = append(b, v...)
		}
	}
	return b
}
