// SPDX-License-Identifier: MIT

package layers_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/internal/quant"
	"github.com/shardnode/shardnode/internal/testmodel"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

var panelModel = protocol.ModelID{1, 2, 3}

// panelFile returns the panel file of a range. Where matrices are not packed there is none.
func panelFile(t testing.TB, f *gguf.File, r protocol.LayerRange) []byte {
	t.Helper()
	m := loadRange(t, f, r, layers.Options{Threads: 2})
	if m.PanelBytes() == 0 {
		t.Skip("this path computes with weights as they are in the file")
	}
	return written(t, m)
}

func written(t testing.TB, m *layers.Model) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := m.WritePanels(&b, panelModel); err != nil {
		t.Fatal(err)
	}
	if int64(b.Len()) != m.PanelBytes() {
		t.Fatalf("%d bytes were written, %d announced", b.Len(), m.PanelBytes())
	}
	return b.Bytes()
}

func panels(b []byte) *layers.Panels {
	return &layers.Panels{Model: panelModel, File: bytes.NewReader(b), Size: int64(len(b))}
}

// A model from a panel file computes the same bits, and looks at no matrix of the model file.
func TestPanels(t *testing.T) {
	t.Parallel()
	for _, tied := range []bool{false, true} {
		for _, r := range []protocol.LayerRange{{From: 0, To: tinyDepth}, {From: 1, To: 3}, {From: 3, To: tinyDepth}} {
			intact := tiny{tied: tied}.file(t)
			file := panelFile(t, intact, r)
			damaged := tiny{tied: tied, edit: func(name string, tensor *gguf.TensorData) bool {
				if len(tensor.Dims) == 2 && name != "token_embd.weight" {
					tensor.Data = bytes.Repeat([]byte{0xff}, len(tensor.Data))
				}
				return true
			}}.file(t)
			in := layers.Input{Tokens: tinyTokens(0)[:5], Hidden: make([]float32, 5*tinyHidden), Logits: []uint32{4}}
			for i := range in.Hidden {
				in.Hidden[i] = float32(i%17) - 8
			}
			var done, total int64
			progress := func(d, all int64) { done, total = d, all }
			a, b := loadRange(t, intact, r, layers.Options{}), loadRange(t, damaged, r, layers.Options{Threads: 3, Panels: panels(file), Progress: progress})
			if err := b.PanelsErr(); err != nil {
				t.Fatal(err)
			}
			if done != total || a.WeightBytes() != b.WeightBytes() {
				t.Errorf("layers %s: %d of %d bytes made ready, %d held instead of %d", r, done, total, b.WeightBytes(), a.WeightBytes())
			}
			var want, got layers.Output
			if err := a.Forward(a.NewCache(8), in, &want); err != nil {
				t.Fatal(err)
			}
			if err := b.Forward(b.NewCache(8), in, &got); err != nil {
				t.Fatal(err)
			}
			if err := sameBits(append(got.Hidden, got.Logits...), append(want.Hidden, want.Logits...)); err != nil {
				t.Errorf("tied %v, layers %s: %v", tied, r, err)
			}
			if !bytes.Equal(written(t, b), file) {
				t.Errorf("tied %v, layers %s: written again, the file is another", tied, r)
			}
		}
	}
}

// A matrix of more pieces than are read at a time.
func TestPanelsInPieces(t *testing.T) {
	t.Parallel()
	spec := testmodel.Default()
	spec.Layers, spec.Vocab, spec.Head = 1, 80001, quant.F32 // 19.5 MiB of head
	f, err := gguf.Parse(testmodel.Bytes(spec))
	if err != nil {
		t.Fatal(err)
	}
	r := protocol.LayerRange{From: 0, To: 1}
	good := panelFile(t, f, r)
	if m := loadRange(t, f, r, layers.Options{Threads: 2, Panels: panels(good)}); m.PanelsErr() != nil || !bytes.Equal(written(t, m), good) {
		t.Errorf("what was read is not what was written (%v)", m.PanelsErr())
	}
	for _, back := range []int{100, 1 << 20, 10 << 20} {
		bad := bytes.Clone(good)
		bad[len(bad)-back] ^= 0x80
		m := loadRange(t, f, r, layers.Options{Threads: 2, Panels: panels(bad)})
		if m.PanelsErr() == nil || !bytes.Equal(written(t, m), good) {
			t.Errorf("damage %d bytes from the end: %v", back, m.PanelsErr())
		}
	}
}

