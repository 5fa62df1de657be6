// SPDX-License-Identifier: MIT

package gguf

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shardnode/shardnode/internal/quant"
)

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	meta, tensors := everyValue(), someTensors()
	for _, alignment := range []uint64{0, 1, 64, 4096} {
		if alignment > 0 {
			meta.Set("general.alignment", uint32(alignment))
		} else {
			alignment = 32
		}
		data := written(t, meta, tensors)
		f := parsed(t, data)
		if f.Version != 3 || f.Alignment != alignment {
			t.Errorf("version %d, alignment %d, want 3 and %d", f.Version, f.Alignment, alignment)
		}
		if diff := cmp.Diff(meta.values, f.Meta.values); diff != "" {
			t.Errorf("metadata: %s", diff)
		}
		if diff := cmp.Diff(meta.Keys, f.Meta.Keys); diff != "" {
			t.Errorf("order of keys: %s", diff)
		}
		for i, want := range tensors {
			got, ok := f.Tensor(want.Name)
			if !ok || got != &f.Tensors[i] {
				t.Fatalf("tensor %q is not found, or not in file order", want.Name)
			}
			if got.Type != want.Type || !cmp.Equal(got.Dims, want.Dims) || got.Size != uint64(len(want.Data)) || got.Offset%alignment != 0 {
				t.Errorf("tensor %q: %+v", want.Name, got)
			}
			if !bytes.Equal(f.Data(got), want.Data) {
				t.Errorf("tensor %q: other bytes", want.Name)
			}
		}
		if again := rewritten(t, f); !bytes.Equal(again, data) {
			t.Error("writing what was read gives another file")
		}
	}
	if _, ok := parsed(t, written(t, meta, tensors)).Tensor("absent"); ok {
		t.Error("found a tensor that is not there")
	}
}

// The bytes of a small file, by the specification.
func TestParseLiteral(t *testing.T) {
	t.Parallel()
	meta := &Metadata{}
	meta.Set("a", uint32(7))
	meta.Set("b", []string{"xy"})
	want := "GGUF\x03\x00\x00\x00" + // magic, version
		"\x01\x00\x00\x00\x00\x00\x00\x00" + "\x02\x00\x00\x00\x00\x00\x00\x00" + // tensors, keys
		"\x01\x00\x00\x00\x00\x00\x00\x00a" + "\x04\x00\x00\x00" + "\x07\x00\x00\x00" +
		"\x01\x00\x00\x00\x00\x00\x00\x00b" + "\x09\x00\x00\x00" + "\x08\x00\x00\x00" + "\x01\x00\x00\x00\x00\x00\x00\x00" +
		"\x02\x00\x00\x00\x00\x00\x00\x00xy" +
		"\x01\x00\x00\x00\x00\x00\x00\x00t" + "\x02\x00\x00\x00" + "\x02\x00\x00\x00\x00\x00\x00\x00" + "\x01\x00\x00\x00\x00\x00\x00\x00" +
		"\x01\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00" // F16, offset 0
	want += strings.Repeat("\x00", 128-len(want)) + "\x00\x3c\x00\xc0" + strings.Repeat("\x00", 28)
	got := written(t, meta, []TensorData{{"t", quant.F16, []uint64{2, 1}, []byte{0, 0x3c, 0, 0xc0}}})
	if string(got) != want {
		t.Errorf("wrote %q, want %q", got, want)
	}
	v2 := bytes.Clone(got)
	v2[4] = 2 // versions 2 and 3 differ in byte order only
	if f := parsed(t, v2); f.Version != 2 || len(f.Tensors) != 1 {
		t.Errorf("version 2: %+v", f)
	}
}

