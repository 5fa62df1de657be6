// SPDX-License-Identifier: MIT

package gguf

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/internal/quant"
)

const demoModel = "../../models/demo-32l-q4_0.gguf"

func opened(t *testing.T, path string) *File {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestOpenDemoModel(t *testing.T) {
	t.Parallel()
	f := opened(t, demoModel)
	if layers, err := f.Meta.Uint("llama.block_count"); err != nil || layers != 32 {
		t.Errorf("llama.block_count = %d, %v", layers, err)
	}
	tokens, err := f.Meta.Strings("tokenizer.ggml.tokens")
	if err != nil {
		t.Fatal(err)
	}
	embed, ok := f.Tensor("token_embd.weight")
	if !ok || embed.Rows() != uint64(len(tokens)) {
		t.Fatalf("token_embd.weight of %d rows for %d tokens", embed.Rows(), len(tokens))
	}
	for i := range f.Tensors {
		tensor := &f.Tensors[i]
		dst := make([]float32, tensor.Dims[0]) // the first row
		size, err := quant.RowBytes(tensor.Type, len(dst))
		if err != nil {
			t.Fatal(err)
		}
		if err := quant.Dequantize(tensor.Type, dst, f.Data(tensor)[:size]); err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(dst, func(x float32) bool { return x != x || x > 100 || x < -100 }) {
			t.Errorf("%s: absurd weights %v", tensor.Name, dst[:4])
		}
	}

	// The ID names the model in every swarm: it changes only when the model or the manifest's encoding does.
	const want = "88b9b360074a28446fa7bb3563363116f8f3da44f163ee8db03a2487c7caf1b4"
	id := built(t, f).ID()
	if got := hex.EncodeToString(id[:]); got != want {
		t.Errorf("model ID %s, want %s", got, want)
	}
	data, err := os.ReadFile(demoModel)
	if err != nil {
		t.Fatal(err)
	}
	if inMemory := parsed(t, data); built(t, inMemory).ID() != id {
		t.Error("in memory, the same file has another ID")
	}
}

// Releasing a tensor leaves its bytes, and its neighbours', readable and the same.
func TestRelease(t *testing.T) {
	t.Parallel()
	f := opened(t, demoModel)
	before := built(t, f).ID()
	for i := range f.Tensors {
		f.Release(&f.Tensors[i])
	}
	if built(t, f).ID() != before {
		t.Error("the bytes changed")
	}
	inMemory := parsed(t, written(t, everyValue(), someTensors()))
	before = built(t, inMemory).ID()
	inMemory.Release(&inMemory.Tensors[0])
	if built(t, inMemory).ID() != before {
		t.Error("in memory, the bytes changed")
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	empty, text := filepath.Join(dir, "empty.gguf"), filepath.Join(dir, "text.gguf")
	for path, content := range map[string]string{empty: "", text: "{\"not\": \"a model\"}"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		empty: "not a GGUF file", text: "not a GGUF file", dir: "not a regular file", filepath.Join(dir, "none.gguf"): "no such file",
	} {
		f, err := Open(path)
		if f != nil || err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("Open(%s): error %v, want one with the path and %q", path, err, want)
		}
	}
}

func TestCloseTwice(t *testing.T) {
	t.Parallel()
	f, err := Open(demoModel)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// llama.cpp's own files of every type.
func TestOpenGolden(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("SHARDNODE_TESTDATA")
	if dir == "" {
		t.Skip("SHARDNODE_TESTDATA is not set")
	}
	for name, want := range map[string]quant.Type{
		"F32": quant.F32, "F16": quant.F16, "BF16": quant.BF16, "Q8_0": quant.Q8_0, "Q4_0": quant.Q4_0, "Q4_1": quant.Q4_1,
		"Q5_0": quant.Q5_0, "Q5_1": quant.Q5_1, "Q4_K_M": quant.Q4_K, "Q5_K_M": quant.Q5_K, "Q6_K": quant.Q6_K,
	} {
		f := opened(t, filepath.Join(dir, "golden", "llama4", "llama4-"+name+".gguf"))
		if arch, err := f.Meta.String("general.architecture"); err != nil || arch != "llama" {
			t.Errorf("%s: architecture %q, %v", name, arch, err)
		}
		q, ok := f.Tensor("blk.2.attn_q.weight")
		if !ok || q.Type != want || !slices.Equal(q.Dims, []uint64{256, 256}) {
			t.Errorf("%s: blk.2.attn_q.weight is %+v", name, q)
		}
		last := f.Tensors[len(f.Tensors)-1]
		if end := last.Offset + last.Size; uint64(len(f.parts[0].data))-end >= f.Alignment {
			t.Errorf("%s: tensors end at byte %d of %d", name, end, len(f.parts[0].data))
		}
		again := parsed(t, rewritten(t, f))
		if built(t, again).ID() != built(t, f).ID() {
			t.Errorf("%s: written anew, the model has another ID", name)
		}
	}
}
