// SPDX-License-Identifier: MIT

package quant_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/internal/quant"
	"github.com/shardnode/shardnode/pkg/gguf"
)

var llamaQuantize = flag.String("llama-quantize", "", "make testdata/llamacpp again with this program of llama.cpp")

// smallTypes are what golden/llama4 has no files of, and the files of llama.cpp that are all of them (with --pure).
var smallTypes = map[quant.Type]string{
	quant.Q2_K: "Q2_K", quant.Q3_K: "Q3_K_S", quant.IQ4_NL: "IQ4_NL", quant.IQ4_XS: "IQ4_XS", quant.MXFP4: "MXFP4_MOE",
}

const sampleCols, sampleRows = 1024, 8

// samples are values of several distributions, the same everywhere.
func samples() [][]float32 {
	r := rand.New(rand.NewPCG(5, 6))
	const n = sampleCols * sampleRows
	normal, laplace, outliers, scaled := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
	for i := range normal {
		normal[i] = 0.02 * float32(r.NormFloat64())
		laplace[i] = float32(r.ExpFloat64()) * float32(1-2*r.IntN(2))
		outliers[i] = float32(r.NormFloat64())
		if r.IntN(64) == 0 {
			outliers[i] *= 8
		}
		scaled[i] = float32(r.NormFloat64()) * float32(1+i/16%16)
	}
	clear(scaled[:sampleCols/2])
	return [][]float32{normal, laplace, outliers, scaled}
}

// TestSmallTypesOfLlamaCpp: blocks that llama.cpp made (b10587) are read as it reads them, bit for bit, and those made here of the same
// values are as near to them.
func TestSmallTypesOfLlamaCpp(t *testing.T) {
	t.Parallel()
	if *llamaQuantize != "" {
		askLlamaQuantize(t)
	}
	raw, err := os.ReadFile(filepath.Join("testdata", "llamacpp", "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	for typ, name := range smallTypes {
		blocks, err := os.ReadFile(filepath.Join("testdata", "llamacpp", name))
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		for i, want := range samples() {
			size, err := quant.RowBytes(typ, len(want))
			if err != nil {
				t.Fatal(err)
			}
			theirs := make([]float32, len(want))
			if err := quant.Dequantize(typ, theirs, blocks[i*size:(i+1)*size]); err != nil {
				t.Fatal(err)
			}
			for _, x := range theirs {
				h.Write(binary.LittleEndian.AppendUint32(nil, math.Float32bits(x)))
			}
			b := make([]byte, size)
			if err := quant.Quantize(typ, b, want); err != nil {
				t.Fatal(err)
			}
			ratio := relativeError(t, typ, b, want) / relativeError(t, typ, blocks[i*size:(i+1)*size], want)
			t.Logf("%s, distribution %d: rms error of %.4f times llama.cpp's", name, i, ratio)
			if !(ratio <= 1.02) {
				t.Errorf("%s, distribution %d: rms error of %.4f times llama.cpp's, want up to 1.02", name, i, ratio)
			}
		}
		if line := hex.EncodeToString(h.Sum(nil)) + "  " + name + "\n"; !strings.Contains(string(raw), line) {
			t.Errorf("%s: llama.cpp reads other values from its blocks: no line %s", name, line)
		}
	}
}

// askLlamaQuantize makes the test's data again.
func askLlamaQuantize(t *testing.T) {
	t.Helper()
	meta := &gguf.Metadata{}
	meta.Set("general.architecture", "llama")
	for key, n := range map[string]uint32{
		"block_count": 4, "context_length": 64, "embedding_length": sampleCols, "feed_forward_length": sampleRows, "vocab_size": 2,
		"attention.head_count": 4, "attention.head_count_kv": 4,
	} {
		meta.Set("llama."+key, n)
	}
	meta.Set("llama.attention.layer_norm_rms_epsilon", float32(1e-5))
	tensors := make([]gguf.TensorData, 0, len(smallTypes))
	for i, x := range samples() {
		data := make([]byte, 4*len(x))
		if err := quant.Quantize(quant.F32, data, x); err != nil {
			t.Fatal(err)
		}
		tensors = append(tensors, gguf.TensorData{Name: fmt.Sprintf("blk.%d.ffn_up.weight", i), Type: quant.F32, Dims: []uint64{sampleCols, sampleRows}, Data: data})
	}
	var file bytes.Buffer
	if err := gguf.Write(&file, meta, tensors); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	in := filepath.Join(dir, "in.gguf")
	if err := os.WriteFile(in, file.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	convert := func(from, to, typ string) *gguf.File {
		cmd := exec.CommandContext(t.Context(), *llamaQuantize, "--pure", "--allow-requantize", from, to, typ)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", typ, err, out)
		}
		f, err := gguf.Open(to)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	var sums strings.Builder
	for _, typ := range slices.Sorted(maps.Keys(smallTypes)) {
		name := smallTypes[typ]
		small := convert(in, filepath.Join(dir, name), name)
		back := convert(filepath.Join(dir, name), filepath.Join(dir, name+".f32"), "F32")
		var blocks []byte
		h := sha256.New()
		for i := range tensors {
			q, _ := small.Tensor(tensors[i].Name)
			f, _ := back.Tensor(tensors[i].Name)
			if q.Type != typ || f.Type != quant.F32 {
				t.Fatalf("%s: a tensor of %s, and of %s", name, q.Type, f.Type)
			}
			blocks = append(blocks, small.Data(q)...)
			h.Write(back.Data(f))
		}
		if err := os.WriteFile(filepath.Join("testdata", "llamacpp", name), blocks, 0o644); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&sums, "%x  %s\n", h.Sum(nil), name)
	}
	if err := os.WriteFile(filepath.Join("testdata", "llamacpp", "SHA256SUMS"), []byte(sums.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
