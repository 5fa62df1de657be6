// SPDX-License-Identifier: MIT

package gguf

import (
	"fmt"
	"os"

	"github.com/shardnode/shardnode/internal/quant"
)

// File is an open GGUF file.
type File struct {
	Version   uint32
	Alignment uint64
	Meta      *Metadata
	Tensors   []Tensor // in file order

	byName map[string]int
	data   []byte // the whole file, mapped or in memory
	unmap  func() error
}

// Tensor is an entry of the tensor directory.
type Tensor struct {
	Name   string
	Type   quant.Type
	Dims   []uint64 // GGUF order: Dims[0] is the row length
	Offset uint64   // from the beginning of the file
	Size   uint64   // bytes; 0 for a type whose block size is not known
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
func (t *Tensor) Rows() uint64 {
	n := uint64(1)
	for _, d := range t.Dims[1:] {
		n *= d
	}
	return n
}

// Open maps the file at path. Only what is touched is read from disk.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open model: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open model: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("open model %s: not a regular file", path)
	}
	data, unmap, err := mapFile(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("open model %s: %w", path, err)
	}
	file, err := Parse(data)
	if err != nil {
		_ = unmap()
		return nil, fmt.Errorf("open model %s: %w", path, err)
	}
	file.unmap = unmap
	return file, nil
}

// Close unmaps the file. Slices from [File.Data] must not be used any more.
func (f *File) Close() error {
	if f.unmap == nil {
		return nil
	}
	unmap := f.unmap
	f.unmap, f.data = nil, nil
	return unmap()
}

// Tensor returns the tensor of that name.
func (f *File) Tensor(name string) (*Tensor, bool) {
	i, ok := f.byName[name]
	if !ok {
		return nil, false
	}
	return &f.Tensors[i], true
}

// Data returns the tensor's bytes, a read-only view of the file.
func (f *File) Data(t *Tensor) []byte {
	return f.data[t.Offset : t.Offset+t.Size : t.Offset+t.Size]
}
