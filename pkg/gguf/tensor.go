// SPDX-License-Identifier: MIT

package gguf

import (
	"errors"
	"fmt"
	"math"
	"math/bits"

	"github.com/shardnode/shardnode/internal/quant"
)

// Tensor is an entry of the tensor directory.
type Tensor struct {
	Name   string
	Type   quant.Type
	Dims   []uint64 // GGUF order: Dims[0] is the row length
	Offset uint64   // from the beginning of its file
	Size   uint64   // bytes; 0 for a type whose block size is not known

	part int // the file, of a model in several
}

// Elements returns the number of elements. It cannot overflow: the reader has checked it.
func (t *Tensor) Elements() uint64 {
	n := uint64(1)
	for _, d := range t.Dims {
		n *= d
	}
	return n
}

// Rows returns the product of all dimensions but the first.
func (t *Tensor) Rows() uint64 { return t.Elements() / t.Dims[0] }

// checkTensor checks a directory entry and returns the size of its data, 0 for a type whose block size is not known.
func checkTensor(name string, t quant.Type, dims []uint64) (size uint64, err error) {
	switch {
	case name == "":
		return 0, errors.New("a tensor without a name")
	case len(name) > maxName:
		return 0, fmt.Errorf("tensor name of %d bytes, at most %d are allowed", len(name), maxName)
	case len(dims) < 1 || len(dims) > maxDims:
		return 0, fmt.Errorf("tensor %q has %d dimensions, want 1 to %d", name, len(dims), maxDims)
	}
	elems := uint64(1)
	for _, d := range dims {
		hi, lo := bits.Mul64(elems, d)
		// Elements are at most 8 bytes, and sizes must fit an int64.
		if d == 0 || hi != 0 || lo > math.MaxInt64/8 {
			return 0, fmt.Errorf("tensor %q has impossible dimensions %d", name, dims)
		}
		elems = lo
	}
	f, ok := quant.Layout(t)
	if !ok {
		return 0, nil
	}
	if dims[0]%uint64(f.BlockElems) != 0 {
		return 0, fmt.Errorf("tensor %q: rows of %d elements are not whole blocks of %s (%d)", name, dims[0], f.Name, f.BlockElems)
	}
	return elems / uint64(f.BlockElems) * uint64(f.BlockBytes), nil
}
