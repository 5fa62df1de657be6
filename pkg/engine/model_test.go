// SPDX-License-Identifier: MIT

package engine_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/shardnode/shardnode/internal/quant"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// The shape of the test model: a real Llama, as small as quantised blocks of 32 allow.
const (
	testLayers  = 6
	testVocab   = 50
	testHidden  = 32
	testContext = 300

	testPeer = "test-coordinator" // who opens sessions
)

// testFile is a model of random weights, some quantised and some not.
var testFile = sync.OnceValue(func() []byte {
	const ffn, heads, kvHeads, headDim = 64, 4, 2, 8
	meta := new(gguf.Metadata)
	meta.Set("general.architecture", "llama")
	for key, n := range map[string]uint32{
		"block_count": testLayers, "embedding_length": testHidden, "feed_forward_length": ffn, "vocab_size": testVocab,
		"attention.head_count": heads, "attention.head_count_kv": kvHeads, "context_length": testContext,
	} {
		meta.Set("llama."+key, n)
	}
	meta.Set("llama.attention.layer_norm_rms_epsilon", float32(1e-5))

	random := rand.New(rand.NewPCG(1, 2))
	var tensors []gguf.TensorData
	add := func(name string, t quant.Type, scale, mean float32, dims ...uint64) {
		n := 1
		for _, d := range dims {
			n *= int(d)
		}
		values := make([]float32, n)
		for i := range values {
			values[i] = mean + scale*float32(random.NormFloat64())
		}
		format, _ := quant.Lookup(t)
		data := make([]byte, n/format.BlockElems*format.BlockBytes)
		if err := quant.Quantize(t, data, values); err != nil {
			panic(err)
		}
		tensors = append(tensors, gguf.TensorData{Name: name, Type: t, Dims: dims, Data: data})
	}
	add("token_embd.weight", quant.Q8_0, 1, 0, testHidden, testVocab)
	for i := range testLayers {
		block := fmt.Sprintf("blk.%d.", i)
		add(block+"attn_norm.weight", quant.F32, 0.1, 1, testHidden)
		add(block+"attn_q.weight", quant.Q8_0, 0.3, 0, testHidden, heads*headDim)
		add(block+"attn_k.weight", quant.Q4_0, 0.3, 0, testHidden, kvHeads*headDim)
		add(block+"attn_v.weight", quant.F16, 0.3, 0, testHidden, kvHeads*headDim)
		add(block+"attn_output.weight", quant.Q4_0, 0.3, 0, heads*headDim, testHidden)
		add(block+"ffn_norm.weight", quant.F32, 0.1, 1, testHidden)
		add(block+"ffn_gate.weight", quant.Q8_0, 0.3, 0, testHidden, ffn)
		add(block+"ffn_up.weight", quant.Q4_0, 0.3, 0, testHidden, ffn)
		add(block+"ffn_down.weight", quant.Q8_0, 0.3, 0, ffn, testHidden)
	}
	add("output_norm.weight", quant.F32, 0.1, 1, testHidden)
	add("output.weight", quant.Q8_0, 0.3, 0, testHidden, testVocab)
	var file bytes.Buffer
	if err := gguf.Write(&file, meta, tensors); err != nil {
		panic(err)
	}
	return file.Bytes()
})

// loadModel makes the range's layers ready until the test ends.
func loadModel(t testing.TB, r protocol.LayerRange, threads int) *layers.Model {
	t.Helper()
	f, err := gguf.Parse(testFile())
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := layers.ParseConfig(f.Meta)
	if err != nil {
		t.Fatal(err)
	}
	m, err := layers.Load(f, cfg, r, layers.Options{Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}
