// SPDX-License-Identifier: MIT

package gguf

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/shardnode/shardnode/internal/quant"
)

// Manifest describes a model by content: canonical metadata, tensor directory and a SHA-256 per tensor. Two files with the same
// manifest compute the same, whatever their alignment, order or split into parts.
type Manifest struct {
	Bytes   []byte // the canonical encoding
	Meta    *Metadata
	Tensors []ManifestTensor // by name
}

// ManifestTensor is a tensor of a [Manifest].
type ManifestTensor struct {
	Name   string
	Type   quant.Type
	Dims   []uint64
	SHA256 [sha256.Size]byte
}

// ID returns the model's ID, the SHA-256 of the manifest.
func (m *Manifest) ID() [sha256.Size]byte { return sha256.Sum256(m.Bytes) }

// ofTheFile reports whether a metadata key describes the file rather than the model.
func ofTheFile(key string) bool {
	return key == "general.alignment" || strings.HasPrefix(key, "split.") || strings.HasPrefix(key, "shardnode.")
}

// BuildManifest reads and hashes the whole file.
func BuildManifest(f *File) (*Manifest, error) {
	m, err := describe(f)
	if err != nil {
		return nil, err
	}
	hashTensors(f, m.Tensors)
	m.Bytes, err = encodeManifest(m)
	return m, err
}

// describe returns the file's manifest without the hashes and the encoding.
func describe(f *File) (*Manifest, error) {
	m := &Manifest{Meta: &Metadata{}}
	for _, key := range slices.Sorted(slices.Values(f.Meta.Keys)) {
		if !ofTheFile(key) {
			value, _ := f.Meta.Get(key)
			m.Meta.Set(key, value)
		}
	}
	for i := range f.Tensors {
		t := &f.Tensors[i]
		if t.Size == 0 {
			return nil, fmt.Errorf("tensor %q has type %s, which is not known, so that it cannot be hashed; requantise the file", t.Name, t.Type)
		}
		m.Tensors = append(m.Tensors, ManifestTensor{Name: t.Name, Type: t.Type, Dims: t.Dims})
	}
	slices.SortFunc(m.Tensors, func(a, b ManifestTensor) int { return strings.Compare(a.Name, b.Name) })
	return m, nil
}

// hashers is how many tensors are hashed at once: enough to keep a disk busy.
const hashers = 2

func hashTensors(f *File, tensors []ManifestTensor) {
	next := make(chan *ManifestTensor)
	var wg sync.WaitGroup
	for range hashers {
		wg.Go(func() {
			for mt := range next {
				t, _ := f.Tensor(mt.Name)
				mt.SHA256 = f.hash(t)
			}
		})
	}
	for i := range tensors {
		next <- &tensors[i]
	}
	close(next)
	wg.Wait()
}

// hashPiece is how much of a tensor is hashed before its pages are given back: hashing a file must not make it resident.
const hashPiece = 4 << 20

// hash returns the SHA-256 of a tensor's bytes.
func (f *File) hash(t *Tensor) [sha256.Size]byte {
	h := sha256.New()
	for at := uint64(0); at < t.Size; at += hashPiece {
		end := min(at+hashPiece, t.Size)
		h.Write(f.data[t.Offset+at : t.Offset+end])
		if f.unmap != nil {
			release(f.data, t.Offset+at, t.Offset+end)
		}
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// ParseManifest reads the canonical encoding. It is strict: encoding the result gives the same bytes.
func ParseManifest(b []byte) (*Manifest, error) {
	m, err := decodeManifest(b)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	again, err := encodeManifest(m)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if !bytes.Equal(again, b) {
		return nil, errors.New("manifest: not in canonical form; get it from another node")
	}
	m.Bytes = bytes.Clone(b)
	return m, nil
}
