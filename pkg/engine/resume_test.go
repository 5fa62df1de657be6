// SPDX-License-Identifier: MIT

package engine_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/shardnode/shardnode/pkg/engine"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// healed is a way a route changes within a generation: at which cuts it was, at which it is then, and which of the new hops are nodes that were
// there before.
type healed struct {
	name        string
	before, now []int
	stay        map[int]int // index now → index before
}

// TestResume replaces hops in the middle of a prompt and in the middle of an answer, the first and the last included, several at once, one by several, several
// by one. Tokens and logits are those of an undisturbed generation, whatever outputs the hops kept.
func TestResume(t *testing.T) {
	t.Parallel()
	ways := []healed{
		{"the first", []int{1, 3}, []int{1, 3}, map[int]int{1: 1, 2: 2}},
		{"one in the middle", []int{1, 3}, []int{1, 3}, map[int]int{0: 0, 2: 2}},
		{"the last", []int{1, 3}, []int{1, 3}, map[int]int{0: 0, 1: 1}},
		{"first and last", []int{1, 3}, []int{1, 3}, map[int]int{1: 1}},
		{"all", []int{2, 4}, []int{2, 4}, nil},
		{"none", []int{1, 3}, []int{1, 3}, map[int]int{0: 0, 1: 1, 2: 2}},
		{"one by two", []int{1, 4}, []int{1, 2, 4}, map[int]int{0: 0, 3: 2}},
		{"the last by two", []int{2}, []int{2, 5}, map[int]int{0: 0}},
		{"two by one", []int{1, 2, 4}, []int{1, 4}, map[int]int{0: 0, 2: 3}},
		{"other cuts", []int{1, 3}, []int{1, 2, 5}, map[int]int{0: 0}},
	}
	for i, wire := range []protocol.DType{protocol.F32, protocol.F16, protocol.F32} {
		local := i == 2
		for _, way := range ways {
			t.Run(fmt.Sprintf("%s, %s, local ends %t", way.name, wire, local), func(t *testing.T) {
				t.Parallel()
				before, now := ranges(way.before...), ranges(way.now...)
				want := openChain(t, nodesFor(t, 1, before), 1, wire, before, positions, sampling).generate(len(prompt))
				for id, c := range []struct {
					budget    int64 // of outputs: all, a few rows, none
					answered, // rows whose answers were there when the route broke
					lost int // rows computed beyond it by the hops but the last, and lost
				}{
					{0, len(prompt) + 4, 0}, {0, len(prompt) + 4, 1}, {7 * testHidden * 4, len(prompt) + 6, 1}, {-1, len(prompt) + 2, 1}, {0, 8, 6}, {-1, 14, 3},
				} {
					nodes := make([]node, len(before))
					for i, r := range before {
						m := loadModel(t, r, 1)
						nodes[i] = node{start(t, m, func(cfg *engine.Config) { cfg.ReplayBudget = c.budget }), m}
					}
					disturb(t, local, way, nodes, byte(id), wire, now, c.answered, c.lost, want)
				}
			})
		}
	}
}

// disturb runs a generation that changes its route once.
func disturb(t *testing.T, local bool, way healed, nodes []node, id byte, wire protocol.DType, now []protocol.LayerRange, answered, lost int, want *generation) {
	t.Helper()
	tokens := slices.Concat(prompt, want.tokens)
	c := openEither(t, local, nodes, id, wire, ranges(way.before...), positions, sampling)
	c.rounds = openFrame(nodes[0].model, id, wire, ranges(way.before...), 0, positions).Rounds
	for part := range slices.Chunk(tokens[:answered], 5) {
		c.send(part, nil, false)
		c.recv()
	}
	if lost > 0 { // computed everywhere, but the answer gets lost
		c.send(tokens[answered:answered+lost], nil, true)
		c.recv()
	}
	after := make([]node, len(now))
	for i, r := range now {
		if b, ok := way.stay[i]; ok {
			after[i] = nodes[b]
			continue
		}
		after[i] = nodesFor(t, 1, []protocol.LayerRange{r})[0]
	}
	c.epoch = 3
	cached := c.open(after, wire, now, positions, sampling)
	for i := range now {
		has := 0
		if _, ok := way.stay[i]; ok {
			has = answered + lost
		}
		if int(cached[i]) != has {
			t.Fatalf("hop %d has %d rows, want %d", i, cached[i], has)
		}
	}
	rows := c.resume(tokens, uint32(answered), 6)
	t.Logf("outputs kept %v, hops resume with %v of %d rows", c.opened, rows, answered)
	for at := answered; at < len(tokens)-1; at++ {
		c.send(tokens[at:at+1], []uint32{0}, at >= len(prompt)-1)
		r := c.recv()
		if !slices.Equal(r.LogitRows, want.logits[at]) {
			t.Fatalf("logits of row %d differ", at)
		}
		if at >= len(prompt)-1 && r.Generated[0] != tokens[at+1] {
			t.Fatalf("row %d drew %d, want %d", at, r.Generated[0], tokens[at+1])
		}
	}
	for _, s := range c.sessions {
		s.Close()
	}
}

// A hop that kept its outputs computes nothing again when the next one is replaced; only the new one does.
func TestResumeComputesOnlyWhatWasLost(t *testing.T) {
	t.Parallel()
	rs := ranges(1, 3)
	nodes := nodesFor(t, 1, rs)
	c := openChain(t, nodes, 1, protocol.F32, rs, positions, sampling)
	c.prefill(new(generation), 20)
	before := []uint64{nodes[0].Stats().Rows, 0, nodes[2].Stats().Rows}
	nodes[1] = nodesFor(t, 1, rs[1:2])[0]
	c.epoch = 1
	c.open(nodes, protocol.F32, rs, positions, sampling)
	c.resume(prompt, uint32(len(prompt)), 8)
	for i, n := range nodes {
		want := []uint64{0, uint64(len(prompt)), 0}[i]
		if got := n.Stats().Rows - before[i]; got != want {
			t.Errorf("hop %d computed %d rows, want %d", i, got, want)
		}
	}
}

// What outputs take is bounded: the first session's fill the budget, the second has none.
func TestReplayBudget(t *testing.T) {
	t.Parallel()
	rs := ranges(1, 3)
	m := loadModel(t, rs[0], 1)
	const row = testHidden * 4
	e := start(t, m, func(c *engine.Config) { c.ReplayBudget = (layers.PageRows + 50) * row })
	for id, kept := range []uint32{uint32(len(prompt)), 0} {
		o := openFrame(m, byte(id), protocol.F32, rs, 0, positions)
		out := make(chan protocol.Frame, 2)
		deliver := func(f protocol.Frame) error { out <- f; return nil }
		s, _, err := e.Open(testPeer, o, deliver)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Submit(t.Context(), &protocol.Step{Session: o.Session, Tokens: prompt}); err != nil {
			t.Fatal(err)
		}
		<-out
		o.Epoch = 1
		_, opened, err := e.Open(testPeer, o, deliver)
		if err != nil || int(opened.CachedTo) != len(prompt) || opened.KeptTo != kept {
			t.Errorf("session %d opened again: %+v, %v, want outputs of %d rows", id, opened, err, kept)
		}
		// A block, which is a page's at this width.
		if used := e.Stats().KeptUsed; used != layers.PageRows*row {
			t.Errorf("session %d: %d bytes of outputs, want %d", id, used, layers.PageRows*row)
		}
	}
}
