// SPDX-License-Identifier: MIT

package gguf

import (
	"bytes"
	"context"
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

// BuildManifest reads and hashes the whole file. Of one that [ShardMetadata] describes, which has some of a model's tensors, it is the manifest of
// the model, against which the file is checked.
func BuildManifest(f *File) (*Manifest, error) {
	return BuildManifestContext(context.Background(), f, nil)
}

// BuildManifestContext is [BuildManifest] that stops when ctx ends, and tells progress, if it is not nil, how many bytes of all tensors
// have been hashed. It calls progress from one goroutine at a time.
func BuildManifestContext(ctx context.Context, f *File, progress func(done, total int64)) (*Manifest, error) {
	m, err := describe(f)
	if err != nil {
		return nil, err
	}
	if err := hashTensors(ctx, f, m.Tensors, progress); err != nil {
		return nil, err
	}
	if f.Meta.Has(keyManifest) {
		return wholeOf(f, m)
	}
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

// hashTensors sets the hashes of all tensors.
func hashTensors(ctx context.Context, f *File, tensors []ManifestTensor, progress func(done, total int64)) error {
	h := hashing{file: f, progress: progress}
	for i := range f.Tensors {
		h.total += int64(f.Tensors[i].Size)
	}
	next := make(chan *ManifestTensor)
	var wg sync.WaitGroup
	for range hashers {
		wg.Go(func() {
			for mt := range next {
				t, _ := f.Tensor(mt.Name)
				mt.SHA256 = h.hash(ctx, t)
			}
		})
	}
	for i := range tensors {
		next <- &tensors[i]
	}
	close(next)
	wg.Wait()
	return ctx.Err()
}

// hashPiece is how much of a tensor is hashed before its pages are given back: hashing a file must not make it resident.
const hashPiece = 4 << 20

// hashing is the hashing of a file's tensors.
type hashing struct {
	file     *File
	total    int64
	progress func(done, total int64) // nil: silent

	mu   sync.Mutex
	done int64 // guarded by mu
}

// hash returns the SHA-256 of a tensor's bytes, or anything once ctx has ended.
func (h *hashing) hash(ctx context.Context, t *Tensor) [sha256.Size]byte {
	f, sum := h.file, sha256.New()
	for at := uint64(0); at < t.Size && ctx.Err() == nil; at += hashPiece {
		end := min(at+hashPiece, t.Size)
		sum.Write(f.Data(t)[at:end])
		f.ReleasePart(t, at, end)
		h.add(int64(end - at))
	}
	return [sha256.Size]byte(sum.Sum(nil))
}

func (h *hashing) add(n int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.done += n
	if h.progress != nil {
		h.progress(h.done, h.total)
	}
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
