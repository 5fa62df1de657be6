// SPDX-License-Identifier: MIT

package gguf

import (
	"fmt"
	"os"
)

// File is an open GGUF file, or several that make up one model.
type File struct {
	Version   uint32
	Alignment uint64
	Meta      *Metadata
	Tensors   []Tensor // in file order

	byName map[string]int
	parts  []part // one, or those of a model in several files, which its tensors refer to
}

// part is the bytes of one file.
type part struct {
	data  []byte // the whole file, mapped or in memory
	unmap func() error
	info  os.FileInfo // of the mapped file, as it was opened; nil after [Parse]
}

// Open maps the file at path, and if it is one of several that make up a model (NAME-00001-of-00005.gguf), all of them. Only what is touched is
// read from disk.
func Open(path string) (*File, error) {
	file, err := openPart(path)
	if err == nil && file.Meta.Has(keySplitCount) {
		err = file.join(path)
	}
	if err != nil {
		if file != nil {
			_ = file.Close()
		}
		return nil, err
	}
	return file, nil
}

// openPart maps one file.
func openPart(path string) (*File, error) {
	// Looked at before it is opened: opening a named pipe waits for a writer.
	if info, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("open model: %w", err)
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("open model %s: not a regular file; name a .gguf file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open model: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open model: %w", err)
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
	file.parts[0].unmap, file.parts[0].info = unmap, info
	return file, nil
}

// Close unmaps the file. Slices from [File.Data] must not be used any more.
func (f *File) Close() error {
	var first error
	for i := range f.parts {
		p := &f.parts[i]
		if p.unmap == nil {
			continue
		}
		if err := p.unmap(); err != nil && first == nil {
			first = err
		}
		p.unmap, p.data = nil, nil
	}
	return first
}

// Tensor returns the tensor of that name.
func (f *File) Tensor(name string) (*Tensor, bool) {
	i, ok := f.byName[name]
	if !ok {
		return nil, false
	}
	return &f.Tensors[i], true
}

// Data returns the tensor's bytes, a read-only view of the file until [File.Close]. It is empty for a tensor of unknown size.
func (f *File) Data(t *Tensor) []byte {
	return f.parts[t.part].data[t.Offset : t.Offset+t.Size : t.Offset+t.Size]
}

// Release tells the system that the tensor's bytes are not needed for now, for example because they have been copied. They stay
// readable: a mapped page is read from the file again.
func (f *File) Release(t *Tensor) { f.ReleasePart(t, 0, t.Size) }

// ReleasePart is [File.Release] of the tensor's bytes from one to before another. Pages that are not whole in it stay.
func (f *File) ReleasePart(t *Tensor, from, to uint64) {
	if p := &f.parts[t.part]; p.unmap != nil {
		release(p.data, t.Offset+from, t.Offset+to)
	}
}
