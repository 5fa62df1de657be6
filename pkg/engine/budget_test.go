// SPDX-License-Identifier: MIT

package engine_test

import (
	"testing"

	"github.com/shardnode/shardnode/pkg/engine"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// A decode step through a chain of three hops allocates nothing: not in Submit, the step loop, the deliver goroutine,
// the sampler or the model. Not parallel: AllocsPerRun counts the whole process.
func TestDecodeStepAllocatesNothing(t *testing.T) {
	for _, wire := range []protocol.DType{protocol.F32, protocol.F16} {
		rs := ranges(1, 3)
		nodes := nodesFor(t, 1, rs)
		drawn := make(chan protocol.TokenID)
		var next *engine.Session
		for i := len(rs) - 1; i >= 0; i-- {
			to := next
			o := openFrame(nodes[i].model, 1, wire, rs, i, testContext)
			o.Request.Sampling = sampling
			s, _, err := nodes[i].Open(o, func(f protocol.Frame) error {
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
		step := &protocol.Step{Session: protocol.SessionID{1}, Tokens: []protocol.TokenID{1}, Logits: []uint32{0}, Sample: true}
		decode := func() {
			if err := next.Submit(t.Context(), step); err != nil {
				t.Error(err)
			}
			step.Tokens[0] = <-drawn
			step.Step++
			step.Position++
		}
		for range 8 { // buffers reach their size
			decode()
		}
		if n := testing.AllocsPerRun(40, decode); n != 0 {
			t.Errorf("%s wire: %v allocations a decode step, want 0", wire, n)
		}
	}
}