// What is not this model's, or not whole, is not used, and the model is as without it.
func TestPanelsRefused(t *testing.T) {
	t.Parallel()
	f := tiny{}.file(t)
	r := protocol.LayerRange{From: 1, To: 3}
	good := panelFile(t, f, r)
	change := func(at int) []byte {
		b := bytes.Clone(good)
		b[at] ^= 1
		return b
	}
	other := func(f *gguf.File, r protocol.LayerRange) *layers.Panels { return panels(panelFile(t, f, r)) }
	foreign := panels(good)
	foreign.Model[0]++
	gone := panels(good)
	gone.File = bytes.NewReader(good[:len(good)/2])
	retyped := tiny{edit: func(_ string, tensor *gguf.TensorData) bool {
		if tensor.Name == "blk.1.attn_q.weight" {
			*tensor = gguf.TensorData{Name: tensor.Name, Type: 0, Dims: tensor.Dims, Data: make([]byte, 4*tensor.Dims[0]*tensor.Dims[1])}
		}
		return true
	}}
	for _, c := range []struct {
		name   string
		panels *layers.Panels
		word   string // of the error; "": it is ErrOtherPanels
	}{
		{"nothing", panels(nil), ""},
		{"too short for a head", panels(good[:100]), ""},
		{"another model", foreign, ""},
		{"other layers", other(f, protocol.LayerRange{From: 0, To: 3}), ""},
		{"other types", other(retyped.file(t), r), ""},
		{"version", panels(change(17)), ""},
		{"head", panels(change(4000)), ""},
		{"first panel", panels(change(4096)), "damaged: the checksum of"},
		{"in the middle", panels(change(len(good) / 2)), "damaged: the checksum of"},
		{"a sum", panels(change(len(good) - 5)), "damaged: their checksums"},
		{"the sum of sums", panels(change(len(good) - 1)), "damaged: their checksums"},
		{"cut", panels(good[:len(good)-1]), "damaged: "},
		{"longer", panels(append(bytes.Clone(good), 0)), "damaged: "},
		{"cut while open", gone, "read the packed weights"},
	} {
		m := loadRange(t, f, r, layers.Options{Threads: 2, Panels: c.panels})
		err := m.PanelsErr()
		if err == nil || errors.Is(err, layers.ErrOtherPanels) != (c.word == "") || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: error %v", c.name, err)
		}
		if !bytes.Equal(written(t, m), good) {
			t.Errorf("%s: the model is another", c.name)
		}
	}
}

// stopReader ends a context when it is read for the n-th time.
type stopReader struct {
	io.ReaderAt
	n    int
	stop func()
}

func (r *stopReader) ReadAt(b []byte, at int64) (int, error) {
	if r.n--; r.n == 0 {
		r.stop()
	}
	return r.ReaderAt.ReadAt(b, at)
}

func TestPanelsStop(t *testing.T) {
	t.Parallel()
	f := tiny{}.file(t)
	r := protocol.LayerRange{From: 1, To: 3}
	ctx, cancel := context.WithCancel(t.Context())
	p := panels(panelFile(t, f, r))
	reader := &stopReader{p.File, 5, cancel}
	p.File = reader
	if _, err := layers.LoadContext(ctx, f, parse(t, f), r, layers.Options{Panels: p}); !errors.Is(err, context.Canceled) || reader.n != 0 {
		t.Errorf("error %v, read %d times after it was cancelled", err, -reader.n)
	}
}

// failWriter takes n bytes.
type failWriter struct{ n int }

func (w *failWriter) Write(b []byte) (int, error) {
	if w.n -= len(b); w.n < 0 {
		return 0, io.ErrShortWrite
	}
	return len(b), nil
}

func TestWritePanelsFails(t *testing.T) {
	t.Parallel()
	f := tiny{}.file(t)
	r := protocol.LayerRange{From: 1, To: 3}
	size := len(panelFile(t, f, r))
	m := loadRange(t, f, r, layers.Options{})
	for _, n := range []int{0, 5000, size - 1} {
		if err := m.WritePanels(&failWriter{n}, panelModel); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("a disk with room for %d of %d bytes: %v", n, size, err)
		}
	}
	if err := m.WritePanels(&failWriter{size}, panelModel); err != nil {
		t.Error(err)
	}
}

// FuzzPanels gives loading any file in place of packed weights: it must end up with the weights of the model.
func FuzzPanels(f *testing.F) {
	file, err := gguf.Parse(micro(f, nil))
	if err != nil {
		f.Fatal(err)
	}
	r := protocol.LayerRange{From: 0, To: 1}
	good := panelFile(f, file, r)
	f.Add(good)
	f.Add(good[:5000])
	f.Add(slices.Concat(good, good))
	filler := bytes.Clone(good) // damaged in a row that only fills the last panel up, before the sums of 8 matrices
	filler[len(filler)-9*4-1] ^= 1
	f.Add(filler)
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg := parse(t, file)
		m, err := layers.Load(file, cfg, r, layers.Options{Panels: panels(data)})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if whole := bytes.Equal(data, good); (m.PanelsErr() == nil) != whole {
			t.Errorf("a file that is as it was written: %v; error %v", whole, m.PanelsErr())
		}
		if !bytes.Equal(written(t, m), good) {
			t.Error("the weights are others than the model's")
		}
	})
}
