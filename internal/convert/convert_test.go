// SPDX-License-Identifier: MIT

package convert_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shardnode/shardnode/internal/convert"
	"github.com/shardnode/shardnode/internal/quant"
	"github.com/shardnode/shardnode/internal/testmodel"
	"github.com/shardnode/shardnode/pkg/gguf"
)

func fileType(t *testing.T, name string) *convert.FileType {
	t.Helper()
	ft, err := convert.ParseFileType(name)
	if err != nil {
		t.Fatal(err)
	}
	return ft
}

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

// convertTo returns the converted file, in memory.
func convertTo(t *testing.T, f *gguf.File, ft *convert.FileType, threads int) ([]byte, *convert.Plan) {
	t.Helper()
	p, err := convert.NewPlan(f, ft)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	var progress int64
	if err := p.Write(t.Context(), &b, &convert.Encoder{Threads: threads, Progress: func(n int64) { progress += n }}); err != nil {
		t.Fatal(err)
	}
	if progress != p.Bytes() {
		t.Errorf("%s: progress to %d bytes of %d", ft.Name, progress, p.Bytes())
	}
	return b.Bytes(), p
}

// relativeError compares a tensor of two files.
func relativeError(t *testing.T, f, original *gguf.File, name string) float64 {
	t.Helper()
	read := func(f *gguf.File) []float32 {
		tensor, ok := f.Tensor(name)
		if !ok {
			t.Fatalf("no tensor %s", name)
		}
		values := make([]float32, tensor.Elements())
		if err := quant.Dequantize(tensor.Type, values, f.Data(tensor)); err != nil {
			t.Fatal(err)
		}
		return values
	}
	got, want := read(f), read(original)
	var sum, norm float64
	for i := range want {
		d := float64(got[i]) - float64(want[i])
		sum, norm = sum+float64(d*d), norm+float64(want[i])*float64(want[i])
	}
	return math.Sqrt(sum / norm)
}

// Each file that llama.cpp made from the F32 one is made here: the same tensors of the same types, the same metadata, and nowhere more
// than 1.02 times its error.
func TestEqualsLlamaCpp(t *testing.T) {
	t.Parallel()
	original := openGolden(t, "F32")
	for _, name := range []string{"F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_0", "Q5_1", "Q4_K_M", "Q4_0", "Q4_1"} {
		ft := fileType(t, name)
		theirs := openGolden(t, ft.Name)
		data, plan := convertTo(t, original, ft, 2)
		ours, err := gguf.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		if len(ours.Tensors) != len(theirs.Tensors) {
			t.Errorf("%s: %d tensors, llama.cpp has %d", ft.Name, len(ours.Tensors), len(theirs.Tensors))
		}
		losses := map[string]float64{}
		for _, r := range plan.Tensors {
			losses[r.Name] = r.Loss.Relative()
		}
		worst := 0.0
		for j := range theirs.Tensors {
			want := &theirs.Tensors[j]
			got, ok := ours.Tensor(want.Name)
			if !ok || got.Type != want.Type || !cmp.Equal(got.Dims, want.Dims) {
				t.Errorf("%s: %s is %+v, llama.cpp has %+v", ft.Name, want.Name, got, want)
				continue
			}
			e, limit := relativeError(t, ours, original, got.Name), 1.02*relativeError(t, theirs, original, got.Name)
			if e > limit {
				t.Errorf("%s: %s (%s): relative rms error %.5f, want up to %.5f", ft.Name, got.Name, got.Type, e, limit)
			}
			if limit > 0 {
				worst = max(worst, 1.02*e/limit)
			}
			if reported := losses[got.Name]; math.Abs(reported-e) > 1e-9 {
				t.Errorf("%s: %s: error %.9f reported, %.9f found", ft.Name, got.Name, reported, e)
			}
		}
		t.Logf("%s: rms error at most %.5f times llama.cpp's", ft.Name, worst)
		for _, key := range theirs.Meta.Keys {
			want, _ := theirs.Meta.Get(key)
			if got, ok := ours.Meta.Get(key); key != "general.quantization_version" && (!ok || !cmp.Equal(got, want)) {
				t.Errorf("%s: %s is %v, llama.cpp has %v", ft.Name, key, got, want)
			}
		}
	}
}

