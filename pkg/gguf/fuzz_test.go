// SPDX-License-Identifier: MIT

package gguf

import (
	"bytes"
	"testing"
)

// FuzzParse: what is accepted can be written, and what was written reads as the same.
func FuzzParse(f *testing.F) {
	whole := written(f, everyValue(), someTensors())
	f.Add(whole)
	f.Add(whole[:100])
	f.Add(written(f, &Metadata{}, nil))
	f.Add(written(f, &Metadata{}, []TensorData{{"unknown", 99, []uint64{3}, nil}}))
	aligned := everyValue()
	aligned.Set("general.alignment", uint32(8))
	f.Add(written(f, aligned, someTensors()))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse(data)
		if err != nil {
			return
		}
		for i := range file.Tensors {
			if d := &file.Tensors[i]; uint64(len(file.Data(d))) != d.Size {
				t.Fatalf("tensor %q: %d bytes, want %d", d.Name, len(file.Data(d)), d.Size)
			}
		}
		once := rewritten(t, file)
		back := parsed(t, once)
		if again := rewritten(t, back); !bytes.Equal(again, once) {
			t.Fatal("the file changes when it is read and written")
		}
		if len(back.Tensors) != len(file.Tensors) || len(back.Meta.Keys) != len(file.Meta.Keys) || back.Alignment != file.Alignment {
			t.Fatal("something was lost")
		}
		m, err := BuildManifest(file)
		if err != nil {
			return // a tensor of unknown size
		}
		if built(t, back).ID() != m.ID() {
			t.Fatal("the model ID changed")
		}
		if _, err := ParseManifest(m.Bytes); err != nil {
			t.Fatalf("the manifest of an accepted file: %v", err)
		}
	})
}

func FuzzParseManifest(f *testing.F) {
	f.Add(built(f, parsed(f, written(f, everyValue(), someTensors()))).Bytes)
	f.Add([]byte{0x93, 1, 0x90, 0x90})
	f.Add([]byte{0x93, 1, 0xdd, 0x7f, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseManifest(data)
		if err != nil {
			return
		}
		again, err := encodeManifest(m)
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("encoding again gives other bytes (%v)", err)
		}
	})
}
