// SPDX-License-Identifier: MIT

package engine_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// generation is what a coordinator sees of one: the logits of every row and the drawn tokens.
type generation struct {
	logits [][]byte // [rows], each [vocab] float32
	tokens []protocol.TokenID
}

var (
	prompt   = []protocol.TokenID{3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4}
	sampling = protocol.Sampling{Temperature: 1.3, TopK: 30, TopP: 0.95, RepeatPenalty: 1.2, RepeatLastN: 8, Seed: 42}
)

const (
	drawn     = 10
	positions = 40
)

// decode feeds the drawn tokens back until there are enough.
func (c *chain) decode(g *generation, r *protocol.IntermediateResult) {
	for {
		g.tokens = append(g.tokens, r.Generated...)
		if len(g.tokens) >= drawn {
			return
		}
		c.send(g.tokens[len(g.tokens)-1:], []uint32{0}, true)
		r = c.recv()
		g.logits = append(g.logits, r.LogitRows)
	}
}

// prefill sends the prompt in chunks of the given rows and returns the last result.
func (c *chain) prefill(g *generation, chunk int) *protocol.IntermediateResult {
	n := 0
	for part := range slices.Chunk(prompt, chunk) {
		rows := make([]uint32, len(part))
		for i := range rows {
			rows[i] = uint32(i)
		}
		n += len(part)
		c.send(part, rows, n == len(prompt))
	}
	var last *protocol.IntermediateResult
	for range (len(prompt) + chunk - 1) / chunk {
		last = c.recv()
		for row := range slices.Chunk(last.LogitRows, testVocab*4) {
			g.logits = append(g.logits, row)
		}
	}
	return last
}

func (c *chain) generate(chunk int) *generation {
	g := new(generation)
	c.decode(g, c.prefill(g, chunk))
	return g
}

func compare(t *testing.T, got, want *generation) {
	t.Helper()
	if !slices.Equal(got.tokens, want.tokens) {
		t.Errorf("tokens %v, want %v", got.tokens, want.tokens)
	}
	if len(got.logits) != len(want.logits) {
		t.Fatalf("logits of %d rows, want %d", len(got.logits), len(want.logits))
	}
	for i := range want.logits {
		if !bytes.Equal(got.logits[i], want.logits[i]) {
			t.Fatalf("logits of row %d differ", i)
		}
	}
}

// nodesFor starts one engine for each range.
func nodesFor(t *testing.T, threads int, rs []protocol.LayerRange) []node {
	nodes := make([]node, len(rs))
	for i, r := range rs {
		m := loadModel(t, r, threads)
		nodes[i] = node{start(t, m, nil), m}
	}
	return nodes
}

// reference is one engine with all layers, the whole prompt in one step, one thread.
func reference(t *testing.T) *generation {
	nodes := nodesFor(t, 1, ranges())
	g := openChain(t, nodes, 1, protocol.F32, ranges(), positions, sampling).generate(len(prompt))
	if len(g.tokens) != drawn || len(g.logits) != len(prompt)+drawn-1 || len(g.logits[0]) != testVocab*4 {
		t.Fatalf("the reference drew %d tokens and has %d rows of %d bytes", len(g.tokens), len(g.logits), len(g.logits[0]))
	}
	if distinct := slices.Compact(slices.Sorted(slices.Values(g.tokens))); len(distinct) < 3 {
		t.Fatalf("the reference drew only %v: it would not notice much", distinct)
	}
	return g
}

// The main claim: logits and tokens do not depend on where the layers are cut, how the prompt is chunked, threads, or who has the model's ends.
func TestExactOverSplitsChunksThreads(t *testing.T) {
	t.Parallel()
	want := reference(t)
	for _, c := range []struct {
		cuts           []int
		chunk, threads int
	}{
		{nil, 1, 1},
		{nil, 7, 2},
		{[]int{1}, 20, 1},
		{[]int{testLayers - 1}, 3, 2},
		{[]int{1, 2, testLayers - 1}, 6, 1},
		{[]int{2, 3}, 1, 3},
	} {
		for _, local := range []bool{false, true} {
			t.Run(fmt.Sprintf("cuts %v chunk %d threads %d local ends %t", c.cuts, c.chunk, c.threads, local), func(t *testing.T) {
				t.Parallel()
				rs := ranges(c.cuts...)
				compare(t, openEither(t, local, nodesFor(t, c.threads, rs), 1, protocol.F32, rs, positions, sampling).generate(c.chunk), want)
			})
		}
	}
}