// The bytes depend neither on the number of threads nor on how far the source is from memory.
func TestThreads(t *testing.T) {
	t.Parallel()
	spec := testmodel.Default()
	spec.Layers, spec.Hidden, spec.FFN, spec.Vocab = 2, 256, 768, 1000
	spec.Type, spec.Embed, spec.Head = quant.F16, quant.F32, quant.BF16
	f, err := gguf.Parse(testmodel.Bytes(spec))
	if err != nil {
		t.Fatal(err)
	}
	want, plan := convertTo(t, f, fileType(t, "q4_k_m"), 1)
	if plan.Lossy() {
		t.Error("an F16 file is said to be quantised")
	}
	for _, threads := range []int{0, 2, 3, 8} {
		got, again := convertTo(t, f, fileType(t, "q4_k_m"), threads)
		if !bytes.Equal(got, want) {
			t.Errorf("%d threads give another file than 1", threads)
		}
		if d := cmp.Diff(plan.Tensors, again.Tensors, cmp.AllowUnexported(convert.Loss{})); d != "" {
			t.Errorf("%d threads report otherwise (-1 +%d):\n%s", threads, threads, d)
		}
	}
}

// From any type to any: the directory says the type, metadata stays, and a tensor that keeps its type keeps its bytes.
func TestAnyToAny(t *testing.T) {
	t.Parallel()
	for i, name := range []string{"f32", "f16", "bf16", "q8_0", "q4_1", "q2_k", "iq4_xs"} {
		from := fileType(t, name)
		spec := testmodel.Default()
		spec.Layers, spec.Hidden, spec.FFN = 1, 256, 256
		spec.Type, spec.Embed, spec.Head = from.Base, from.Base, from.Base
		spec.TiedHead = i%2 == 0
		f, err := gguf.Parse(testmodel.Bytes(spec))
		if err != nil {
			t.Fatal(err)
		}
		for j := range convert.FileTypes {
			to := &convert.FileTypes[j]
			data, plan := convertTo(t, f, to, 2)
			got, err := gguf.Parse(data)
			if err != nil {
				t.Fatalf("%s to %s: %v", from.Name, to.Name, err)
			}
			if n, err := got.Meta.Uint("general.file_type"); err != nil || n != uint64(to.Number) {
				t.Errorf("%s to %s: file type %d, %v, want %d", from.Name, to.Name, n, err, to.Number)
			}
			for _, key := range f.Meta.Keys {
				was, _ := f.Meta.Get(key)
				if is, ok := got.Meta.Get(key); !ok || !cmp.Equal(is, was) {
					t.Errorf("%s to %s: %s is %v, was %v", from.Name, to.Name, key, is, was)
				}
			}
			for k := range got.Tensors {
				is := &got.Tensors[k]
				was, _ := f.Tensor(is.Name)
				if is.Type == was.Type && !bytes.Equal(got.Data(is), f.Data(was)) {
					t.Errorf("%s to %s: %s keeps its type but not its bytes", from.Name, to.Name, is.Name)
				}
				if strings.HasSuffix(is.Name, "norm.weight") != (is.Type == quant.F32 && to.Base != quant.F32 || len(is.Dims) == 1) {
					t.Errorf("%s to %s: %s is %s", from.Name, to.Name, is.Name, is.Type)
				}
			}
			again := false
			for _, r := range plan.Tensors {
				block, _ := quant.Lookup(r.From)
				again = again || r.From != r.To && block.BlockElems > 1
			}
			if plan.Lossy() != again {
				t.Errorf("%s to %s: lossy is %v", from.Name, to.Name, plan.Lossy())
			}
		}
	}
}

