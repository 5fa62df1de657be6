// SPDX-License-Identifier: MIT

package layers_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/shardnode/shardnode/internal/quant"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// mixed is the variant with experts.
func mixed(t testing.TB, typ quant.Type) *gguf.File {
	for _, v := range variants() {
		if v.name == "qwen3moe" {
			return v.file(t, typ)
		}
	}
	t.Fatal("no variant with experts")
	return nil
}

// TestExpertsDecodeAllocatesNothing is not parallel: AllocsPerRun counts what the whole process allocates.
func TestExpertsDecodeAllocatesNothing(t *testing.T) {
	m := load(t, mixed(t, quant.Q8_0), layers.Options{Threads: 2})
	var steps []layers.Step
	for i := range 3 {
		steps = append(steps, layers.Step{Cache: m.NewCache(64), Input: layers.Input{Tokens: []protocol.TokenID{protocol.TokenID(i)}, Logits: []uint32{0}}, Output: new(layers.Output)})
	}
	checkNoAllocs(t, m, steps)
}

// TestUnchosenExpertsAreNotRead: weights of experts that no row has chosen, all NaN here, reach no result.
func TestUnchosenExpertsAreNotRead(t *testing.T) {
	t.Parallel()
	f := mixed(t, quant.F32)
	tokens := []protocol.TokenID{3, 41, 7}
	run := func() []float32 {
		m := load(t, f, layers.Options{})
		var out layers.Output
		if err := m.Forward(m.NewCache(8), layers.Input{Tokens: tokens, Logits: []uint32{2}}, &out); err != nil {
			t.Fatal(err)
		}
		return out.Logits
	}
	// A router whose logits are all 0: ties go to the lowest numbers, so that experts 3 to 5 are never chosen.
	for i := range 4 {
		router, _ := f.Tensor(fmt.Sprintf("blk.%d.ffn_gate_inp.weight", i))
		clear(f.Data(router))
	}
	want := run()
	for i := range 4 {
		for _, part := range []string{"gate", "up", "down"} {
			tensor, _ := f.Tensor(fmt.Sprintf("blk.%d.ffn_%s_exps.weight", i, part))
			data := f.Data(tensor)
			copy(data[len(data)/2:], bytes.Repeat([]byte{0xff}, len(data)/2))
		}
	}
	if err := sameBits(run(), want); err != nil {
		t.Error(err)
	}
}
