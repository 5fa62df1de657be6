// SPDX-License-Identifier: MIT

package gguf

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// Keys of a model in several files, as llama.cpp's gguf-split writes them: the number of the file, how many there are, and how many tensors
// in all of them.
const (
	keySplitNo      = "split.no"
	keySplitCount   = "split.count"
	keySplitTensors = "split.tensors.count"
)

// maxParts bounds the files of a model; the largest published have some twenty.
const maxParts = 1000

// join maps the other files of the model that f, at path, is one of. f has the metadata of the first file and all tensors then.
func (f *File) join(path string) error {
	count, err := f.Meta.Uint(keySplitCount)
	if err != nil {
		return fmt.Errorf("open model %s: %w; %w", path, err, errDamaged)
	}
	if count <= 1 {
		return nil
	}
	no, err := f.Meta.Uint(keySplitNo)
	if err != nil {
		return fmt.Errorf("open model %s: %w; %w", path, err, errDamaged)
	}
	if count > maxParts || no >= count {
		return fmt.Errorf("open model %s: it says that it is file %d of %d, want 1 to %d at the most; %w", path, no+1, count, maxParts, errDamaged)
	}
	name := filepath.Base(path)
	ending := func(i uint64) string { return fmt.Sprintf("-%05d-of-%05d.gguf", i+1, count) }
	stem, ok := strings.CutSuffix(name, ending(no))
	if !ok {
		return fmt.Errorf("open model %s: it is file %d of %d of a model, whose names must end as they were published: rename it to NAME%s, and the others likewise",
			path, no+1, count, ending(no))
	}
	all := &File{Version: f.Version, Alignment: f.Alignment, Meta: new(Metadata), byName: map[string]int{}}
	for i := range count {
		p := f
		if i != no {
			other := filepath.Join(filepath.Dir(path), stem+ending(i))
			if p, err = openPart(other); err != nil {
				if errors.Is(err, fs.ErrNotExist) {
					err = fmt.Errorf("open model %s: it is file %d of %d, and %s is not beside it: download all of them", path, no+1, count, other)
				}
				break
			}
		}
		if err = all.add(p, i, count); err != nil {
			err = fmt.Errorf("open model %s: %w", path, err)
			if i != no {
				_ = p.Close()
			}
			break
		}
	}
	if want, e := all.Meta.Uint(keySplitTensors); err == nil && e == nil && want != uint64(len(all.Tensors)) {
		err = fmt.Errorf("open model %s: its files have %d tensors, want %d; %w", path, len(all.Tensors), want, errDamaged)
	}
	if err != nil {
		if uint64(len(all.parts)) > no {
			all.parts[no].unmap = nil // Open closes it
		}
		_ = all.Close()
		return err
	}
	*f = *all
	return nil
}

// add takes the tensors of file i of count.
func (f *File) add(p *File, i, count uint64) error {
	no, err := p.Meta.Uint(keySplitNo)
	if err != nil {
		return err
	}
	if n, err := p.Meta.Uint(keySplitCount); err != nil || n != count || no != i {
		return fmt.Errorf("file %d of %d says that it is another one (%w): the files are not of one model", i+1, count, errDamaged)
	}
	if i == 0 {
		f.Meta = p.Meta
	}
	for _, t := range p.Tensors {
		if _, twice := f.byName[t.Name]; twice {
			return fmt.Errorf("tensor %q is in two files; %w", t.Name, errDamaged)
		}
		t.part = int(i)
		f.byName[t.Name] = len(f.Tensors)
		f.Tensors = append(f.Tensors, t)
	}
	f.parts = append(f.parts, p.parts[0])
	return nil
}
