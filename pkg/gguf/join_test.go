// SPDX-License-Identifier: MIT

package gguf

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/internal/quant"
)

// writeParts writes a model of four tensors, and the same in so many files. edit changes the metadata of a file.
func writeParts(t *testing.T, dir string, count int, edit func(i int, m *Metadata)) (whole string) {
	t.Helper()
	var tensors []TensorData
	for i := range 4 {
		tensors = append(tensors, TensorData{Name: fmt.Sprintf("t%d", i), Type: quant.F32, Dims: []uint64{8}, Data: bytes.Repeat([]byte{byte(i + 1)}, 32)})
	}
	write := func(name string, m *Metadata, tensors []TensorData) string {
		var b bytes.Buffer
		if err := Write(&b, m, tensors); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	meta := func() *Metadata {
		m := new(Metadata)
		m.Set("general.architecture", "llama")
		return m
	}
	for i := range count {
		m := new(Metadata)
		if i == 0 {
			m = meta()
		}
		m.Set(keySplitNo, uint16(i))
		m.Set(keySplitCount, uint16(count))
		m.Set(keySplitTensors, int32(4))
		if edit != nil {
			edit(i, m)
		}
		write(fmt.Sprintf("m-%05d-of-%05d.gguf", i+1, count), m, tensors[i*4/count:(i+1)*4/count])
	}
	return write("whole.gguf", meta(), tensors)
}

// A model in several files is the model: named by any of them, with the same ID and bytes.
func TestOpenParts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	whole, err := Open(writeParts(t, dir, 3, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer whole.Close()
	want, err := BuildManifest(whole)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		path := filepath.Join(dir, fmt.Sprintf("m-%05d-of-00003.gguf", i+1))
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		for j := range whole.Tensors {
			a := &whole.Tensors[j]
			b, ok := f.Tensor(a.Name)
			if !ok || !bytes.Equal(whole.Data(a), f.Data(b)) {
				t.Errorf("file %d: tensor %s differs", i+1, a.Name)
			}
			f.Release(b)
		}
		m, err := LoadManifest(t.Context(), f, path, filepath.Join(dir, "cache"), nil)
		if err != nil || m.ID() != want.ID() {
			t.Errorf("file %d: model ID %x (%v), want %x", i+1, m.ID(), err, want.ID())
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenPartsRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		edit   func(i int, m *Metadata)
		change func(dir string) error
		words  string
	}{
		{"missing", nil, func(dir string) error { return os.Remove(filepath.Join(dir, "m-00003-of-00003.gguf")) }, "m-00003-of-00003.gguf not beside download"},
		{"renamed", nil, func(dir string) error {
			return os.Rename(filepath.Join(dir, "m-00001-of-00003.gguf"), filepath.Join(dir, "first.gguf"))
		}, "rename -00001-of-00003.gguf"},
		{"another's", nil, func(dir string) error {
			return os.Rename(filepath.Join(dir, "m-00002-of-00003.gguf"), filepath.Join(dir, "m-00003-of-00003.gguf"))
		}, "not beside"},
		{"swapped", func(i int, m *Metadata) {
			if i > 0 {
				m.Set(keySplitNo, uint16(3-i))
			}
		}, nil, "another one"},
		{"no number", func(_ int, m *Metadata) { m.Set(keySplitNo, "one") }, nil, "split.no"},
		{"number beyond", func(_ int, m *Metadata) { m.Set(keySplitNo, uint16(9)) }, nil, "file 10 of 3"},
		{"count of another type", func(_ int, m *Metadata) { m.Set(keySplitCount, "three") }, nil, "split.count"},
		{"too many", func(_ int, m *Metadata) { m.Set(keySplitCount, uint16(60000)) }, nil, "1000"},
		{"tensors left out", func(_ int, m *Metadata) { m.Set(keySplitTensors, int32(5)) }, nil, "4 tensors want 5"},
	} {
		dir := t.TempDir()
		writeParts(t, dir, 3, c.edit)
		if c.change != nil {
			if err := c.change(dir); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(dir, "m-00001-of-00003.gguf")
		if _, err := os.Stat(path); err != nil {
			path = filepath.Join(dir, "first.gguf")
		}
		f, err := Open(path)
		if err == nil {
			f.Close()
			t.Errorf("%s: opened", c.name)
			continue
		}
		for word := range strings.FieldsSeq(c.words) {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s: the error %q does not mention %q", c.name, err, word)
			}
		}
	}
}

// shardOf writes a file with some tensors of f.
func shardOf(t *testing.T, f *File, m *Manifest, names []string, edit func(meta *Metadata, tensors []TensorData)) *File {
	t.Helper()
	var tensors []TensorData
	for _, name := range names {
		tensor, _ := f.Tensor(name)
		tensors = append(tensors, TensorData{Name: name, Type: tensor.Type, Dims: tensor.Dims, Data: bytes.Clone(f.Data(tensor))})
	}
	meta := ShardMetadata(f, m, "0-1")
	if edit != nil {
		edit(meta, tensors)
	}
	var b bytes.Buffer
	if err := Write(&b, meta, tensors); err != nil {
		t.Fatal(err)
	}
	shard, err := Parse(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return shard
}

// A shard has the model's manifest, and is held to it.
func TestShard(t *testing.T) {
	t.Parallel()
	whole, err := Open(writeParts(t, t.TempDir(), 1, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer whole.Close()
	m, err := BuildManifest(whole)
	if err != nil {
		t.Fatal(err)
	}
	shard := shardOf(t, whole, m, []string{"t1", "t3"}, nil)
	got, err := BuildManifest(shard)
	if err != nil || got.ID() != m.ID() || len(got.Tensors) != 4 {
		t.Errorf("a shard's manifest: %v, want the model's", err)
	}
	if layers, err := shard.ShardLayers(); err != nil || layers != "0-1" {
		t.Errorf("layers %q, %v", layers, err)
	}
	if layers, err := whole.ShardLayers(); err != nil || layers != "" {
		t.Errorf("layers %q, %v of a whole model", layers, err)
	}
	if !describes(m, shard) {
		t.Error("the model's manifest does not describe its shard")
	}
	for _, c := range []struct {
		name  string
		edit  func(meta *Metadata, tensors []TensorData)
		words string
	}{
		{"changed bytes", func(_ *Metadata, tensors []TensorData) { tensors[1].Data[5]++ }, `"t3" differs`},
		{"another tensor", func(_ *Metadata, tensors []TensorData) { tensors[0].Name = "t9" }, `"t9" not in the model`},
		{"other metadata", func(meta *Metadata, _ []TensorData) { meta.Set("general.name", "x") }, "metadata"},
		{"no manifest", func(meta *Metadata, _ []TensorData) { meta.Set(keyManifest, []uint8{1, 2}) }, keyManifest},
		{"text for a manifest", func(meta *Metadata, _ []TensorData) { meta.Set(keyManifest, "x") }, keyManifest},
	} {
		_, err := BuildManifest(shardOf(t, whole, m, []string{"t1", "t3"}, c.edit))
		if err == nil {
			t.Errorf("%s: accepted", c.name)
			continue
		}
		for word := range strings.FieldsSeq(c.words) {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s: the error %q does not mention %q", c.name, err, word)
			}
		}
	}
}
