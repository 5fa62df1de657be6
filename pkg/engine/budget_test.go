// SPDX-License-Identifier: MIT

package engine_test

import (
	"testing"

	"github.com/shardnode/shardnode/pkg/engine"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// A decode step through a chain of three hops allocates nothing: not in Submit, the step loop, the deliver goroutine,
// the sampler or the model; alone or with other sessions in turn. Not parallel: AllocsPerRun counts the whole process.
func TestDecodeStepAllocatesNothing(t *testing.T) {
	for _, wire := range []protocol.DType{protocol.F32, protocol.F16} {
		for _, sessions := range []int{1, 3} {
			rs := ranges(1, 3)
			nodes := nodesFor(t, 1, rs)
			submits, waits := make([]func(), sessions), make([]func(), sessions)
			for i := range sessions {
				submits[i], waits[i] = decoder(t, nodes, rs, wire, byte(i+1))
			}
			decode := func() {
				for _, submit := range submits {
					submit()
				}
				for _, wait := range waits {
					wait()
				}
			}
			for range 8 { // buffers reach their size
				decode()
			}
			if n := testing.AllocsPerRun(40, decode); n != 0 {
				t.Errorf("%s wire, %d sessions: %v allocations a decode step, want 0", wire, sessions, n)
			}
		}
	}
}

// decoder opens a session along the nodes. submit sends its next token in, wait takes the one after it from the last hop.
func decoder(t *testing.T, nodes []node, rs []protocol.LayerRange, wire protocol.DType, id byte) (submit, wait func()) {
	t.Helper()
	drawn := make(chan protocol.TokenID)
	var next *engine.Session
	for i := len(rs) - 1; i >= 0; i-- {
		to := next
		o := openFrame(nodes[i].model, id, wire, rs, i, testContext)
		o.Request.Sampling = sampling
		s, _, err := nodes[i].Open(testPeer, o, func(f protocol.Frame) error {
			r, ok := f.(*protocol.IntermediateResult)
			switch {
			case !ok:
				return nil
			case to != nil:
				return to.Submit(t.Context(), r)
			}
			drawn <- r.Generated[0]
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		next = s
	}
	step := &protocol.Step{Session: protocol.SessionID{id}, Tokens: []protocol.TokenID{1}, Logits: []uint32{0}, Sample: true}
	submit = func() {
		if err := next.Submit(t.Context(), step); err != nil {
			t.Error(err)
		}
	}
	wait = func() {
		step.Tokens[0] = <-drawn
		step.Step++
		step.Position++
	}
	return submit, wait
}
