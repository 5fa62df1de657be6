// SPDX-License-Identifier: MIT

package gguf

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Keys of a shard: a file with the tensors of some layers of a model, and the manifest of the whole model, so that whole and shards are the same
// model to a swarm.
const (
	keyLayers   = "shardnode.layers"
	keyManifest = "shardnode.manifest"
)

// ShardMetadata returns the metadata of a file that has the tensors of some layers of f: that of the model, which layers, such as 0-7, and the
// manifest of the whole model.
func ShardMetadata(f *File, m *Manifest, layers string) *Metadata {
	out := new(Metadata)
	for _, key := range f.Meta.Keys {
		if !strings.HasPrefix(key, "split.") && key != keyLayers && key != keyManifest {
			value, _ := f.Meta.Get(key)
			out.Set(key, value)
		}
	}
	out.Set(keyLayers, layers)
	out.Set(keyManifest, m.Bytes)
	return out
}

// ShardLayers returns which layers a shard has, as [ShardMetadata] was told; "" of a file that is none.
func (f *File) ShardLayers() (string, error) {
	if !f.Meta.Has(keyLayers) {
		return "", nil
	}
	return f.Meta.String(keyLayers)
}

// wholeOf returns the manifest that a shard carries, if the file agrees with it: the same metadata, and of the tensors some.
func wholeOf(f *File, shard *Manifest) (*Manifest, error) {
	value, _ := f.Meta.Get(keyManifest)
	b, ok := value.([]uint8)
	if !ok {
		return nil, fmt.Errorf("%s is of type %T, want bytes; %w", keyManifest, value, errDamaged)
	}
	whole, err := ParseManifest(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; %w", keyManifest, err, errDamaged)
	}
	// Manifests of the metadata alone compare it in its canonical form.
	ours, err := encodeManifest(&Manifest{Meta: shard.Meta})
	if err != nil {
		return nil, err
	}
	if theirs, err := encodeManifest(&Manifest{Meta: whole.Meta}); err != nil || !bytes.Equal(ours, theirs) {
		return nil, fmt.Errorf("the file's metadata is not that of the model that it is a shard of; %w", errDamaged)
	}
	for i := range shard.Tensors {
		t := &shard.Tensors[i]
		at, ok := slices.BinarySearchFunc(whole.Tensors, t.Name, func(w ManifestTensor, name string) int { return strings.Compare(w.Name, name) })
		if !ok {
			return nil, fmt.Errorf("tensor %q is not in the model that the file is a shard of; %w", t.Name, errDamaged)
		}
		if w := &whole.Tensors[at]; w.Type != t.Type || w.SHA256 != t.SHA256 || !slices.Equal(w.Dims, t.Dims) {
			return nil, fmt.Errorf("tensor %q differs from that of the model that the file is a shard of; %w", t.Name, errDamaged)
		}
	}
	return whole, nil
}
