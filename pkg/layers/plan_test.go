// SPDX-License-Identifier: MIT

package layers_test

import (
	"runtime"
	"testing"

	"github.com/shardnode/shardnode/internal/kernel"
	"github.com/shardnode/shardnode/internal/quant"
	"github.com/shardnode/shardnode/internal/testmodel"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// What a model holds is what was planned, by hand here: the file's bytes, rows filled up to panels of 16, and a second time an embedding
// that is the head too, where the head is repacked.
func TestPlanWeights(t *testing.T) {
	t.Parallel()
	spec := testmodel.Default()
	spec.Layers, spec.Vocab, spec.Head = 3, testmodel.MinVocab, quant.Q4_0 // 283 rows make 18 panels
	tied := spec
	tied.TiedHead = true
	packs := kernel.Path() != "generic"
	for _, c := range []struct {
		name       string
		spec       testmodel.Spec
		r          protocol.LayerRange
		head       string // of the range, "" for none
		bytesOfRow int64
		twice      bool // the head is another copy of the embedding
	}{
		{"first", spec, protocol.LayerRange{From: 0, To: 1}, "", 0, false},
		{"middle", spec, protocol.LayerRange{From: 1, To: 2}, "", 0, false},
		{"last", spec, protocol.LayerRange{From: 2, To: 3}, "output.weight", 64 / 32 * 18, false},
		{"all", spec, protocol.LayerRange{From: 0, To: 3}, "output.weight", 64 / 32 * 18, false},
		{"first, tied", tied, protocol.LayerRange{From: 0, To: 1}, "", 0, false},
		{"last, tied", tied, protocol.LayerRange{From: 1, To: 3}, "token_embd.weight", 64 / 32 * 34, false},
		{"all, tied", tied, protocol.LayerRange{From: 0, To: 3}, "token_embd.weight", 64 / 32 * 34, true},
	} {
		f, err := gguf.Parse(testmodel.Bytes(c.spec))
		if err != nil {
			t.Fatal(err)
		}
		var want int64
		for _, name := range layers.RequiredTensors(f, parse(t, f), c.r) {
			tensor, _ := f.Tensor(name)
			want += int64(tensor.Size)
		}
		if c.head != "" && packs {
			want += 5 * c.bytesOfRow // rows 283 to 287
		}
		if c.twice && packs {
			want += 283 * c.bytesOfRow
		}
		checkPlan(t, c.name, f, c.r, layers.Options{}, want)
	}

	// In the all-F32 mode matrices take four bytes a weight, but for the embedding.
	f, err := gguf.Parse(testmodel.Bytes(spec))
	if err != nil {
		t.Fatal(err)
	}
	want := int64(4*64*5) + 4*2*(2*64*64+2*32*64+3*128*64) // norms; two layers
	head := int64(4 * 64 * 283)
	if packs {
		head = 4 * 64 * 288
	}
	checkPlan(t, "last, in F32", f, protocol.LayerRange{From: 1, To: 3}, layers.Options{F32: true}, want+head)
}

func checkPlan(t *testing.T, name string, f *gguf.File, r protocol.LayerRange, opt layers.Options, want int64) {
	t.Helper()
	plan, err := layers.PlanWeights(f, parse(t, f), r, opt)
	if err != nil {
		t.Fatal(err)
	}
	if held := loadRange(t, f, r, opt).WeightBytes(); plan != want || held != want {
		t.Errorf("%s: planned %d bytes and holds %d, want %d", name, plan, held, want)
	}
}

// The first step allocates what was planned for it, give or take what is small.
func TestPlanStep(t *testing.T) {
	// Not parallel: it counts what the whole process allocates.
	spec := testmodel.Default()
	spec.Layers, spec.Hidden, spec.FFN, spec.Heads, spec.KVHeads, spec.Context = 3, 128, 512, 8, 2, 4096
	f, err := gguf.Parse(testmodel.Bytes(spec))
	if err != nil {
		t.Fatal(err)
	}
	const threads = 3
	for _, r := range []protocol.LayerRange{{From: 0, To: 2}, {From: 2, To: 3}} {
		for _, rows := range []int{1, 5, 64, 512} {
			m := loadRange(t, f, r, layers.Options{Threads: threads})
			c := m.NewCache(4000)
			in := layers.Input{Tokens: make([]protocol.TokenID, rows), Hidden: make([]float32, rows*spec.Hidden)}
			for i := range rows {
				in.Logits = append(in.Logits, uint32(i))
			}
			if r.From == 0 {
				in.Hidden = nil
			}
			plan := layers.PlanStep(m.Config(), r, threads, rows, 4000)
			var before, after runtime.MemStats
			var out layers.Output
			runtime.ReadMemStats(&before)
			err := m.Forward(c, in, &out)
			runtime.ReadMemStats(&after)
			if err != nil {
				t.Fatal(err)
			}
			got := int64(after.TotalAlloc - before.TotalAlloc)
			if small := plan/8 + 16<<10; got > plan+small || got < plan-small {
				t.Errorf("layers %s, %d rows: the step allocated %d bytes, %d were planned", r, rows, got, plan)
			}
		}
	}
}

// PlanKV is what a cache takes.
func TestPlanKV(t *testing.T) {
	t.Parallel()
	f := tiny{}.file(t)
	r := protocol.LayerRange{From: 1, To: 3}
	for _, kv := range []protocol.DType{protocol.F16, protocol.F32} {
		m := loadRange(t, f, r, layers.Options{KV: kv})
		for _, n := range []int{0, 1, 17, tinyContext, tinyContext + 1} {
			plan := layers.PlanKV(m.Config(), r, kv, n)
			if got := m.NewCache(n).Bytes(); got != plan || got != m.KVBytes(n) {
				t.Errorf("%s, %d positions: %d bytes planned, the cache takes %d", kv, n, plan, got)
			}
		}
	}
}