// A file that ends early anywhere is an error; only the padding behind the last tensor may be missing.
func TestParsePrefixes(t *testing.T) {
	t.Parallel()
	data := written(t, everyValue(), someTensors())
	f := parsed(t, data)
	last := f.Tensors[len(f.Tensors)-1]
	for n := range last.Offset + last.Size {
		f, err := Parse(data[:n:n])
		if err == nil || f != nil {
			t.Fatalf("the first %d of %d bytes were accepted", n, len(data))
		}
		if !strings.Contains(err.Error(), "convert the model") {
			t.Fatalf("%d bytes: the error does not say what to do: %v", n, err)
		}
	}
	parsed(t, data[:last.Offset+last.Size])
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	u32, u64 := func(v uint32) uint32 { return v }, func(v uint64) uint64 { return v }
	header := func(tensors, keys uint64, rest ...any) []byte {
		return raw(append([]any{[]byte(magic), u32(3), tensors, keys}, rest...)...)
	}
	pad := func(b []byte, data int) []byte { return append(b, make([]byte, 31-(len(b)-1)%32+data)...) }
	tensor := func(name string, typ uint32, offset uint64, dims ...uint64) []byte {
		b := raw(name, uint32(len(dims)))
		for _, d := range dims {
			b = binary.LittleEndian.AppendUint64(b, d)
		}
		return raw(b, typ, offset)
	}
	const f32, q4k = 0, 12
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":                 {nil, "not a GGUF file"},
		"magic":                 {[]byte("GGML\x03\x00\x00\x00"), "not a GGUF file"},
		"version 1":             {raw([]byte(magic), u32(1), u64(0), u64(0)), "version 1 is not supported"},
		"version 0":             {raw([]byte(magic), u32(0), u64(0), u64(0)), "version 0 is not supported"},
		"big-endian":            {raw([]byte(magic), u32(3<<24), u64(0), u64(0)), "big-endian"},
		"tensor count":          {header(math.MaxUint64, 0), "byte 16: 18446744073709551615 tensors do not fit"},
		"key count":             {header(0, 1<<40), "byte 24: 1099511627776 metadata keys do not fit"},
		"too many keys":         {header(0, maxKeys+1, make([]byte, (maxKeys+1)*minKeyValue)), "at most 65536"},
		"key length":            {header(0, 1, u64(maxKey+1), make([]byte, 1<<17)), "at most 65535"},
		"key length overflow":   {header(0, 1, u64(math.MaxUint64), make([]byte, 64)), "at most 65535"},
		"empty key":             {header(0, 1, "", u32(4), u32(1)), "empty metadata key"},
		"duplicate key":         {header(0, 2, "k", u32(4), u32(1), "k", u32(4), u32(2)), `"k" is there twice`},
		"value type":            {header(0, 1, "k", u32(13), u32(1)), "unknown value type 13"},
		"bool":                  {header(0, 1, "key", u32(typeBool), uint8(2)), "0 or 1, found 2"},
		"bool in array":         {header(0, 1, "k", u32(9), u32(7), u64(1), uint8(9)), "0 or 1, found 9"},
		"string length":         {header(0, 1, "k", u32(8), u64(1<<62), make([]byte, 9)), "string of 4611686018427387904 bytes"},
		"array length":          {header(0, 1, "k", u32(9), u32(10), u64(1<<61), make([]byte, 9)), "do not fit"},
		"string array length":   {header(0, 1, "k", u32(9), u32(8), u64(3), make([]byte, 16)), "3 strings do not fit"},
		"array type":            {header(0, 1, "k", u32(9), u32(77), u64(0)), "unknown type 77"},
		"nested array":          {header(0, 1, "k", u32(9), u32(9), u64(0)), "arrays of arrays"},
		"alignment 0":           {header(0, 1, "general.alignment", u32(4), u32(0)), "power of two"},
		"alignment 48":          {header(0, 1, "general.alignment", u32(4), u32(48)), "power of two"},
		"alignment huge":        {header(0, 1, "general.alignment", u32(4), u32(1<<31)), "power of two"},
		"alignment text":        {header(0, 1, "general.alignment", u32(8), "32"), "general.alignment: want a non-negative integer"},
		"empty tensor name":     {pad(header(1, 0, tensor("", f32, 0, 1)), 32), "without a name"},
		"tensor name length":    {header(1, 0, u64(maxName+1), make([]byte, 512)), "at most 255"},
		"duplicate tensor":      {pad(header(2, 0, tensor("t", f32, 0, 1), tensor("t", f32, 32, 1)), 64), `"t" is listed twice`},
		"no dimensions":         {pad(header(1, 0, tensor("t", f32, 0), make([]byte, 8)), 32), "0 dimensions"},
		"five dimensions":       {pad(header(1, 0, tensor("t", f32, 0, 1, 1, 1, 1, 1)), 32), "5 dimensions"},
		"dimension 0":           {pad(header(1, 0, tensor("t", f32, 0, 4, 0)), 32), "impossible dimensions [4 0]"},
		"product overflow":      {pad(header(1, 0, tensor("t", f32, 0, 1<<32, 1<<32)), 32), "impossible dimensions"},
		"product overflow to 4": {pad(header(1, 0, tensor("t", f32, 0, 1<<33+2, 1<<31+1, 2)), 32), "impossible dimensions"},
		"size overflow":         {pad(header(1, 0, tensor("t", f32, 0, 1<<61)), 32), "impossible dimensions"},
		"row length":            {pad(header(1, 0, tensor("t", q4k, 0, 128)), 32), "whole blocks of Q4_K (256)"},
		"offset":                {pad(header(1, 0, tensor("t", f32, 4, 1)), 64), "not a multiple of the alignment 32"},
		"offset outside":        {pad(header(1, 0, tensor("t", f32, 64, 1)), 32), "outside the file"},
		"offset overflow":       {pad(header(1, 0, tensor("t", f32, math.MaxUint64-31, 8)), 32), "outside the file"},
		"data outside":          {pad(header(1, 0, tensor("t", f32, 32, 9)), 64), "outside the file (36 bytes at offset 32"},
		"no data section":       {header(1, 0, tensor("t", f32, 0, 1)), "outside the file"},
		"overlap":               {pad(header(2, 0, tensor("b", f32, 32, 1), tensor("a", f32, 0, 9)), 64), `"a" and "b" overlap`},
	} {
		f, err := Parse(c.data)
		if f != nil {
			t.Errorf("%s: a file along with error %v", name, err)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
			continue
		}
		if msg := err.Error(); !strings.Contains(msg, "convert the") && !strings.Contains(msg, "at most 65536") {
			t.Errorf("%s: the error does not say what to do: %v", name, err)
		}
	}
}