// Nodes whose ranges overlap serve routes cut anywhere between: each hop computes only its layers.
func TestExactWithOverlappingNodes(t *testing.T) {
	t.Parallel()
	want := reference(t)
	held := []protocol.LayerRange{{From: 0, To: testLayers - 1}, {From: 1, To: testLayers}}
	nodes := nodesFor(t, 1, held)
	for cut := 1; cut < testLayers; cut++ {
		rs := ranges(cut)
		compare(t, openChain(t, nodes, byte(cut), protocol.F32, rs, positions, sampling).generate(8), want)
	}
	whole := nodesFor(t, 1, ranges()) // both hops of a route on one node is one session there: use two
	other := nodesFor(t, 1, ranges())
	compare(t, openChain(t, []node{whole[0], other[0]}, 1, protocol.F32, ranges(2), positions, sampling).generate(5), want)
}

// Sessions that share the engines do not see each other.
func TestExactWithInterleavedSessions(t *testing.T) {
	t.Parallel()
	want := reference(t)
	rs := ranges(2)
	nodes := nodesFor(t, 1, rs)
	got := make([]*generation, 5)
	t.Run("sessions", func(t *testing.T) {
		for i := range got {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				got[i] = openEither(t, i%2 == 1, nodes, byte(i), protocol.F32, rs, positions, sampling).generate(1 + 3*i)
			})
		}
	})
	for _, g := range got {
		compare(t, g, want)
	}
}

// An f16 wire rounds at the route's boundaries: other results than f32's, but always the same with the same cuts.
func TestF16WireDependsOnCutsOnly(t *testing.T) {
	t.Parallel()
	rs := ranges(1, 3)
	want := openChain(t, nodesFor(t, 1, rs), 1, protocol.F16, rs, positions, sampling).generate(len(prompt))
	for _, chunk := range []int{1, 6} {
		compare(t, openChain(t, nodesFor(t, 2, rs), 1, protocol.F16, rs, positions, sampling).generate(chunk), want)
	}
	if f32 := reference(t); bytes.Equal(f32.logits[5], want.logits[5]) {
		t.Error("the f16 wire gave the f32 wire's logits: nothing was rounded")
	}
	// One hop has no boundary: the wire type changes nothing.
	compare(t, openChain(t, nodesFor(t, 1, ranges()), 1, protocol.F16, ranges(), positions, sampling).generate(4), reference(t))
}

// Speculation: rows that turn out wrong are rolled back on every hop, history included, and the generation goes on as
// if they had never been.
func TestTruncateAndRedo(t *testing.T) {
	t.Parallel()
	for _, local := range []bool{false, true} {
		t.Run(fmt.Sprintf("local ends %t", local), func(t *testing.T) {
			t.Parallel()
			truncateAndRedo(t, local)
		})
	}
}

func truncateAndRedo(t *testing.T, local bool) {
	want := reference(t)
	rs := ranges(1, 2)
	c := openEither(t, local, nodesFor(t, 1, rs), 1, protocol.F32, rs, positions, sampling)
	g := new(generation)
	last := c.prefill(g, 7)

	for _, wrong := range [][]protocol.TokenID{{1}, {7, 7, 7, 7, 7}} {
		c.send(wrong, nil, true)
		c.recv()
		c.truncate(uint32(len(prompt)))
		echo, ok := (<-c.out).(*protocol.Truncate)
		if !ok || echo.Position != uint32(len(prompt)) || echo.Step != c.step-1 || echo.Session != c.id {
			t.Fatalf("the truncate came back as %+v", echo)
		}
	}
	c.decode(g, last)
	compare(t, g, want)

	// Back to the start of everything, with the inputs queued behind one another.
	c.truncate(0)
	again := new(generation)
	c.send(prompt[:4], nil, false)
	c.truncate(0)
	for range 3 {
		<-c.out
	}
	c.decode(again, c.prefill(again, 20))
	compare(t, again, want)
}
