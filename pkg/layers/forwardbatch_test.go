// SPDX-License-Identifier: MIT

package layers_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// Sessions that share steps get the bits they get alone, whoever joins and leaves, with prefill and decode mixed, in each part of the model.
func TestBatchEqualsAlone(t *testing.T) {
	t.Parallel()
	f := tiny{}.file(t)
	for _, r := range []protocol.LayerRange{{From: 0, To: 2}, {From: 1, To: 3}, {From: 2, To: tinyDepth}, {From: 0, To: tinyDepth}} {
		m := loadRange(t, f, r, layers.Options{Threads: 2})
		alone := loadRange(t, f, r, layers.Options{Threads: 1})
		random := rand.New(rand.NewPCG(9, uint64(r.From)))
		const sessions = 7
		var shared, separate [sessions]*layers.Cache
		var outputs [sessions]layers.Output
		for i := range sessions {
			shared[i], separate[i] = m.NewCache(64), alone.NewCache(64)
		}
		for range 10 {
			var steps []layers.Step
			var who []int
			for _, i := range random.Perm(sessions)[:1+random.IntN(sessions)] {
				k := 1
				if random.IntN(3) == 0 {
					k = 1 + random.IntN(6)
				}
				in := layers.Input{LocalEnds: i%3 == 0}
				for range k {
					in.Tokens = append(in.Tokens, protocol.TokenID(random.IntN(tinyVocab)))
				}
				for range k * tinyHidden {
					in.Hidden = append(in.Hidden, float32(random.NormFloat64()))
				}
				for _, row := range random.Perm(k)[:random.IntN(k+1)] {
					in.Logits = append(in.Logits, uint32(row))
				}
				if i%2 == 1 {
					in.Round = []uint32{1, 2}
				}
				steps = append(steps, layers.Step{Cache: shared[i], Input: in, Output: &outputs[i]})
				who = append(who, i)
			}
			if err := m.ForwardBatch(steps); err != nil {
				t.Fatal(err)
			}
			for j, i := range who {
				var want layers.Output
				if err := alone.Forward(separate[i], steps[j].Input, &want); err != nil {
					t.Fatal(err)
				}
				if shared[i].Len() != separate[i].Len() {
					t.Fatalf("layers %s: session %d has %d rows, alone %d", r, i, shared[i].Len(), separate[i].Len())
				}
				if err := errors.Join(sameBits(outputs[i].Hidden, want.Hidden), sameBits(outputs[i].Logits, want.Logits)); err != nil {
					t.Fatalf("layers %s: session %d of %d and the same session alone: %v", r, i, len(steps), err)
				}
			}
		}
	}
}

func TestBatchRefuses(t *testing.T) {
	t.Parallel()
	m := loadRange(t, tiny{}.file(t), protocol.LayerRange{From: 0, To: 3}, layers.Options{})
	a, b := m.NewCache(tinyContext), m.NewCache(8)
	var x, y layers.Output
	ids := func(n int) layers.Input { return layers.Input{Tokens: make([]protocol.TokenID, n)} }
	part := ids(1)
	part.Layers = protocol.LayerRange{From: 0, To: 1}
	many := make([]layers.Step, 1+layers.MaxRows/tinyContext)
	for i := range many {
		many[i] = layers.Step{Cache: m.NewCache(tinyContext), Input: ids(tinyContext), Output: new(layers.Output)}
	}
	for want, steps := range map[string][]layers.Step{
		"at least one session":            nil,
		"session 1: KV cache is full":     {{a, ids(1), &x}, {b, ids(9), &y}},
		"session 1: layers 0-0 in a step": {{a, ids(1), &x}, {b, part, &y}},
		"the same cache or output":        {{a, ids(1), &x}, {a, ids(1), &y}},
		"sessions 0 and 1 have the same":  {{a, ids(1), &x}, {b, ids(1), &x}},
		"more than 1024 rows":             many,
	} {
		if err := m.ForwardBatch(steps); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	if a.Len() != 0 || b.Len() != 0 || many[0].Cache.Len() != 0 {
		t.Error("a refused step changed a cache")
	}
}

// TestBatchDecodeAllocatesNothing is not parallel: AllocsPerRun counts what the whole process allocates.
func TestBatchDecodeAllocatesNothing(t *testing.T) {
	m := loadRange(t, tiny{}.file(t), protocol.LayerRange{From: 0, To: tinyDepth}, layers.Options{Threads: 2})
	steps := make([]layers.Step, 4)
	for i := range steps {
		steps[i] = layers.Step{
			Cache: m.NewCache(tinyContext), Output: new(layers.Output),
			Input: layers.Input{Tokens: []protocol.TokenID{3}, Hidden: make([]float32, tinyHidden), Logits: []uint32{0}, LocalEnds: i == 1},
		}
	}
	checkNoAllocs(t, m, steps)
}

// checkNoAllocs fails if computing the steps together takes memory from the heap.
func checkNoAllocs(t *testing.T, m *layers.Model, steps []layers.Step) {
	t.Helper()
	step := func() {
		if err := m.ForwardBatch(steps); err != nil {
			t.Fatal(err)
		}
	}
	step()
	if n := testing.AllocsPerRun(50, step); n != 0 {
		t.Errorf("%v allocations a step", n)
	}
}