// Types that this build cannot compute with are listed, with their size where it is known.
func TestParseListsUnsupportedTypes(t *testing.T) {
	t.Parallel()
	f := parsed(t, written(t, &Metadata{}, []TensorData{
		{"known", 10, []uint64{256, 2}, make([]byte, 168)},
		{"unknown", 4242, []uint64{3}, []byte{1, 2, 3, 4, 5}},
	}))
	if k, _ := f.Tensor("known"); k.Size != 168 || k.Type.String() != "Q2_K" {
		t.Errorf("Q2_K: %+v", k)
	}
	if u, _ := f.Tensor("unknown"); u.Size != 0 || len(f.Data(u)) != 0 || u.Type.String() != "type(4242)" {
		t.Errorf("unknown type: %+v", u)
	}
	if _, err := BuildManifest(f); err == nil || !strings.Contains(err.Error(), "type(4242)") {
		t.Errorf("manifest of a file that cannot be hashed: %v", err)
	}
}

func TestWriteRefuses(t *testing.T) {
	t.Parallel()
	meta := func(key string, value any) *Metadata {
		m := &Metadata{}
		m.Set(key, value)
		return m
	}
	one := []byte{0, 0, 128, 63}
	for name, c := range map[string]struct {
		meta    *Metadata
		tensors []TensorData
		want    string
	}{
		"alignment 0":      {meta("general.alignment", uint32(0)), nil, "power of two"},
		"alignment 33":     {meta("general.alignment", uint32(33)), nil, "power of two"},
		"alignment text":   {meta("general.alignment", "32"), nil, "integer"},
		"long key":         {meta(strings.Repeat("k", maxKey+1), true), nil, "65536 bytes"},
		"no GGUF type":     {meta("k", int(3)), nil, "no type for int"},
		"nested array":     {meta("k", [][]int32{{1}}), nil, "no type for [][]int32"},
		"wrong size":       {&Metadata{}, []TensorData{{"t", quant.F32, []uint64{2}, one}}, "takes 8 bytes, found 4"},
		"partial block":    {&Metadata{}, []TensorData{{"t", quant.Q8_0, []uint64{33}, one}}, "whole blocks"},
		"no dimensions":    {&Metadata{}, []TensorData{{"t", quant.F32, nil, one}}, "0 dimensions"},
		"duplicate tensor": {&Metadata{}, []TensorData{{"t", quant.F32, []uint64{1}, one}, {"t", quant.F32, []uint64{1}, one}}, "twice"},
	} {
		var b bytes.Buffer
		if err := Write(&b, c.meta, c.tensors); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
		if b.Len() > 0 {
			t.Errorf("%s: %d bytes were written before the error", name, b.Len())
		}
	}
}
