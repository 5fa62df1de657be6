// SPDX-License-Identifier: MIT

package engine_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardnode/shardnode/pkg/engine"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// chunkOf is a chunk of a prompt, of 20 rows.
func chunkOf(id byte, step uint32) *protocol.Step {
	return &protocol.Step{Session: protocol.SessionID{id}, Step: step, Position: 20 * step, Tokens: prompt}
}

// A session that decodes waits for no more than one chunk of a prompt between two of its tokens, whoever else is there.
func TestOneChunkBetweenTokens(t *testing.T) {
	t.Parallel()
	bubble(t, virtual, func(t *testing.T, m *layers.Model, e *engine.Engine) {
		for id := byte(1); id <= 3; id++ {
			s := open(t, e, m, id, discard)
			for i := range uint32(3) {
				if err := s.Submit(t.Context(), chunkOf(id, i)); err != nil {
					t.Fatal(err)
				}
			}
		}
		answered := make(chan struct{}, 1)
		c := open(t, e, m, 9, results(func(*protocol.IntermediateResult) { answered <- struct{}{} }))
		longest := time.Duration(0)
		for i := range uint32(12) {
			asked := time.Now()
			if err := c.Submit(t.Context(), token(9, 0, i)); err != nil {
				t.Fatal(err)
			}
			<-answered
			longest = max(longest, time.Since(asked))
		}
		// A pass is 10 ms and one more for each row: the first token waits for the pass under way, the next ones share a pass with a chunk.
		if longest != (30+31)*time.Millisecond {
			t.Errorf("a token took %s, want that of a pass under way and of its own with a chunk of 20 rows in each", longest)
		}
		synctest.Wait()
		if st := e.Stats(); st.Steps != 9+12 || st.Passes >= st.Steps {
			t.Errorf("%d steps in %d passes", st.Steps, st.Passes)
		}
	})
}

// Who opens many sessions gets no more of the passes for prompts than who opens one.
func TestPromptsOfTenantsTakeTurns(t *testing.T) {
	t.Parallel()
	bubble(t, virtual, func(t *testing.T, m *layers.Model, e *engine.Engine) {
		var order []byte
		record := results(func(r *protocol.IntermediateResult) { order = append(order, r.Session[0]) }) // one chunk a pass: apart in fake time
		for _, from := range []struct {
			peer     string
			sessions []byte
		}{{"many", []byte{1, 2, 3}}, {"one", []byte{9}}} {
			for _, id := range from.sessions {
				s, _, err := e.Open(from.peer, openFrame(m, id, protocol.F32, ranges(), 0, testContext), record)
				if err != nil {
					t.Fatal(err)
				}
				for i := range uint32(3) {
					if err := s.Submit(t.Context(), chunkOf(id, i)); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if len(order) != 12 {
			t.Fatalf("%d chunks computed, want 12", len(order))
		}
		if n := slices.Index(order[1:], 9); n > 1 {
			t.Errorf("the lone session waited for %d chunks", n)
		}
		if last := 11 - slices.Index(reversed(order), 9); last > 6 {
			t.Errorf("the lone session's last chunk was number %d of %v", last, order)
		}
	})
}

func reversed(b []byte) []byte {
	b = slices.Clone(b)
	slices.Reverse(b)
	return b
}

// Sessions that shared a pass share the next ones, although their rows do not come at the same moment; one that stays away is not waited
// for again.
func TestWave(t *testing.T) {
	t.Parallel()
	bubble(t, virtual, func(t *testing.T, m *layers.Model, e *engine.Engine) {
		a, b := open(t, e, m, 1, discard), open(t, e, m, 2, discard)
		send := func(s *engine.Session, id byte, step uint32) {
			t.Helper()
			if err := s.Submit(t.Context(), token(id, 0, step)); err != nil {
				t.Fatal(err)
			}
		}
		passes := func(want uint64) {
			t.Helper()
			time.Sleep(20 * time.Millisecond)
			synctest.Wait()
			if st := e.Stats(); st.Passes != want {
				t.Fatalf("%d passes, want %d", st.Passes, want)
			}
		}
		send(a, 1, 0)
		synctest.Wait() // its pass is under way
		send(a, 1, 1)
		send(b, 2, 0)
		time.Sleep(15 * time.Millisecond)
		passes(2) // the second was of both
		send(a, 1, 2)
		time.Sleep(time.Millisecond)
		send(b, 2, 1)
		passes(3)
		begin := time.Now()
		send(a, 1, 3) // alone, after a moment
		passes(4)
		if d := time.Since(begin); d > 20*time.Millisecond {
			t.Errorf("waited %s", d)
		}
		out := make(chan time.Time, 1)
		c := open(t, e, m, 3, results(func(*protocol.IntermediateResult) { out <- time.Now() }))
		begin = time.Now()
		send(c, 3, 0)
		if d := (<-out).Sub(begin); d != 11*time.Millisecond {
			t.Errorf("a session that was in no wave took %s", d)
		}
	})
}

// Any mix of sessions, arrivals and kills gives each the tokens and logits that it has alone.
func TestExactWhoeverSharesThePass(t *testing.T) {
	t.Parallel()
	want := reference(t)
	rs := ranges(2, 4)
	nodes := nodesFor(t, 2, rs)
	var all sync.WaitGroup
	for worker := range 6 {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 3))
			for i := range 8 {
				id := byte(worker*8 + i)
				c := openChain(t, nodes, id, protocol.F32, rs, positions, sampling)
				if random.IntN(3) == 0 { // dropped with work under way
					for part := range slices.Chunk(prompt, 1+random.IntN(len(prompt))) {
						c.send(part, nil, false)
					}
					for range random.IntN(2) {
						c.recv()
					}
				} else {
					compare(t, c.generate(1+random.IntN(len(prompt))), want)
				}
				for _, s := range c.sessions {
					s.Close()
				}
			}
		})
	}
	all.Wait()
	shared := false
	for _, n := range nodes {
		st := n.Stats()
		shared = shared || st.Passes < st.Steps
	}
	if !shared {
		t.Error("no two sessions shared a pass: nothing was tested")
	}
}

// Inputs that cannot share a pass are computed one after the other: those of other layers, and more logits than fit a frame's limit.
func TestApart(t *testing.T) {
	t.Parallel()
	want := reference(t)
	nodes := nodesFor(t, 1, ranges())
	other := nodesFor(t, 1, ranges())
	var got [4]*generation
	var all sync.WaitGroup
	for i := range got {
		cut := 2 + i%2
		all.Go(func() {
			c := openChain(t, []node{nodes[0], other[0]}, byte(i), protocol.F32, ranges(cut), positions, sampling)
			got[i] = c.generate(9)
		})
	}
	all.Wait()
	for i, g := range got {
		t.Run(fmt.Sprint(i), func(t *testing.T) { compare(t, g, want) })
	}
}