func TestTensorType(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		file, name string
		row        uint64
		layers     int
		tied       bool
		want       string // "": kept
	}{
		{"q4_k_m", "blk.0.attn_v.weight", 256, 32, false, "Q6_K"},
		{"q4_k", "blk.4.attn_v.weight", 256, 32, false, "Q4_K"},
		{"q4_k", "blk.6.ffn_down.weight", 256, 32, false, "Q6_K"},
		{"q4_k", "blk.27.ffn_down.weight", 256, 32, false, "Q6_K"},
		{"q4_k", "blk.28.ffn_down.weight", 256, 32, false, "Q6_K"},
		{"q4_k", "blk.26.ffn_down.weight", 256, 32, false, "Q4_K"},
		{"Q4_K_M", "blk.0.ffn_up.weight", 256, 32, false, "Q4_K"},
		{"q5_k_m", "blk.31.attn_v.weight", 256, 32, false, "Q6_K"},
		{"q5_k", "blk.9.attn_q.weight", 256, 32, false, "Q5_K"},
		{"q4_k", "blk.9.attn_qkv.weight", 256, 32, false, "Q6_K"},
		{"q5_k", "blk.8.attn_qkv.weight", 256, 32, false, "Q5_K"},
		{"q3_k", "blk.8.attn_q.weight", 256, 32, false, "Q3_K"},
		{"mxfp4", "blk.8.attn_q.weight", 256, 32, false, "Q8_0"},
		{"q4_0", "blk.0.attn_v.weight", 256, 32, false, "Q4_0"},
		{"q4_0", "output.weight", 256, 32, false, "Q6_K"},
		{"q8_0", "output.weight", 256, 32, false, "Q8_0"},
		{"bf16", "output.weight", 256, 32, false, "BF16"},
		{"q4_0", "token_embd.weight", 256, 32, false, "Q4_0"},
		{"q4_0", "token_embd.weight", 256, 32, true, "Q6_K"},
		{"q4_0", "output.weight", 96, 32, false, "Q8_0"},
		{"q4_k", "blk.9.attn_q.weight", 96, 32, false, "Q5_0"},
		{"q5_k", "blk.9.attn_q.weight", 96, 32, false, "Q5_1"},
		{"q6_k", "blk.9.attn_q.weight", 96, 32, false, "Q8_0"},
		{"q6_k", "blk.9.attn_q.weight", 80, 32, false, "F16"},
		{"q4_0", "blk.9.attn_q.weight", 80, 32, false, "F16"},
		{"q4_0", "blk.9.attn_q_norm.weight", 256, 32, false, ""},
		{"q4_0", "blk.9.ffn_gate_inp.weight", 256, 32, false, ""},
		{"f32", "blk.9.attn_q.bias", 256, 32, false, ""},
	} {
		got, ok := fileType(t, c.file).TensorType(c.name, []uint64{c.row, 64}, convert.Model{Layers: c.layers, Tied: c.tied})
		if ok != (c.want != "") || ok && got.String() != c.want {
			t.Errorf("%s: %s with rows of %d is %s, %v, want %q", c.file, c.name, c.row, got, ok, c.want)
		}
	}
	if _, ok := fileType(t, "q4_0").TensorType("output_norm.weight", []uint64{256}, convert.Model{}); ok {
		t.Error("a vector is quantised")
	}
	if _, err := convert.ParseFileType("q2_k_s"); err == nil || !strings.Contains(err.Error(), "q4_k_m") {
		t.Errorf("q2_k_s: %v", err)
	}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	meta := &gguf.Metadata{}
	meta.Set("general.architecture", "llama")
	file := func(typ quant.Type, data []byte) *gguf.File {
		var b bytes.Buffer
		if err := gguf.Write(&b, meta, []gguf.TensorData{{Name: "blk.0.attn_q.weight", Type: typ, Dims: []uint64{256, 1}, Data: data}}); err != nil {
			t.Fatal(err)
		}
		f, err := gguf.Parse(b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	if _, err := convert.NewPlan(file(18, make([]byte, 98)), fileType(t, "q8_0")); err == nil || !strings.Contains(err.Error(), "IQ3_XXS, which cannot be read") {
		t.Errorf("from IQ3_XXS: %v", err)
	}
	for _, c := range []struct {
		value float32
		to    string
		want  string
	}{
		{3e38, "q4_k", "too large for Q4_K"},
		{3e38, "q8_0", "too large for Q8_0"},
		{3e38, "f16", "too large for F16"},
		{float32(math.NaN()), "q6_k", "only finite values"},
		{float32(math.Inf(1)), "bf16", "not finite"},
		{3e38, "bf16", ""},
	} {
		src := make([]float32, 256)
		src[77] = c.value
		data := make([]byte, 4*256)
		if err := quant.Quantize(quant.F32, data, src); err != nil {
			t.Fatal(err)
		}
		p, err := convert.NewPlan(file(quant.F32, data), fileType(t, c.to))
		if err != nil {
			t.Fatal(err)
		}
		err = p.Write(t.Context(), io.Discard, &convert.Encoder{})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v to %s: %v, want %q", c.value, c.to, err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p, err := convert.NewPlan(file(quant.F32, make([]byte, 1024)), fileType(t, "q8_0"))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Write(ctx, io.Discard, &convert.Encoder{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled conversion: %v", err)
	}
	if err := p.Write(t.Context(), brokenWriter{}, &convert.Encoder{}); !errors.Is(err, errBroken) {
		t.Errorf("a broken writer: %v", err)
	}
}

type brokenWriter struct{}

var errBroken = fmt.Errorf("broken")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }
