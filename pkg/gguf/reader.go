// SPDX-License-Identifier: MIT

package gguf

import (
	"encoding/binary"
	"fmt"

	"github.com/shardnode/shardnode/internal/quant"
)

// reader walks a header. After the first error every read gives zero.
type reader struct {
	data []byte
	at   int
	hint error // ends each error: what to do
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("byte %d: %s; %w", r.at, fmt.Sprintf(format, args...), r.hint)
	}
}

// next takes n bytes.
func (r *reader) next(n uint64) []byte {
	if r.err != nil {
		return nil
	}
	if left := len(r.data) - r.at; n > uint64(left) {
		r.fail("%d more bytes are needed, %d are left", n, left)
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

// count reads a number of entries, at most limit (0: any number) and each of at least size bytes.
func (r *reader) count(what string, limit, size uint64) int {
	n := r.u64()
	switch left := uint64(len(r.data) - r.at); {
	case r.err != nil:
		return 0
	case n > left/size:
		r.fail("%d %s do not fit into the %d bytes left", n, what, left)
		return 0
	case limit > 0 && n > limit:
		r.fail("%d %s, at most %d are supported", n, what, limit)
		return 0
	}
	return int(n)
}

func (r *reader) text(what string, limit uint64) string {
	n := r.u64()
	if n > limit {
		r.fail("%s of %d bytes, at most %d are allowed", what, n, limit)
	}
	return string(r.next(n))
}

func (r *reader) keyValue(m *Metadata) {
	key := r.text("metadata key", maxKey)
	switch {
	case r.err != nil:
		return
	case key == "":
		r.fail("empty metadata key")
	case m.Has(key):
		r.fail("metadata key %q is there twice", key)
	}
	if value := r.value(key, r.u32()); r.err == nil {
		m.Set(key, value)
	}
}

func (r *reader) tensor() Tensor {
	t := Tensor{Name: r.text("tensor name", maxName)}
	nDims := r.u32()
	if nDims > maxDims {
		r.fail("tensor %q has %d dimensions, at most %d are allowed", t.Name, nDims, maxDims)
		return t
	}
	t.Dims = make([]uint64, nDims)
	for i := range t.Dims {
		t.Dims[i] = r.u64()
	}
	t.Type = quant.Type(r.u32())
	t.Offset = r.u64()
	if r.err != nil {
		return t
	}
	size, err := checkTensor(t.Name, t.Type, t.Dims)
	if err != nil {
		r.fail("%v", err)
	}
	t.Size = size
	return t
}
