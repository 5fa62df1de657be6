// SPDX-License-Identifier: MIT

package layers_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/shardnode/shardnode/internal/quant"
	"github.com/shardnode/shardnode/pkg/gguf"
)

// tiny describes a small random Llama model. Unlike those of internal/testmodel, every product has another tensor type, heads are wider than the hidden
// size asks for, and a test may change metadata and tensors.
type tiny struct {
	layers int  // 0: tinyDepth
	tied   bool // no output.weight
	meta   func(*gguf.Metadata)
	edit   func(name string, t *gguf.TensorData) bool // changes a tensor; false: leaves it out
	extra  []gguf.TensorData
}

const (
	tinyHidden, tinyFFN               = 256, 256
	tinyHeads, tinyKVHeads, tinyDim   = 6, 2, 32 // heads·dim differs from the hidden size
	tinyVocab, tinyContext, tinyDepth = 64, 128, 4
)

func (d tiny) file(t testing.TB) *gguf.File {
	t.Helper()
	f, err := gguf.Parse(d.bytes(t))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (d tiny) bytes(t testing.TB) []byte {
	t.Helper()
	if d.layers == 0 {
		d.layers = tinyDepth
	}
	meta := new(gguf.Metadata)
	meta.Set("general.architecture", "llama")
	for key, n := range map[string]int{
		"block_count": d.layers, "embedding_length": tinyHidden, "feed_forward_length": tinyFFN, "vocab_size": tinyVocab,
		"attention.head_count": tinyHeads, "attention.head_count_kv": tinyKVHeads, "attention.key_length": tinyDim,
		"attention.value_length": tinyDim, "rope.dimension_count": tinyDim, "context_length": tinyContext,
	} {
		meta.Set("llama."+key, uint32(n))
	}
	meta.Set("llama.attention.layer_norm_rms_epsilon", float32(1e-5))
	if d.meta != nil {
		d.meta(meta)
	}

	random := rand.New(rand.NewPCG(1, 2))
	var tensors []gguf.TensorData
	add := func(name string, typ quant.Type, mean, scale float32, dims ...uint64) {
		tensor := randomTensor(random, name, typ, mean, scale, dims...)
		if d.edit == nil || d.edit(name, &tensor) {
			tensors = append(tensors, tensor)
		}
	}
	add("token_embd.weight", quant.Q6_K, 0, 1, tinyHidden, tinyVocab)
	for i := range d.layers {
		b := fmt.Sprintf("blk.%d.", i)
		types := []quant.Type{quant.Q4_0, quant.Q4_1, quant.Q5_0, quant.Q5_1, quant.Q8_0, quant.Q4_K, quant.Q5_K, quant.Q6_K, quant.F16, quant.BF16, quant.F32, quant.Q2_K, quant.Q3_K, quant.IQ4_NL, quant.IQ4_XS, quant.MXFP4}
		typ := func(n int) quant.Type { return types[(7*i+n)%len(types)] }
		add(b+"attn_norm.weight", quant.F32, 1, 0.1, tinyHidden)
		add(b+"attn_q.weight", typ(0), 0, 0.12, tinyHidden, tinyHeads*tinyDim)
		add(b+"attn_k.weight", typ(1), 0, 0.12, tinyHidden, tinyKVHeads*tinyDim)
		add(b+"attn_v.weight", typ(2), 0, 0.12, tinyHidden, tinyKVHeads*tinyDim)
		add(b+"attn_output.weight", types[(7*i+3)%5], 0, 0.12, tinyHeads*tinyDim, tinyHidden) // 192 columns: no multiple of 256
		add(b+"ffn_norm.weight", quant.F32, 1, 0.1, tinyHidden)
		add(b+"ffn_gate.weight", typ(4), 0, 0.12, tinyHidden, tinyFFN)
		add(b+"ffn_up.weight", typ(5), 0, 0.12, tinyHidden, tinyFFN)
		add(b+"ffn_down.weight", typ(6), 0, 0.12, tinyFFN, tinyHidden)
	}
	add("output_norm.weight", quant.F32, 1, 0.1, tinyHidden)
	if !d.tied {
		add("output.weight", quant.Q4_K, 0, 0.2, tinyHidden, tinyVocab)
	}
	var file bytes.Buffer
	if err := gguf.Write(&file, meta, append(tensors, d.extra...)); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func randomTensor(random *rand.Rand, name string, typ quant.Type, mean, scale float32, dims ...uint64) gguf.TensorData {
	n := 1
	for _, d := range dims {
		n *= int(d)
	}
	values := make([]float32, n)
	for i := range values {
		values[i] = mean + scale*float32(random.NormFloat64())
	}
	return gguf.TensorData{Name: name, Type: typ, Dims: dims, Data: encode(typ, values)}
}

func encode(typ quant.Type, values []float32) []byte {
	format, _ := quant.Lookup(typ)
	data := make([]byte, len(values)/format.BlockElems*format.BlockBytes)
	if err := quant.Quantize(typ, data, values); err != nil {
		panic(err)
	}
	return data
}
