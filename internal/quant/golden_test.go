// SPDX-License-Identifier: MIT

package quant_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/shardnode/shardnode/internal/quant"
	"github.com/shardnode/shardnode/pkg/gguf"
)

func openGolden(t *testing.T, name string) *gguf.File {
	t.Helper()
	dir := os.Getenv("SHARDNODE_TESTDATA")
	if dir == "" {
		t.Skip("SHARDNODE_TESTDATA is not set")
	}
	f, err := gguf.Open(filepath.Join(dir, "golden", "llama4", "llama4-"+name+".gguf"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// llama.cpp made these files from the F32 one: the simple types must come out byte for byte.
func TestQuantizeEqualsLlamaCpp(t *testing.T) {
	t.Parallel()
	f32 := openGolden(t, "F32")
	for _, name := range []string{"F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"} {
		f := openGolden(t, name)
		compared := 0
		for i := range f.Tensors {
			q := &f.Tensors[i]
			if q.Type.String() != name {
				continue // norms are F32, some heads Q6_K
			}
			p, ok := f32.Tensor(q.Name)
			if !ok || p.Type != quant.F32 {
				t.Fatalf("%s: %s has no F32 original", name, q.Name)
			}
			got := make([]byte, q.Size)
			if err := quant.Quantize(q.Type, got, floats(f32.Data(p))); err != nil {
				t.Fatal(err)
			}
			if want := f.Data(q); !bytes.Equal(got, want) {
				format, _ := quant.Lookup(q.Type)
				for b := 0; b < len(got); b += format.BlockBytes {
					if end := b + format.BlockBytes; !bytes.Equal(got[b:end], want[b:end]) {
						t.Errorf("%s: %s, block %d: %x, llama.cpp has %x", name, q.Name, b/format.BlockBytes, got[b:end], want[b:end])
						break
					}
				}
			}
			compared++
		}
		if compared < 28 {
			t.Errorf("%s: only %d tensors of that type", name, compared)
		}
	}
}

// llama.cpp's K-quants lie as near to the original as the format allows (a wrong scale, bit or order would be far off), and ours as near.
func TestKQuantsOfLlamaCpp(t *testing.T) {
	t.Parallel()
	f32 := openGolden(t, "F32")
	bounds := map[quant.Type]float64{quant.Q4_K: 0.09, quant.Q5_K: 0.045, quant.Q6_K: 0.025}
	worst := map[quant.Type]float64{}
	for _, name := range []string{"Q4_K_M", "Q5_K_M", "Q6_K"} {
		f := openGolden(t, name)
		for i := range f.Tensors {
			q := &f.Tensors[i]
			bound, ok := bounds[q.Type]
			if !ok {
				continue
			}
			p, _ := f32.Tensor(q.Name)
			want := floats(f32.Data(p))
			theirs := relativeError(t, q.Type, f.Data(q), want)
			if theirs > bound {
				t.Errorf("%s: %s (%s): relative rms error %.4f, want up to %v", name, q.Name, q.Type, theirs, bound)
			}
			blocks := make([]byte, q.Size)
			if err := quant.Quantize(q.Type, blocks, want); err != nil {
				t.Fatal(err)
			}
			ratio := relativeError(t, q.Type, blocks, want) / theirs
			if ratio > 1.02 {
				t.Errorf("%s: %s (%s): rms error of %.4f times llama.cpp's, want up to 1.02", name, q.Name, q.Type, ratio)
			}
			worst[q.Type] = max(worst[q.Type], ratio)
		}
	}
	for typ := range bounds {
		if worst[typ] == 0 {
			t.Errorf("no %s tensor compared", typ)
		}
		t.Logf("%s: rms error at most %.5f times llama.cpp's", typ, worst[typ])
	}
}

// relativeError is the root mean square of the errors over that of the values.
func relativeError(t *testing.T, typ quant.Type, blocks []byte, want []float32) float64 {
	t.Helper()
	got := make([]float32, len(want))
	if err := quant.Dequantize(typ, got, blocks); err != nil {
		t.Fatal(err)
	}
	var sum, norm float64
	for i := range want {
		e := float64(got[i]) - float64(want[i])
		sum, norm = sum+float64(e*e), norm+float64(want[i])*float64(want[i])
	}
	return math.Sqrt(sum / norm)
}

func floats(b []byte) []float32 {
	out := make([]float32, len(b)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return out
}
