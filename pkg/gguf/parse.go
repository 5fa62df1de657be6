// SPDX-License-Identifier: MIT

package gguf

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"slices"
)

const (
	magic = "GGUF"

	defaultAlignment = 32
	maxAlignment     = 1 << 20 // larger ones only waste the file
	maxKey           = 65535   // the specification's limit
	maxName          = 255     // of a tensor; GGML stops at 64
	maxDims          = 4       // GGML_MAX_DIMS
	maxKeys          = 1 << 16 // hundreds are usual
	maxTensors       = 1 << 20 // some ten thousand are usual in the largest models

	// The least bytes that an entry takes in a file: counts are refused when the rest of the file cannot hold them.
	minKeyValue = 8 + 4 + 1
	minTensor   = 8 + 4 + 8 + 4 + 8
)

// errDamaged ends every error about a file's structure with what to do.
var errDamaged = errors.New("the file is damaged or truncated: download it again, or convert the model again")

// Parse reads a file that lies in memory, or is mapped. The file keeps data; strings are copied.
func Parse(data []byte) (*File, error) {
	if len(data) < len(magic) || string(data[:len(magic)]) != magic {
		return nil, errors.New("not a GGUF file: it does not begin with \"GGUF\"; convert the model to GGUF first")
	}
	f := &File{parts: []part{{data: data}}, Meta: &Metadata{}, byName: map[string]int{}}
	r := &reader{data: data, at: len(magic), hint: errDamaged}
	if err := f.parseHeader(r); err != nil {
		return nil, err
	}
	if err := f.place(uint64(r.at)); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *File) parseHeader(r *reader) error {
	f.Version = r.u32()
	if r.err == nil && f.Version != 2 && f.Version != 3 {
		if v := bits.ReverseBytes32(f.Version); v == 2 || v == 3 {
			return errors.New("big-endian GGUF is not supported: convert the file to little-endian")
		}
		return fmt.Errorf("GGUF version %d is not supported (2 and 3 are): convert the model again", f.Version)
	}
	nTensors := r.count("tensors", maxTensors, minTensor)
	nKeys := r.count("metadata keys", maxKeys, minKeyValue)
	for range nKeys {
		r.keyValue(f.Meta)
		if r.err != nil {
			return r.err
		}
	}
	var err error
	if f.Alignment, err = alignmentOf(f.Meta); err != nil {
		return fmt.Errorf("%w; %w", err, errDamaged)
	}
	f.Tensors = make([]Tensor, 0, nTensors)
	for range nTensors {
		t := r.tensor()
		if _, twice := f.byName[t.Name]; twice {
			r.fail("tensor %q is listed twice", t.Name)
		}
		if r.err != nil {
			return r.err
		}
		f.byName[t.Name] = len(f.Tensors)
		f.Tensors = append(f.Tensors, t)
	}
	return r.err
}

// alignmentOf returns the alignment that metadata names, or the default.
func alignmentOf(m *Metadata) (uint64, error) {
	a, err := m.Uint("general.alignment")
	switch {
	case errors.Is(err, ErrNoKey):
		return defaultAlignment, nil
	case err != nil:
		return 0, err
	case a < 1 || a > maxAlignment || a&(a-1) != 0:
		return 0, fmt.Errorf("general.alignment is %d, want a power of two up to %d", a, maxAlignment)
	}
	return a, nil
}

func alignUp(n, alignment uint64) uint64 { return (n + alignment - 1) &^ (alignment - 1) }

// place turns offsets within the data section, which begins at the next aligned byte after header, into file offsets.
func (f *File) place(header uint64) error {
	begin := alignUp(header, f.Alignment)
	size := uint64(len(f.parts[0].data))
	for i := range f.Tensors {
		t := &f.Tensors[i]
		if t.Offset%f.Alignment != 0 {
			return fmt.Errorf("tensor %q: offset %d is not a multiple of the alignment %d; %w", t.Name, t.Offset, f.Alignment, errDamaged)
		}
		if begin > size || t.Offset > size-begin || t.Size > size-begin-t.Offset {
			return fmt.Errorf("tensor %q lies outside the file (%d bytes at offset %d of the data section, which begins at byte %d of %d); %w",
				t.Name, t.Size, t.Offset, begin, size, errDamaged)
		}
		t.Offset += begin
	}
	return f.checkOverlap()
}

// checkOverlap refuses tensors that share bytes: no writer makes them, and a small file could claim any amount of data.
func (f *File) checkOverlap() error {
	order := make([]*Tensor, 0, len(f.Tensors))
	for i := range f.Tensors {
		if t := &f.Tensors[i]; t.Size > 0 {
			order = append(order, t)
		}
	}
	slices.SortFunc(order, func(a, b *Tensor) int { return cmp.Compare(a.Offset, b.Offset) })
	for i := 1; i < len(order); i++ {
		if a, b := order[i-1], order[i]; a.Offset+a.Size > b.Offset {
			return fmt.Errorf("tensors %q and %q overlap at byte %d; %w", a.Name, b.Name, b.Offset, errDamaged)
		}
	}
	return nil
}
