// SPDX-License-Identifier: MIT

package gguf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"

	"github.com/shardnode/shardnode/internal/quant"
)

const (
	magic = "GGUF"

	defaultAlignment = 32
	maxAlignment     = 1 << 20 // larger ones only waste the file
	maxKey           = 65535   // the specification's limit
	maxName          = 255     // of a tensor; GGML stops at 64
	maxDims          = 4       // GGML_MAX_DIMS

	// The least bytes that an entry takes in a file: counts are refused when the rest of the file cannot hold them.
	minKeyValue = 8 + 4 + 1
	minTensor   = 8 + 4 + 8 + 4 + 8
)

// Parse reads a file that lies in memory, or is mapped. The file keeps data; strings are copied.
func Parse(data []byte) (*File, error) {
	r := &reader{data: data}
	f := &File{data: data, Meta: &Metadata{}, byName: map[string]int{}}
	if len(data) < 4 || string(data[:4]) != magic {
		return nil, errors.New("not a GGUF file: it does not begin with \"GGUF\"; convert the model to GGUF first")
	}
	r.at = 4
	f.Version = r.u32()
	if r.err == nil && f.Version != 2 && f.Version != 3 {
		if bits.ReverseBytes32(f.Version) <= 3 {
			return nil, errors.New("big-endian GGUF is not supported; convert the file")
		}
		return nil, fmt.Errorf("GGUF version %d is not supported (2 and 3 are); convert the file", f.Version)
	}
	nTensors := r.count("tensors", minTensor)
	nKeys := r.count("metadata keys", minKeyValue)
	for range nKeys {
		r.keyValue(f.Meta)
		if r.err != nil {
			return nil, r.err
		}
	}
	if err := f.readAlignment(); err != nil {
		return nil, err
	}
	f.Tensors = make([]Tensor, 0, nTensors)
	for range nTensors {
		t := r.tensor()
		if r.err != nil {
			return nil, r.err
		}
		if _, twice := f.byName[t.Name]; twice {
			return nil, fmt.Errorf("tensor %q is listed twice", t.Name)
		}
		f.byName[t.Name] = len(f.Tensors)
		f.Tensors = append(f.Tensors, t)
	}
	if r.err != nil {
		return nil, r.err
	}
	return f, f.place(uint64(r.at))
}

func (f *File) readAlignment() error {
	f.Alignment = defaultAlignment
	a, err := f.Meta.Uint("general.alignment")
	if errors.Is(err, ErrNoKey) {
		return nil
	}
	if err != nil {
		return err
	}
	if a < 1 || a > maxAlignment || a&(a-1) != 0 {
		return fmt.Errorf("general.alignment %d: want a power of two up to %d", a, maxAlignment)
	}
	f.Alignment = a
	return nil
}

// place turns offsets within the data section, which begins at the next aligned byte after header, into file offsets.
func (f *File) place(header uint64) error {
	begin := (header + f.Alignment - 1) &^ (f.Alignment - 1)
	size := uint64(len(f.data))
	for i := range f.Tensors {
		t := &f.Tensors[i]
		if t.Offset%f.Alignment != 0 {
			return fmt.Errorf("tensor %q: offset %d is not a multiple of the alignment %d", t.Name, t.Offset, f.Alignment)
		}
		if begin > size || t.Offset > size-begin || t.Size > size-begin-t.Offset {
			return fmt.Errorf("tensor %q lies outside the file (offset %d, %d bytes, file of %d): the file is truncated; download it again",
				t.Name, t.Offset, t.Size, size)
		}
		t.Offset += begin
	}
	return nil
}

// reader walks the header. After the first error every read gives zero.
type reader struct {
	data []byte
	at   int
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("byte %d: "+format, append([]any{r.at}, args...)...)
	}
}

// next takes n bytes.
func (r *reader) next(n uint64) []byte {
	if r.err != nil {
		return nil
	}
	if n > uint64(len(r.data)-r.at) {
		r.fail("the file ends within the header: it is truncated; download it again")
		return nil
	}
	b := r.data[r.at : r.at+int(n)]
	r.at += int(n)
	return b
}

func (r *reader) u32() uint32 {
	if b := r.next(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.next(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// count reads a number of entries that take at least size bytes each.
func (r *reader) count(what string, size uint64) int {
	n := r.u64()
	if r.err == nil && n > uint64(len(r.data)-r.at)/size {
		r.fail("%d %s do not fit into a file of %d bytes: it is damaged or truncated", n, what, len(r.data))
		return 0
	}
	return int(n)
}

func (r *reader) text(what string, limit uint64) string {
	n := r.u64()
	if r.err == nil && n > limit {
		r.fail("%s of %d bytes, at most %d are allowed", what, n, limit)
	}
	return string(r.next(n))
}

func (r *reader) keyValue(m *Metadata) {
	key := r.text("a metadata key", maxKey)
	if r.err == nil && key == "" {
		r.fail("empty metadata key")
	}
	kind := r.u32()
	value := r.value(key, kind)
	if r.err != nil {
		return
	}
	if m.Has(key) {
		r.fail("metadata key %q is there twice", key)
		return
	}
	m.Set(key, value)
}

func (r *reader) tensor() Tensor {
	t := Tensor{Name: r.text("a tensor name", maxName)}
	nDims := r.u32()
	if r.err == nil && (nDims < 1 || nDims > maxDims) {
		r.fail("tensor %q has %d dimensions, 1 to %d are allowed", t.Name, nDims, maxDims)
		return t
	}
	elems := uint64(1)
	for range nDims {
		d := r.u64()
		hi, lo := bits.Mul64(elems, d)
		if r.err == nil && (d == 0 || hi != 0 || lo > math.MaxInt64/8) {
			r.fail("tensor %q has impossible dimensions", t.Name)
			return t
		}
		elems = lo
		t.Dims = append(t.Dims, d)
	}
	t.Type = quant.Type(r.u32())
	t.Offset = r.u64()
	if r.err != nil {
		return t
	}
	if f, ok := quant.Lookup(t.Type); ok {
		if t.Dims[0]%uint64(f.BlockElems) != 0 {
			r.fail("tensor %q: rows of %d elements are not whole blocks of %s (%d)", t.Name, t.Dims[0], f.Name, f.BlockElems)
			return t
		}
		t.Size = elems / uint64(f.BlockElems) * uint64(f.BlockBytes)
	}
	return t
}
